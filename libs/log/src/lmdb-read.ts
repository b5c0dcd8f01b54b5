import type { LastQuery, LogGap, LogPage, ReadQuery, StoredEvent } from './event-log.ts';
import { chainGaps, joinGaps, type ChainLink } from './gaps.ts';
import { SEQ_END } from './lmdb-keys.ts';
import { readIdEntry, readRecord, roomNumberOf } from './lmdb-records.ts';
import type { LmdbStore } from './lmdb-store.ts';
import { mergeSequences, type SeqSource } from './merge.ts';
import type { BookRoom, RoomBook } from './room-book.ts';

/*
 * A page is read in one of two ways. Rooms that hold a small part of the log are merged from their indexes: others' events cost
 * nothing. Rooms that hold much of it, when they are many, are found by walking the log and skipping the rest: a look at a
 * record's head is cheaper than a cursor a room.
 */
const WALK_MIN_ROOMS = 32;
const WALK_MIN_SHARE = 1 / 8;
// A walk that finds little ends its page so early, so that nobody waits long for the event loop.
const WALK_MAX_RECORDS = 20_000;
const INDEX_CHUNK_MIN_COUNT = 4;
const INDEX_CHUNK_MAX_COUNT = 512;
// Missing sequences in a row after which a walk looks for the next one that is there.
const WALK_HOLE_COUNT = 16;

/** Which way to read; `share` is the part of the log's events that the rooms hold. */
export function readingWay(rooms: number, share: number): 'merge' | 'walk' {
  return rooms >= WALK_MIN_ROOMS && share >= WALK_MIN_SHARE ? 'walk' : 'merge';
}

export interface LmdbReaderOptions {
  readonly store: LmdbStore;
  readonly book: RoomBook;
  readonly head: () => number;
  readonly now: () => number;
  readonly damaged: (seq: number) => void;
}

interface Span {
  readonly after: number;
  readonly upTo: number;
}

/** What a page collects until it is full. */
class Page {
  readonly events: StoredEvent[] = [];
  readonly gaps: LogGap[] = [];
  /** The rooms that are read, with the last sequence of each that was met or is known to be gone. */
  readonly #rooms: Map<string, number>;
  readonly #workspaceId: string | undefined;
  readonly #maxEvents: number;
  #bytesLeft: number;

  constructor(rooms: readonly BookRoom[], { maxEvents, maxBytes, after = Infinity }: { readonly maxEvents: number; readonly maxBytes: number; readonly after?: number }) {
    this.#rooms = new Map(rooms.map(({ name, losingTo }) => [name, Math.max(after, losingTo)]));
    this.#workspaceId = rooms[0]?.workspaceId;
    this.#maxEvents = maxEvents;
    this.#bytesLeft = maxBytes;
  }

  get isFull(): boolean {
    return this.events.length >= this.#maxEvents;
  }

  /** Whether an event is of these rooms at all; if its predecessor was not met, that is missing. */
  follows(event: StoredEvent): boolean {
    const met = event.workspaceId === this.#workspaceId ? this.#rooms.get(event.room) : undefined;
    if (met === undefined) return false;
    if (event.prevSeq > met) this.gaps.push({ from: met + 1, to: event.prevSeq, reason: 'damaged' });
    if (event.seq > met) this.#rooms.set(event.room, event.seq);
    return true;
  }

  /** Says what is missing of rooms that end before `next`: their last event was not met. */
  end(rooms: readonly BookRoom[], next: number): void {
    for (const { name, tally } of rooms) {
      const met = this.#rooms.get(name) ?? 0;
      if (tally.last <= next && met < tally.last) this.gaps.push({ from: met + 1, to: tally.last, reason: 'damaged' });
    }
  }

  /** Takes an event, unless it does not fit behind others. */
  takes(event: StoredEvent): boolean {
    const bytes = event.body.length + event.fields.length;
    if (this.events.length > 0 && bytes > this.#bytesLeft) return false;
    this.#bytesLeft -= bytes;
    this.events.push(event);
    return true;
  }
}

export class LmdbReader {
  readonly #options: LmdbReaderOptions;
  #damagedCount = 0;

  constructor(options: LmdbReaderOptions) {
    this.#options = options;
  }

  /** Records that could not be read; one that is read twice counts twice. */
  get damagedCount(): number {
    return this.#damagedCount;
  }

  /** An event, also one that has expired; undefined when it is gone. */
  event(seq: number): StoredEvent | 'damaged' | undefined {
    const { store, book, damaged } = this.#options;
    const record = store.events.getBinaryFast(seq);
    if (record === undefined) return undefined;
    const event = readRecord(record, record.length, seq, book);
    if (event === 'damaged') {
      this.#damagedCount += 1;
      damaged(seq);
    }
    return event;
  }

  read(query: ReadQuery): LogPage {
    const head = this.#options.head();
    const span = { after: query.after, upTo: Math.min(query.upTo ?? head, head) };
    const rooms = this.#options.book.select(query.workspaceId, query.rooms).filter(({ tally }) => tally.last > span.after);
    const page = new Page(rooms, query);
    const end = Math.max(span.after, span.upTo);
    const next = rooms.length === 0 || span.upTo <= span.after ? end : this.#fill(page, rooms, { ...span, maxEvents: query.maxEvents });
    page.end(rooms, next);
    const gaps = joinGaps([...page.gaps, ...this.#lost(rooms, { after: span.after, upTo: next })]);
    return { events: page.events, gaps, next, isLast: next >= end };
  }

  /** Fills a page and gives the sequence up to which it is complete. */
  #fill(page: Page, rooms: readonly BookRoom[], span: Span & { readonly maxEvents: number }): number {
    const share = rooms.length < WALK_MIN_ROOMS ? 0 : rooms.reduce((sum, { tally }) => sum + tally.count, 0) / Math.max(this.#eventCount(), 1);
    const found = readingWay(rooms.length, share) === 'walk' ? this.#walk(rooms, span) : this.#merge(rooms, span);
    let done = span.after;
    for (const seq of found) {
      if (seq < 0) return -seq;
      if (page.isFull) return done;
      if (!this.#give(page, seq)) return done;
      done = seq;
    }
    return span.upTo;
  }

  #eventCount(): number {
    let count = 0;
    for (const workspace of this.#options.book.workspaces()) for (const room of workspace.rooms.values()) count += room.tally.count;
    return count;
  }

  /** False when it does not fit any more. */
  #give(page: Page, seq: number): boolean {
    const event = this.event(seq);
    if (event === undefined || event === 'damaged' || !page.follows(event)) page.gaps.push({ from: seq, to: seq, reason: 'damaged' });
    else if (this.#hasExpired(event)) page.gaps.push({ from: seq, to: seq, reason: 'retention' });
    else return page.takes(event);
    return true;
  }

  #hasExpired(event: StoredEvent): boolean {
    return event.expiresAtMs !== undefined && event.expiresAtMs <= this.#options.now();
  }

  #merge(rooms: readonly BookRoom[], span: Span & { readonly maxEvents: number }): Iterable<number> {
    const chunk = chunkFor(span.maxEvents + 1, rooms.length);
    return mergeSequences(rooms.map((room) => this.#indexSource(room.number, span, chunk)));
  }

  #indexSource(number: number, span: Span, chunk: number): SeqSource {
    let seqs: readonly number[] = [];
    let at = 0;
    let from = span.after + 1;
    let isLast = false;
    return () => {
      if (at === seqs.length) {
        if (isLast) return undefined;
        seqs = Array.from(this.#options.store.index.getKeys({ start: { number, seq: from }, end: { number, seq: span.upTo + 1 }, limit: chunk }), ({ seq }) => seq);
        isLast = seqs.length < chunk;
        from = (seqs.at(-1) ?? 0) + 1;
        at = 0;
      }
      return seqs[at++];
    };
  }

  /** Sequences of the rooms; a negative one when it has looked at enough: up to there nothing was left out. */
  *#walk(rooms: readonly BookRoom[], { after, upTo }: Span): Iterable<number> {
    const { events } = this.#options.store;
    const wanted = new Set(rooms.map(({ number }) => number));
    let holes = 0;
    let looks = 0;
    for (let seq = after + 1; seq <= upTo; seq += 1) {
      const record = events.getBinaryFast(seq);
      looks += 1;
      if (record === undefined) {
        holes += 1;
        if (holes >= WALK_HOLE_COUNT) {
          const [there] = events.getKeys({ start: seq, limit: 1 });
          seq = Math.min(there ?? SEQ_END, upTo + 1) - 1;
          holes = 0;
        }
        continue;
      }
      holes = 0;
      // A damaged record may be anybody's: whoever walks over it is told.
      if (wanted.has(roomNumberOf(record)) || this.#options.book.roomOf(roomNumberOf(record)) === undefined) yield seq;
      if (looks >= WALK_MAX_RECORDS) {
        yield -seq;
        return;
      }
    }
  }

  /** What is gone of rooms of which something is gone behind `after`. */
  #lost(rooms: readonly BookRoom[], { after, upTo }: Span): LogGap[] {
    return rooms.filter(({ losingTo }) => losingTo > after).flatMap((room) => chainGaps(this.#links(room, after), { after, upTo, last: room.tally.last }));
  }

  *#links({ number }: BookRoom, after: number): Iterable<ChainLink> {
    for (const { key, value } of this.#options.store.index.getRange({ start: { number, seq: after + 1 }, end: { number, seq: SEQ_END } })) yield { seq: key.seq, prevSeq: value.readUIntBE(0, 6) };
  }

  readLast({ workspaceId, rooms: patterns, count, maxBytes, before = SEQ_END }: LastQuery): LogPage {
    const rooms = this.#options.book.select(workspaceId, patterns);
    const page = new Page(rooms, { maxEvents: count, maxBytes });
    const upTo = Math.max(0, Math.min(this.#options.head(), before - 1));
    for (const seq of mergeSequences(rooms.map((room) => this.#lastSource(room.number, { upTo, chunk: chunkFor(count, rooms.length) })), 'falling')) {
      if (page.isFull || !this.#give(page, seq)) break;
    }
    const gaps = joinGaps(page.gaps.filter(({ reason }) => reason === 'damaged'));
    return { events: page.events.reverse(), gaps, next: upTo, isLast: true };
  }

  #lastSource(number: number, { upTo, chunk }: { readonly upTo: number; readonly chunk: number }): SeqSource {
    let seqs: readonly number[] = [];
    let at = 0;
    let from = upTo;
    return () => {
      if (at === seqs.length) {
        seqs = Array.from(this.#options.store.index.getKeys({ start: { number, seq: from }, end: { number, seq: 0 }, limit: chunk, reverse: true }), ({ seq }) => seq);
        from = (seqs.at(-1) ?? 1) - 1;
        at = 0;
      }
      return seqs[at++];
    };
  }

  find(workspaceId: string, id: string): StoredEvent | undefined {
    const { store, book } = this.#options;
    const workspace = book.workspace(workspaceId);
    const bytes = workspace === undefined ? undefined : store.ids.getBinary({ workspace: workspace.number, id });
    const entry = bytes === undefined ? undefined : readIdEntry(bytes);
    const event = entry === undefined ? undefined : this.event(entry.seq);
    return event === undefined || event === 'damaged' || this.#hasExpired(event) ? undefined : event;
  }

  /** Bisects the log: times of storing never fall. */
  sequenceAt(atMs: number): number {
    const head = this.#options.head();
    let low = this.first();
    let high = head + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const there = this.#storedFrom(middle, high);
      if (there === undefined || there.storedAtMs >= atMs) high = middle;
      else low = there.seq + 1;
    }
    return low - 1;
  }

  /** The first readable event from a sequence on. */
  #storedFrom(start: number, end: number): StoredEvent | undefined {
    for (const seq of this.#options.store.events.getKeys({ start, end })) {
      const event = this.event(seq);
      if (event !== undefined && event !== 'damaged') return event;
    }
    return undefined;
  }

  first(): number {
    const [first] = this.#options.store.events.getKeys({ limit: 1 });
    return first ?? this.#options.head() + 1;
  }

  /** How many events the rooms have after a sequence. */
  countAfter(workspaceId: string, patterns: readonly string[], after: number): number {
    const rooms = this.#options.book.select(workspaceId, patterns).filter(({ tally }) => tally.last > after);
    return rooms.reduce((sum, { number }) => sum + this.#options.store.index.getKeysCount({ start: { number, seq: after + 1 }, end: { number, seq: SEQ_END } }), 0);
  }
}

/** Entries of one room's index that are fetched together, when so many events of so many rooms are wanted. */
const chunkFor = (events: number, rooms: number): number => Math.min(Math.max(Math.ceil(events / rooms), INDEX_CHUNK_MIN_COUNT), INDEX_CHUNK_MAX_COUNT);
