import { crc32 } from 'node:zlib';

import { sizeOfRecords, type CommitSize } from './disk-room.ts';
import { writeNote } from './lmdb-records.ts';
import { readOutboxPlace, readOutboxRecord, seal } from './outbox-record.ts';
import { storedBytes, type OutboxHead, type OutboxStore } from './outbox-store.ts';

/*
 * What one commit of the outbox does: worked out on a copy of the totals with reads alone, then written at once. So a commit that
 * fails has changed nothing in memory either.
 */

/** What becomes of a new event when the outbox is at its bound. */
export const OUTBOX_OVERFLOWS = ['drop-oldest', 'refuse', 'keep-latest-per-key'] as const;
export type OutboxOverflow = (typeof OUTBOX_OVERFLOWS)[number];

export interface PlanBounds {
  readonly maxBytes: number;
  readonly overflow: OutboxOverflow;
  /** Refused events that are kept. */
  readonly deadMax: number;
}

/** An event that was refused for good, as it is listed. */
export interface DeadRecord {
  readonly id: string;
  readonly room: string;
  readonly code: string;
  /** When it was refused, ms since 1970. */
  readonly atMs: number;
  readonly recordedAtMs: number;
  readonly bytes: number;
  /** The beginning of its body. */
  readonly body: string;
}

interface RoomEntry {
  readonly count: number;
  readonly lastKey: number;
}

interface PlannedRoom extends RoomEntry {
  readonly name: Buffer;
}

const ROOM_ENTRY_BYTES = 10;
const EVICT_LOOK = 64;
const DEAD_BODY_MAX_BYTES = 1_024;

type Writable<Value> = { -readonly [Key in keyof Value]: Value[Key] };

export class OutboxPlan {
  readonly head: Writable<OutboxHead>;
  /** What this commit dropped for newer events, replaced by newer ones of the same key, and found damaged. */
  dropped = 0;
  replaced = 0;
  damaged = 0;
  readonly #store: OutboxStore;
  readonly #bounds: PlanBounds;
  readonly #puts = new Map<number, Buffer>();
  readonly #removes = new Set<number>();
  readonly #rooms = new Map<string, PlannedRoom>();
  readonly #latest = new Map<string, { readonly digest: Buffer; readonly key: number | undefined }>();
  readonly #deadPuts = new Map<number, Buffer>();
  readonly #deadRemoves: number[] = [];
  #oldest: number[] = [];
  #looked = 0;

  constructor(store: OutboxStore, head: OutboxHead, bounds: PlanBounds) {
    this.#store = store;
    this.head = { ...head };
    this.#bounds = bounds;
  }

  /**
   * Places a record: its key, and the key of the last one of its room that is here (0: none). undefined: it does not fit.
   * A record up to `handedOutTo` may be on its way and is not replaced.
   */
  append(record: Buffer, handedOutTo: number): { readonly key: number; readonly prevKey: number } | undefined {
    const { maxBytes, overflow } = this.#bounds;
    const key = this.head.lastKey + 1;
    seal(record, key);
    const place = readOutboxPlace(record, key);
    if (place === 'damaged') throw new TypeError('a record that was just written cannot be read');
    const bytes = storedBytes(record.length);
    const older = place.digest === undefined ? undefined : this.#replaceable(place.digest, handedOutTo);
    if (bytes > maxBytes) return undefined;
    if (overflow !== 'drop-oldest' && this.head.bytes - (older?.bytes ?? 0) + bytes > maxBytes) return undefined;
    if (older !== undefined && this.#remove(older.key)) this.replaced += 1;
    while (this.head.bytes + bytes > maxBytes && this.#dropOldest());
    const room = this.#room(place.room);
    this.#setRoom(place.room, { count: (room?.count ?? 0) + 1, lastKey: key });
    if (place.digest !== undefined) this.#setLatest(place.digest, key);
    this.#puts.set(key, record);
    this.head.lastKey = key;
    this.head.frames += 1;
    this.head.bytes += bytes;
    return { key, prevKey: room?.lastKey ?? 0 };
  }

  /** Takes records out: they were sent, or cannot be read. */
  settle(keys: Iterable<number>): void {
    for (const key of keys) this.#remove(key);
  }

  /** Moves a record among those that were refused for good; the oldest of them goes when there are too many. */
  bury(key: number, code: string, atMs: number): void {
    const bytes = this.#read(key);
    const record = bytes === undefined ? undefined : readOutboxRecord(bytes, key);
    this.#remove(key);
    if (record === undefined || record === 'damaged') return;
    const { id, frame, tagEnd, recordedAtMs } = record;
    const dead: DeadRecord = { id, room: frame.toString('utf8', 0, tagEnd), code, atMs, recordedAtMs, bytes: frame.length, body: frame.toString('utf8', tagEnd + 1, tagEnd + 1 + DEAD_BODY_MAX_BYTES) };
    this.head.lastDead += 1;
    this.head.dead += 1;
    this.#deadPuts.set(this.head.lastDead, writeNote(dead));
    if (this.head.dead <= this.#bounds.deadMax) return;
    // Numbers are given without gaps, and only the oldest ever go.
    const oldest = this.head.lastDead - this.head.dead + 1;
    this.head.dead -= 1;
    if (!this.#deadPuts.delete(oldest)) this.#deadRemoves.push(oldest);
  }

  /** What `write` puts and removes. */
  get size(): CommitSize {
    const records = sizeOfRecords([...[...this.#puts.values()].map(({ length }) => length), ...[...this.#deadPuts.values()].map(({ length }) => length)]);
    const others = this.#removes.size + this.#rooms.size + this.#latest.size + this.#deadRemoves.length + 1;
    // Those that leave and rooms are one entry each: an entry is reckoned with more tables than that.
    return { ...records, entries: records.entries + Math.ceil(others / 4) };
  }

  /** Only inside the store's commit. */
  write(): void {
    const { records, rooms, latest, dead } = this.#store;
    for (const key of this.#removes) records.remove(key);
    for (const [key, record] of this.#puts) records.put(key, record);
    for (const { name, count, lastKey } of this.#rooms.values()) {
      if (count === 0) rooms.remove(name);
      else rooms.put(name, roomEntry({ count, lastKey }));
    }
    for (const { digest, key } of this.#latest.values()) {
      if (key === undefined) latest.remove(digest);
      else latest.put(digest, keyEntry(key));
    }
    for (const number of this.#deadRemoves) dead.remove(number);
    for (const [number, note] of this.#deadPuts) dead.put(number, note);
    this.#store.writeHead(this.head);
  }

  #dropOldest(): boolean {
    const key = this.#nextOldest();
    if (key === undefined) return false;
    if (this.#remove(key)) this.dropped += 1;
    return true;
  }

  #nextOldest(): number | undefined {
    for (;;) {
      if (this.#oldest.length === 0) this.#oldest = [...this.#store.records.getKeys({ start: this.#looked + 1, limit: EVICT_LOOK })];
      const key = this.#oldest.shift();
      if (key === undefined) return this.#puts.keys().next().value;
      this.#looked = key;
      if (!this.#removes.has(key)) return key;
    }
  }

  #read(key: number): Buffer | undefined {
    return this.#puts.get(key) ?? (this.#removes.has(key) ? undefined : this.#store.records.getBinary(key));
  }

  #remove(key: number): boolean {
    const record = this.#read(key);
    if (record === undefined) return false;
    if (!this.#puts.delete(key)) this.#removes.add(key);
    this.head.frames -= 1;
    this.head.bytes -= storedBytes(record.length);
    const place = readOutboxPlace(record, key);
    if (place === 'damaged') {
      // Its room cannot be told: that room's events are taken to wait behind it until it is passed.
      this.damaged += 1;
      return true;
    }
    const room = this.#room(place.room);
    if (room !== undefined) this.#setRoom(place.room, { ...room, count: Math.max(0, room.count - 1) });
    if (place.digest !== undefined && this.#latestKey(place.digest) === key) this.#setLatest(place.digest, undefined);
    return true;
  }

  #replaceable(digest: Buffer, handedOutTo: number): { readonly key: number; readonly bytes: number } | undefined {
    const key = this.#latestKey(digest);
    const record = key === undefined || key <= handedOutTo ? undefined : this.#read(key);
    return key === undefined || record === undefined ? undefined : { key, bytes: storedBytes(record.length) };
  }

  #room(name: Buffer): RoomEntry | undefined {
    const planned = this.#rooms.get(name.toString('latin1'));
    if (planned !== undefined) return planned.count === 0 ? undefined : planned;
    const entry = this.#store.rooms.getBinary(name);
    return entry?.length === ROOM_ENTRY_BYTES ? { count: entry.readUInt32BE(0), lastKey: entry.readUIntBE(4, 6) } : undefined;
  }

  #setRoom(name: Buffer, entry: RoomEntry): void {
    this.#rooms.set(name.toString('latin1'), { name, ...entry });
  }

  #latestKey(digest: Buffer): number | undefined {
    const planned = this.#latest.get(digest.toString('latin1'));
    if (planned !== undefined) return planned.key;
    const entry = this.#store.latest.getBinary(digest);
    return entry?.length === 10 && crc32(entry.subarray(4)) === entry.readUInt32BE(0) ? entry.readUIntBE(4, 6) : undefined;
  }

  #setLatest(digest: Buffer, key: number | undefined): void {
    this.#latest.set(digest.toString('latin1'), { digest, key });
  }
}

function roomEntry({ count, lastKey }: RoomEntry): Buffer {
  const entry = Buffer.allocUnsafe(ROOM_ENTRY_BYTES);
  entry.writeUInt32BE(count, 0);
  entry.writeUIntBE(lastKey, 4, 6);
  return entry;
}

/** A key behind its checksum: a wrong one would take away another event. */
function keyEntry(key: number): Buffer {
  const entry = Buffer.allocUnsafe(10);
  entry.writeUIntBE(key, 4, 6);
  entry.writeUInt32BE(crc32(entry.subarray(4)), 0);
  return entry;
}
