import { NOTHING_WRITTEN, sum, type CommitSize } from './disk-room.ts';
import type { LogError } from './event-log.ts';
import type { LmdbStore } from './lmdb-store.ts';
import { writeNote } from './lmdb-records.ts';
import { closedFault, storeFault } from './log-faults.ts';
import type { BookRoom, BookWorkspace, RoomBook, RoomTally } from './room-book.ts';

/*
 *   submit ─▶ waiting ──(a turn later, and no commit under way)──▶ plan ─▶ write ─▶ fsync ─▶ committed, in order of submission
 *
 * One commit at a time: what comes meanwhile waits and shares the next one, so that the dearer a commit is, the more it holds.
 * Nothing in memory changes before the fsync, so that a commit that fails leaves all as it was.
 */

/**
 * A commit waits a moment for as much as the one before it had: what publishers send on hearing of the one shares the other, instead of
 * falling into two halves that take turns. One event after another waits for nothing.
 */
const HOLD_MAX_MS = 3;
const HOLD_STEP_MS = 1;
/** After so long nobody is on his way because of the commit before. */
const HOLD_WITHIN_MS = 20;

// What a part writes that says nothing of its size: a few notes.
const PART_ENTRIES = 8;

/** What wants to be written: it plans with reads that may fail, tells the commit what it is going to write, and then writes. */
export interface CommitPart {
  /** Events that wait for it; undefined: it is one thing. */
  readonly waiting?: number;
  plan(commit: Commit): void;
  write(): void;
  committed(): void;
  failed(error: LogError): void;
}

type Writable<Value> = { -readonly [Key in keyof Value]: Value[Key] };

/** What one commit changes of the log's head and rooms. */
export class Commit {
  readonly #book: RoomBook;
  readonly #tallies = new Map<BookRoom, Writable<RoomTally>>();
  seq: number;
  storedAtMs: number;
  readonly #startSeq: number;
  #size = NOTHING_WRITTEN;

  constructor(book: RoomBook, seq: number, storedAtMs: number) {
    this.#book = book;
    this.seq = this.#startSeq = seq;
    this.storedAtMs = storedAtMs;
  }

  /** Counts in what a part is going to put and remove. */
  grow(size: Partial<CommitSize>): void {
    this.#size = sum(this.#size, { ...NOTHING_WRITTEN, ...size });
  }

  /** What it writes at most; the tallies of rooms are its own. */
  get size(): CommitSize {
    return sum(this.#size, { ...NOTHING_WRITTEN, entries: this.#tallies.size });
  }

  /** A room's tally, to be changed. */
  tally(room: BookRoom): Writable<RoomTally> {
    let tally = this.#tallies.get(room);
    if (tally === undefined) this.#tallies.set(room, (tally = { ...room.tally }));
    return tally;
  }

  /** A room's tally as this commit leaves it so far. */
  peek(room: BookRoom): RoomTally {
    return this.#tallies.get(room) ?? room.tally;
  }

  write(store: LmdbStore, stored: Set<BookWorkspace>): void {
    for (const [room, tally] of this.#tallies) {
      if (!stored.has(room.workspace)) store.workspaces.put(room.workspace.number, writeNote(room.workspace.id));
      store.rooms.put(room.number, writeNote([room.workspace.number, room.name, tally.last, tally.lostTo, tally.count, tally.bytes]));
    }
    const { workspace, room } = this.#book.lastNumbers;
    if (this.seq !== this.#startSeq) store.writeHead({ seq: this.seq, storedAtMs: this.storedAtMs, workspace, room });
  }

  apply(stored: Set<BookWorkspace>): void {
    for (const [room, tally] of this.#tallies) {
      room.tally = tally;
      stored.add(room.workspace);
    }
  }
}

export interface GroupCommitOptions {
  readonly store: LmdbStore;
  readonly book: RoomBook;
  readonly seq: number;
  readonly storedAtMs: number;
  /** Called with each commit that could not be kept. */
  readonly failed: (error: LogError) => void;
}

export class GroupCommit {
  readonly #store: LmdbStore;
  readonly #book: RoomBook;
  readonly #failed: (error: LogError) => void;
  /** Workspaces that have their record. */
  readonly #stored: Set<BookWorkspace>;
  #waiting: CommitPart[] = [];
  #running: Promise<void> | undefined;
  /** Of the last commit: what it held, and when it was over. */
  #lastWaiting = 0;
  #lastEndMs = -Infinity;
  #seq: number;
  #storedAtMs: number;
  #isClosed = false;

  constructor({ store, book, seq, storedAtMs, failed }: GroupCommitOptions) {
    this.#failed = failed;
    this.#store = store;
    this.#book = book;
    this.#stored = new Set(book.workspaces());
    this.#seq = seq;
    this.#storedAtMs = storedAtMs;
  }

  /** The last sequence that is committed. */
  get head(): number {
    return this.#seq;
  }

  submit(part: CommitPart): void {
    if (this.#isClosed) return queueMicrotask(() => part.failed(closedFault()));
    this.#waiting.push(part);
    this.#running ??= this.#run();
  }

  /** Writes in one commit with whatever else waits; resolves once that is kept. */
  write(write: (commit: Commit) => () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      let planned: () => void = () => undefined;
      this.submit({ plan: (commit) => (planned = write(commit)), write: () => planned(), committed: resolve, failed: reject });
    });
  }

  /** Commits what waits, and refuses what comes after it with LOG_CLOSED: the store is about to go. */
  async close(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
    this.#isClosed = true;
  }

  async #run(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0) {
      await this.#hold();
      const parts = this.#waiting;
      this.#waiting = [];
      this.#lastWaiting = waitingIn(parts);
      await this.#commit(parts);
      this.#lastEndMs = performance.now();
    }
    this.#running = undefined;
  }

  async #hold(): Promise<void> {
    const begunMs = performance.now();
    if (begunMs - this.#lastEndMs > HOLD_WITHIN_MS) return;
    while (waitingIn(this.#waiting) < this.#lastWaiting && performance.now() - begunMs < HOLD_MAX_MS) await new Promise((resolve) => setTimeout(resolve, HOLD_STEP_MS));
  }

  async #commit(waiting: readonly CommitPart[]): Promise<void> {
    const commit = new Commit(this.#book, this.#seq, this.#storedAtMs);
    const parts = waiting.filter((part) => {
      try {
        part.plan(commit);
        commit.grow({ entries: PART_ENTRIES });
        return true;
      } catch (error) {
        part.failed(storeFault(error));
        return false;
      }
    });
    try {
      await this.#store.commit(commit.size, () => {
        for (const part of parts) part.write();
        commit.write(this.#store, this.#stored);
      });
    } catch (error) {
      const fault = storeFault(error);
      for (const part of parts) part.failed(fault);
      this.#failed(fault);
      return;
    }
    this.#seq = commit.seq;
    this.#storedAtMs = commit.storedAtMs;
    commit.apply(this.#stored);
    for (const part of parts) part.committed();
  }
}

function waitingIn(parts: readonly CommitPart[]): number {
  return parts.reduce((sum, { waiting = 1 }) => sum + waiting, 0);
}
