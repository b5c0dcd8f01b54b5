import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';

import { lockDirectory, type DirectoryLock } from './directory-lock.ts';
import { fileFault } from './lmdb-file.ts';
import { readNote } from './lmdb-records.ts';
import { Unsound, type LogLog } from './log-faults.ts';
import { OutboxCommits, type OutboxCounts } from './outbox-commits.ts';
import { type DeadRecord, type OutboxOverflow } from './outbox-plan.ts';
import { fitsOutboxRecord, readOutboxRecord, RECORD_HEAD_BYTES, writeOutboxRecord, type OutboxEvent, type OutboxRecord } from './outbox-record.ts';
import { interruptedSalvage, keepSalvaged, salvageRecords, setOutboxAside } from './outbox-salvage.ts';
import { OutboxError, outboxFault, OutboxStore } from './outbox-store.ts';

/*
 * The durable record of what is still to be sent:
 *
 *   append ─▶ fsynced ─▶ next, next … ─▶ sent ─▶ settle (the receiver has it) or bury (it never will)
 *
 * What was appended is there until it is settled, whatever ends the process; what was handed out and not settled is handed out again
 * after a restart. Nothing is scanned at the start: totals are kept with what they count.
 */

export interface OpenOutboxOptions {
  /** Made when it is not there; one process at a time may have it. */
  readonly dir: string;
  readonly log: LogLog;
  /** What records may take together on the disk, bytes, overhead included. */
  readonly maxBytes: number;
  /** At the bound: the oldest go, new ones are refused, or one of the same room and key that was not handed out yet goes (and else refused). */
  readonly overflow: OutboxOverflow;
  /** For `keep-latest-per-key`: what an event is the latest of within its room; undefined: it is kept for itself. */
  readonly keyOf?: (event: OutboxEvent) => string | undefined;
  /** Milliseconds since 1970; the machine's by default. */
  readonly clock?: () => number;
  /** Bytes that may wait for their commit; 16 MiB by default. */
  readonly waitingMaxBytes?: number;
}

/** An event that was kept. */
export interface Kept {
  readonly record: OutboxRecord;
  /** The key of the last event of its room that is here too; 0 when there is none. */
  readonly prevKey: number;
}

const WAITING_MAX_BYTES = 16 * 1024 * 1024;
const DEAD_MAX = 1_000;
/** A page of `next` ends after so many bytes. */
const PAGE_MAX_BYTES = 1024 * 1024;
const DIGEST_BYTES = 16;

/** Opens an outbox. A file that cannot be trusted is set aside, and what can be read of it taken over. Rejects LOG_UNAVAILABLE, UPSTREAM_QUEUE_FULL: it has to be made, and the disk is full. */
export async function openOutbox(options: OpenOutboxOptions): Promise<Outbox> {
  const { dir, log, clock = Date.now } = options;
  let lock: DirectoryLock | undefined;
  let store: OutboxStore | undefined;
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    lock = await lockDirectory(dir);
    const sound = await soundStore(dir, log);
    store = sound.store;
    const outbox = new Outbox(store, lock, options);
    if (sound.salvage !== undefined) {
      const taken = await outbox.takeOver(salvageRecords(sound.salvage));
      log.warn({ dir, ...taken, file: keepSalvaged(dir, clock()) }, 'events of a damaged outbox were taken over');
    }
    return outbox;
  } catch (error) {
    await store?.close();
    await lock?.release();
    throw outboxFault(error);
  }
}

/** The store of an outbox, and the file whose records are to be taken over when it was not sound. */
async function soundStore(dir: string, log: LogLog): Promise<{ readonly store: OutboxStore; readonly salvage: string | undefined }> {
  const interrupted = interruptedSalvage(dir);
  if (interrupted !== undefined) return { store: await OutboxStore.open(dir), salvage: interrupted };
  const sound = fileFault(dir) ?? (await OutboxStore.open(dir).catch(unsoundness));
  if (typeof sound !== 'string') return { store: sound, salvage: undefined };
  log.warn({ dir, fault: sound }, 'a damaged outbox was set aside; what can be read of it is taken over');
  const salvage = setOutboxAside(dir);
  return { store: await OutboxStore.open(dir), salvage };
}

function unsoundness(error: unknown): string {
  if (error instanceof Unsound) return error.message;
  throw error;
}

export class Outbox {
  readonly #store: OutboxStore;
  readonly #lock: DirectoryLock;
  readonly #commits: OutboxCommits;
  readonly #options: OpenOutboxOptions;
  readonly #clock: () => number;
  /** Handed to a commit that takes them out: not handed out any more. */
  readonly #leaving = new Set<number>();
  #handedOutTo = 0;
  #closed: Promise<void> | undefined = undefined;

  constructor(store: OutboxStore, lock: DirectoryLock, options: OpenOutboxOptions) {
    this.#store = store;
    this.#lock = lock;
    this.#options = options;
    this.#clock = options.clock ?? Date.now;
    const { log, maxBytes, overflow, waitingMaxBytes = WAITING_MAX_BYTES } = options;
    this.#commits = new OutboxCommits({
      store, maxBytes, overflow, waitingMaxBytes, deadMax: DEAD_MAX, head: store.readHead(),
      handedOutTo: () => this.#handedOutTo,
      warn: (fields, text) => log.warn({ dir: options.dir, ...fields }, text),
    });
  }

  get counts(): Readonly<OutboxCounts> {
    return this.#commits.counts;
  }

  /** Events that are kept and not settled. */
  get frames(): number {
    return this.#commits.head.frames;
  }

  /** What they take of the disk, about. */
  get bytes(): number {
    return this.#commits.head.bytes;
  }

  /** The last key that was given; 0 when none was. */
  get lastKey(): number {
    return this.#commits.head.lastKey;
  }

  /** Events that were refused for good and can be looked at. */
  get deadFrames(): number {
    return this.#commits.head.dead;
  }

  /** How long the oldest event has waited, ms; 0 when none does. */
  get oldestUnsentAgeMs(): number {
    if (this.#closed !== undefined) return 0;
    for (const { key, value } of this.#store.records.getRange({ start: 0, limit: 1 })) {
      const record = readOutboxRecord(value, key);
      if (record !== 'damaged') return Math.max(0, this.#clock() - record.recordedAtMs);
    }
    return 0;
  }

  /** Whether a frame of this length, with its id, can be appended without another event's going. */
  fits(frameBytes: number): boolean {
    return this.#commits.fits(frameBytes + RECORD_HEAD_BYTES);
  }

  /**
   * Keeps an event; resolves once it is fsynced, in the order of the calls. Copies the frame.
   * Rejects UPSTREAM_QUEUE_FULL at the bound and when the disk is full, LOG_UNAVAILABLE; then it is not kept.
   */
  async append(event: OutboxEvent): Promise<Kept> {
    if (!fitsOutboxRecord(event)) throw new OutboxError('LOG_UNAVAILABLE', 'The event has no room, one of more than 1,024 bytes, or an id of more than 255 characters.');
    const record = writeOutboxRecord(event, this.#digest(event));
    const { key, prevKey } = await this.#commits.append(record);
    const kept = readOutboxRecord(record, key);
    if (kept === 'damaged') throw new OutboxError('LOG_UNAVAILABLE', 'The event was changed in memory while it was written.');
    return { record: kept, prevKey };
  }

  /** Keeps records of another outbox, in their order; answers how many were kept, and how many had no room. */
  async takeOver(records: Iterable<Buffer>): Promise<{ readonly events: number; readonly lost: number }> {
    let [events, lost] = [0, 0];
    let batch: Promise<unknown>[] = [];
    let bytes = 0;
    const settle = async (): Promise<void> => {
      const kept = (await Promise.allSettled(batch)).filter(({ status }) => status === 'fulfilled').length;
      events += kept;
      lost += batch.length - kept;
      [batch, bytes] = [[], 0];
    };
    for (const record of records) {
      batch.push(this.#commits.append(record));
      bytes += record.length;
      if (bytes >= PAGE_MAX_BYTES) await settle();
    }
    await settle();
    return { events, lost };
  }

  /** The first events after a key, at most so many and about a megabyte, in order. What cannot be read is passed over and taken out. */
  next(afterKey: number, max: number): readonly OutboxRecord[] {
    if (this.#closed !== undefined) return [];
    const page: OutboxRecord[] = [];
    const damaged: number[] = [];
    let bytes = 0;
    for (const { key, value } of this.#store.records.getRange({ start: afterKey + 1 })) {
      if (this.#leaving.has(key)) continue;
      const record = readOutboxRecord(value, key);
      if (record === 'damaged') damaged.push(key);
      else page.push(record);
      bytes += value.length;
      if (page.length >= max || bytes >= PAGE_MAX_BYTES) break;
    }
    if (damaged.length > 0) void this.settle(damaged);
    this.#handedOutTo = Math.max(this.#handedOutTo, page.at(-1)?.key ?? 0);
    return page;
  }

  /** Takes out what its receiver has; resolves once that is kept. A crash before brings it back. */
  settle(keys: readonly number[]): Promise<void> {
    return this.#leave(keys);
  }

  /** Moves an event among the last 1,000 that were refused for good. */
  bury(key: number, code: string): Promise<void> {
    return this.#leave([key], { code, atMs: this.#clock() });
  }

  /** The last events that were refused for good, the latest first. */
  dead(max: number): readonly DeadRecord[] {
    if (this.#closed !== undefined) return [];
    const { lastDead, dead } = this.#commits.head;
    const list: DeadRecord[] = [];
    for (let number = lastDead; number > lastDead - dead && list.length < max; number -= 1) {
      const note = this.#store.dead.getBinary(number);
      const record = note === undefined ? undefined : (readNote(note) as DeadRecord | undefined);
      if (record !== undefined) list.push(record);
    }
    return list;
  }

  /** Ends it after what waits is written; what is not settled is there after the next start. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    await this.#commits.close();
    await this.#store.close();
    await this.#lock.release();
  }

  async #leave(keys: readonly number[], dead?: { readonly code: string; readonly atMs: number }): Promise<void> {
    for (const key of keys) this.#leaving.add(key);
    await this.#commits.settle(keys, dead);
    for (const key of keys) this.#leaving.delete(key);
  }

  #digest(event: OutboxEvent): Buffer | undefined {
    const { keyOf, overflow } = this.#options;
    if (overflow !== 'keep-latest-per-key') return undefined;
    const key = keyOf?.(event);
    if (key === undefined) return undefined;
    return createHash('sha256').update(event.frame.subarray(0, event.tagEnd + 1)).update(key).digest().subarray(0, DIGEST_BYTES);
  }
}

export { type OutboxCounts } from './outbox-commits.ts';
export { OUTBOX_OVERFLOWS, type DeadRecord, type OutboxOverflow } from './outbox-plan.ts';
export type { OutboxEvent, OutboxRecord } from './outbox-record.ts';
export { OutboxError, type OutboxErrorCode } from './outbox-store.ts';
