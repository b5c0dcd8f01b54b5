import { crc32 } from 'node:zlib';

import { sizeOfRecords } from './disk-room.ts';
import { LogError, type Appended, type LogEvent, type StoredEvent } from './event-log.ts';
import type { Commit, CommitPart, GroupCommit } from './group-commit.ts';
import { expiryOf, ID_ENTRY_BYTES, readIdEntry, recordMaxBytes, fitsRecord, SEQ_BYTES, writeIdEntry, writeRecord } from './lmdb-records.ts';
import type { LmdbStore } from './lmdb-store.ts';
import type { BookRoom, RoomBook } from './room-book.ts';

// One commit takes at most so much: a bound for its buffer and for how long it keeps others waiting.
const COMMIT_MAX_BYTES = 4 * 1024 * 1024;
const NOTHING = Buffer.alloc(0);

interface Waiting {
  readonly event: LogEvent;
  readonly bytes: number;
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: LogError) => void;
}

/** An event that the commit under way stores. */
interface Planned {
  readonly event: LogEvent;
  readonly room: BookRoom;
  readonly seq: number;
  readonly prevSeq: number;
  readonly storedAtMs: number;
  readonly record: Buffer;
  readonly idEntry: Buffer;
}

export interface AppenderOptions {
  readonly store: LmdbStore;
  readonly book: RoomBook;
  readonly commits: GroupCommit;
  readonly eventMaxBytes: number;
  readonly waitingMaxBytes: number;
  readonly now: () => number;
  /** An event by its sequence, to compare with one that has its id. */
  readonly stored: (seq: number) => StoredEvent | 'damaged' | undefined;
  /** Called with each event once it is stored, in order. */
  readonly committed: (event: StoredEvent) => void;
}

/** Takes events, gives them their place, and answers when they are stored. */
export class Appender implements CommitPart {
  readonly #options: AppenderOptions;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #backlogged = 0;
  /** What the commit under way was made of. */
  #taken: readonly Waiting[] = [];
  #planned = new Map<string, Planned>();
  /** By place in #taken: the event stored for it, or the one that was there. */
  #answers: (Planned | number | undefined)[] = [];

  constructor(options: AppenderOptions) {
    this.#options = options;
  }

  append(event: LogEvent): Promise<Appended> {
    const { eventMaxBytes, waitingMaxBytes, commits } = this.#options;
    if (event.body.length > eventMaxBytes || !fitsRecord(event)) return Promise.reject(new LogError('EVENT_TOO_LARGE', `The log takes bodies of up to ${eventMaxBytes} bytes; this one has ${event.body.length}.`));
    const bytes = recordMaxBytes(event);
    if (this.#waitingBytes + bytes > waitingMaxBytes && this.#waitingBytes > 0) {
      this.#backlogged += 1;
      return Promise.reject(new LogError('LOG_BACKLOGGED', `${this.#waitingBytes} bytes wait to be stored.`));
    }
    this.#waitingBytes += bytes;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ event, bytes, resolve, reject });
      if (this.#waiting.length === 1 && this.#taken.length === 0) commits.submit(this);
    });
  }

  /** Bytes that wait or are being stored. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  get backlogged(): number {
    return this.#backlogged;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  plan(commit: Commit): void {
    this.#taken = this.#take();
    this.#planned = new Map();
    this.#answers = [];
    // All that may fail comes before anything is given a place: what is half planned would leave places that nothing has.
    const known = this.#taken.map(({ event }) => this.#stored(event));
    const size = sizeOfRecords(this.#taken.flatMap(({ bytes }, index) => (known[index] === undefined ? [bytes + ID_ENTRY_BYTES] : [])));
    if (size.entries > 0) {
      // Those that are there already are answered all the same.
      this.#answers = known.map((answer) => (typeof answer === 'number' ? answer : undefined));
      this.#options.store.requireRoomForEvents(size);
      this.#answers = [];
      commit.grow(size);
    }
    const slab = Buffer.allocUnsafe(this.#taken.reduce((sum, { bytes }) => sum + bytes + ID_ENTRY_BYTES, 0));
    commit.storedAtMs = Math.max(commit.storedAtMs, this.#options.now());
    let end = 0;
    for (const [index, { event, reject }] of this.#taken.entries()) {
      const there = this.#planned.get(keyOf(event));
      const answer = there === undefined ? known[index] : isSame(event, there.event) ? there : reused(event);
      if (answer instanceof LogError) {
        reject(answer);
        this.#answers.push(undefined);
        continue;
      }
      if (answer !== undefined) {
        this.#answers.push(answer);
        continue;
      }
      const planned = this.#place(event, { commit, slab, start: end });
      end = planned.record.byteOffset - slab.byteOffset + planned.record.length + ID_ENTRY_BYTES;
      this.#planned.set(keyOf(event), planned);
      this.#answers.push(planned);
    }
  }

  #take(): readonly Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const waiting of this.#waiting) {
      if (count > 0 && bytes + waiting.bytes > COMMIT_MAX_BYTES) break;
      bytes += waiting.bytes;
      count += 1;
    }
    if (count < this.#waiting.length) return this.#waiting.splice(0, count);
    const all = this.#waiting;
    this.#waiting = [];
    return all;
  }

  /** What the store has of this id already: the same event, or another. */
  #stored(event: LogEvent): number | LogError | undefined {
    const { book, store, stored } = this.#options;
    const workspace = book.workspace(event.workspaceId);
    if (workspace === undefined) return undefined;
    const bytes = store.ids.getBinary({ workspace: workspace.number, id: event.id });
    const entry = bytes === undefined ? undefined : readIdEntry(bytes);
    if (entry === undefined) return undefined;
    if (workspace.rooms.get(event.room)?.number !== entry.room || entry.bodyBytes !== event.body.length || entry.bodyCrc !== crc32(event.body)) return reused(event);
    const there = stored(entry.seq);
    if (there === undefined) return undefined;
    return there === 'damaged' || isSame(event, there) ? entry.seq : reused(event);
  }

  #place(event: LogEvent, { commit, slab, start }: { readonly commit: Commit; readonly slab: Buffer; readonly start: number }): Planned {
    const room = this.#options.book.room(event.workspaceId, event.room);
    const tally = commit.tally(room);
    const seq = (commit.seq += 1);
    const place = { workspace: room.workspace.number, room: room.number, seq, prevSeq: tally.last, storedAtMs: commit.storedAtMs };
    const end = writeRecord(slab, start, event, place);
    writeIdEntry(slab, end, { seq, room: room.number, bodyBytes: event.body.length, bodyCrc: crc32(event.body) });
    tally.last = seq;
    tally.count += 1;
    tally.bytes += end - start;
    return { event, room, seq, prevSeq: place.prevSeq, storedAtMs: place.storedAtMs, record: slab.subarray(start, end), idEntry: slab.subarray(end, end + ID_ENTRY_BYTES) };
  }

  write(): void {
    const { events, index, ids, expiries } = this.#options.store;
    const idKey = { workspace: 0, id: '' };
    const indexKey = { number: 0, seq: 0 };
    for (const { event, room, seq, record, idEntry } of this.#planned.values()) {
      idKey.workspace = room.workspace.number;
      idKey.id = event.id;
      indexKey.number = room.number;
      indexKey.seq = seq;
      events.put(seq, record);
      // prevSeq stands at byte 16 of a record.
      index.put(indexKey, record.subarray(16, 16 + SEQ_BYTES));
      ids.put(idKey, idEntry);
      if (expiryOf(event) > 0) expiries.put({ number: expiryOf(event), seq }, NOTHING);
    }
  }

  committed(): void {
    const { taken, answers, planned } = this.#end();
    for (const stored of planned.values()) this.#options.committed(storedEvent(stored));
    const first = new Set<Planned>();
    for (const [index, { resolve }] of taken.entries()) {
      const answer = answers[index];
      if (answer === undefined) continue;
      if (typeof answer === 'number') resolve({ seq: answer, class: 'stored', duplicate: true });
      else resolve({ seq: answer.seq, class: 'stored', duplicate: first.has(answer) || !first.add(answer) });
    }
  }

  failed(error: LogError): void {
    const { taken, answers } = this.#end();
    for (const [index, { resolve, reject }] of taken.entries()) {
      const answer = answers[index];
      if (typeof answer === 'number') resolve({ seq: answer, class: 'stored', duplicate: true });
      else reject(error);
    }
  }

  #end(): { readonly taken: readonly Waiting[]; readonly answers: readonly (Planned | number | undefined)[]; readonly planned: ReadonlyMap<string, Planned> } {
    const ended = { taken: this.#taken, answers: this.#answers, planned: this.#planned };
    this.#taken = [];
    this.#planned = new Map();
    this.#answers = [];
    for (const { bytes } of ended.taken) this.#waitingBytes -= bytes;
    if (this.#waiting.length > 0) this.#options.commits.submit(this);
    return ended;
  }
}

const keyOf = (event: LogEvent): string => `${event.id}\0${event.workspaceId}`;

const isSame = (event: LogEvent, other: LogEvent): boolean => event.room === other.room && Buffer.compare(event.body, other.body) === 0;

const reused = (event: LogEvent): LogError => new LogError('EVENT_ID_REUSED', `The id ${event.id} is of another event.`);

function storedEvent({ event, seq, prevSeq, storedAtMs }: Planned): StoredEvent {
  const { workspaceId, room, id, atMs, fields, body } = event;
  const expiresAtMs = expiryOf(event);
  return { workspaceId, room, id, atMs, fields, body, expiresAtMs: expiresAtMs === 0 ? undefined : expiresAtMs, seq, prevSeq, storedAtMs };
}
