import { open, type RootDatabase } from 'lmdb';

import { DiskRoom, diskFreeBytes, hasRoomToOpen, type CommitSize, type StatTable } from './disk-room.ts';
import { numberKeys, seqKeys } from './lmdb-keys.ts';
import { readNote, writeNote } from './lmdb-records.ts';
import type { Table } from './lmdb-store.ts';
import { requireKnownTables, tablesOf } from './lmdb-tables.ts';
import { storeFault, Unsound } from './log-faults.ts';

/** Of the layout below; an outbox of a later format is refused. */
const FORMAT_VERSION = 1;
const HEAD_NOTE = 1;
const NAMES: readonly string[] = ['records', 'rooms', 'latest', 'dead', 'notes'];
// LMDB reports a page that was written in part, as on a full disk, as an input/output error.
const EIO = 5;
// Less than this free is a full disk: a commit with a large frame does not fit.
const DISK_FREE_MIN_BYTES = 1_048_576;

export type OutboxErrorCode = 'UPSTREAM_QUEUE_FULL' | 'LOG_UNAVAILABLE';

/** Why an outbox does not take an event; the code is of the catalogue. */
export class OutboxError extends Error {
  readonly code: OutboxErrorCode;

  constructor(code: OutboxErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'OutboxError';
    this.code = code;
  }
}

/** What a commit changes of the whole. */
export interface OutboxHead {
  /** The last key that was given. */
  readonly lastKey: number;
  /** What is kept, and how many bytes of disk it takes. */
  readonly frames: number;
  readonly bytes: number;
  /** Events that were refused for good and are kept to be looked at. */
  readonly dead: number;
  /** The last number that one of those was given. */
  readonly lastDead: number;
}

const EMPTY_HEAD: OutboxHead = { lastKey: 0, frames: 0, bytes: 0, dead: 0, lastDead: 0 };

/**
 * The tables of an outbox in one LMDB environment:
 *
 *   records  key → record                      what is still to be sent, in order
 *   rooms    room → count u32, last key u48    which rooms have something here, so that nobody need look through all of it
 *   latest   digest of room and key → key u48  where only the latest of a key is kept
 *   dead     number → note                     what was refused for good
 *   notes    1 → head                          totals, changed in the transaction that changes what they count
 *
 * A commit is fsynced before it is visible. LMDB writes where nothing is and then turns one of its two meta pages, so that a commit
 * that a power cut interrupts was never there.
 */
export class OutboxStore {
  readonly records: Table<number>;
  readonly rooms: Table<Buffer>;
  readonly latest: Table<Buffer>;
  readonly dead: Table<number>;
  readonly #notes: Table<number>;
  readonly #root: RootDatabase<Buffer, number>;
  readonly #dir: string;
  readonly #room: DiskRoom;

  private constructor(root: RootDatabase<Buffer, number>, dir: string) {
    this.#root = root;
    this.#dir = dir;
    const numbered = (name: string, keyEncoder: typeof numberKeys): Table<number> => {
      const options = { encoding: 'binary', keyEncoder } as const;
      return root.openDB<Buffer, number>(name, options);
    };
    const named = (name: string): Table<Buffer> => root.openDB<Buffer, Buffer>(name, { encoding: 'binary', keyEncoding: 'binary' });
    const there = tablesOf(root);
    this.#notes = numbered('notes', numberKeys);
    this.#requireFormat();
    requireKnownTables(there, NAMES);
    this.records = numbered('records', seqKeys);
    this.rooms = named('rooms');
    this.latest = named('latest');
    this.dead = numbered('dead', numberKeys);
    const tables = [this.#notes, this.records, this.rooms, this.latest, this.dead];
    this.#room = new DiskRoom(tables as unknown as readonly StatTable[], () => diskFreeBytes(dir));
  }

  /** Opens or makes the store of an outbox. Throws LOG_UNAVAILABLE, and for a later format before anything is written; Unsound. */
  static async open(dir: string): Promise<OutboxStore> {
    let root: RootDatabase<Buffer, number> | undefined;
    try {
      if (!hasRoomToOpen(dir)) throw diskFull();
      // Batches are ours: the library's own batch a turn leaves a promise behind that nobody can catch when a commit fails.
      root = open<Buffer, number>({ path: dir, overlappingSync: false, eventTurnBatching: false, encoding: 'binary', maxDbs: 8, noSubdir: false });
      return new OutboxStore(root, dir);
    } catch (error) {
      await root?.close();
      throw error instanceof Unsound ? error : outboxFault(error);
    }
  }

  /** The totals; counted anew when what was written of them is not there or cannot be read. */
  readHead(): OutboxHead {
    return this.#readHead() ?? this.#count();
  }

  #readHead(): (OutboxHead & { readonly format: number }) | undefined {
    const note = this.#notes.getBinary(HEAD_NOTE);
    return note === undefined ? undefined : (readNote(note) as (OutboxHead & { readonly format: number }) | undefined);
  }

  /** Before any other table is touched: an outbox of a later format stays as it is. */
  #requireFormat(): void {
    const format = this.#readHead()?.format ?? FORMAT_VERSION;
    if (format > FORMAT_VERSION) throw new OutboxError('LOG_UNAVAILABLE', `The outbox in ${this.#dir} is of format ${format}; this version reads up to ${FORMAT_VERSION}. Run the version that wrote it, or a later one.`);
  }

  /** Only inside `commit`. */
  writeHead(head: OutboxHead): void {
    this.#notes.put(HEAD_NOTE, writeNote({ format: FORMAT_VERSION, ...head }));
  }

  #count(): OutboxHead {
    const head = { ...EMPTY_HEAD };
    for (const { key, value } of this.records.getRange({ start: 0 })) {
      head.lastKey = key;
      head.frames += 1;
      head.bytes += storedBytes(value.length);
    }
    for (const number of this.dead.getKeys({ start: 0 })) {
      head.lastDead = number;
      head.dead += 1;
    }
    return head;
  }

  /** Why events of this size are not taken: they would leave less than the reserve of the disk; undefined: they may be. */
  roomFault(size: CommitSize): OutboxError | undefined {
    return this.#room.fitsAppends(size) ? undefined : diskFull();
  }

  /** All that `write` puts and removes, in one transaction of at most this size; resolves once that is fsynced. Rejects UPSTREAM_QUEUE_FULL, LOG_UNAVAILABLE: nothing is written. */
  async commit(size: CommitSize, write: () => void): Promise<void> {
    if (!this.#room.fits(size)) throw diskFull();
    try {
      await this.#root.batch(write);
    } catch (error) {
      const { commitError } = error as { readonly commitError?: PromiseLike<never> };
      throw this.#commitFault(commitError === undefined ? error : await commitError.then(undefined, (cause: unknown) => cause));
    } finally {
      this.#root.resetReadTxn();
    }
  }

  #commitFault(cause: unknown): OutboxError {
    if ((cause as { readonly code?: unknown }).code === EIO && diskFreeBytes(this.#dir) < DISK_FREE_MIN_BYTES) return diskFull(cause);
    return outboxFault(cause);
  }

  close(): Promise<void> {
    return this.#root.close();
  }
}

const diskFull = (cause?: unknown): OutboxError => new OutboxError('UPSTREAM_QUEUE_FULL', 'There is no room on the disk of the outbox.', { cause });

/** What went wrong in the store, as callers get it. */
export function outboxFault(error: unknown): OutboxError {
  if (error instanceof OutboxError) return error;
  const fault = storeFault(error);
  return fault.code === 'LOG_FULL' ? diskFull(error) : new OutboxError('LOG_UNAVAILABLE', fault.message, { cause: error });
}

// LMDB's pages: a header of 24 bytes, and with each record its key, a node and a pointer. Records that come in order leave one place of a
// page empty; one of which two do not fit has pages of its own. Measured with records of 90 to 5,000 bytes: right to within 1 in 100.
const PAGE_BYTES = 4_096;
const PAGE_HEADER_BYTES = 24;
const NODE_BYTES = 16;

/** What a record of this length takes of the disk, about. */
export function storedBytes(length: number): number {
  const fitting = Math.floor((PAGE_BYTES - PAGE_HEADER_BYTES) / (length + NODE_BYTES));
  if (fitting < 2) return Math.ceil((length + PAGE_HEADER_BYTES) / PAGE_BYTES) * PAGE_BYTES;
  return Math.ceil(PAGE_BYTES / (fitting - 1));
}
