import { mkdirSync } from 'node:fs';

import type {
  Appended, ConsumerSpec, DeadDelivery, EventLog, LastQuery, LogBounds, LogConsumer, LogCounts, LogEvent, LogPage, LogState, LogTail, ReadQuery, RetentionPolicy, StoredEvent, TailOptions,
} from './event-log.ts';
import { lockDirectory, type DirectoryLock } from './directory-lock.ts';
import { DueTimes, systemClock, type LogClock } from './due-times.ts';
import { GroupCommit } from './group-commit.ts';
import { Appender } from './lmdb-append.ts';
import { LmdbConsumers } from './lmdb-consumers.ts';
import { requireSoundFile, setAside } from './lmdb-file.ts';
import { LmdbReader } from './lmdb-read.ts';
import { readNote } from './lmdb-records.ts';
import { LmdbStore } from './lmdb-store.ts';
import { LmdbSweeper } from './lmdb-sweep.ts';
import { closedFault, damagedFault, damageOf, storeFault, type LogLog } from './log-faults.ts';
import { LogStates } from './log-states.ts';
import { LogTails } from './log-tail.ts';
import { RoomBook } from './room-book.ts';

const EVENT_MAX_BYTES = 1024 * 1024;
const WAITING_MAX_BYTES = 64 * 1024 * 1024;

export interface OpenLmdbLogOptions {
  /** Made when it is not there. Everything in it is the log's. */
  readonly dir: string;
  readonly log: LogLog;
  /** Largest body; 1 MiB by default. */
  readonly eventMaxBytes?: number;
  /** Of events that wait to be stored, together; 64 MiB by default. */
  readonly waitingMaxBytes?: number;
  /** What to do with a log that cannot be opened because it is damaged: 'refuse' (default), or move it to `<dir>.bad-<time>` and begin another epoch. */
  readonly whenDamaged?: 'refuse' | 'set-aside';
  /** What the refusal of a damaged log says can be done, as a sentence; by default it speaks of the option above. */
  readonly damagedAdvice?: string;
  readonly clock?: LogClock;
}

/**
 * Opens the log in a directory, or makes it. Rejects LOG_UNAVAILABLE when another process has it open, when it was written by a
 * later version, or when it is damaged so that it cannot be read at all; LOG_FULL when it has to be made and the disk is full. It is `open` until it is closed, or `away` from the first
 * write that fails for another reason than a full disk: it can be read then, and nothing is appended until it is opened again.
 */
export async function openLmdbLog(options: OpenLmdbLogOptions): Promise<EventLog> {
  const { dir, clock = systemClock } = options;
  const lock = await inDirectory(dir);
  let store: LmdbStore | undefined;
  try {
    store = await soundStore(options, clock);
    return new OpenLmdbLog(store, lock, { ...options, clock });
  } catch (error) {
    await store?.close();
    await lock.release();
    throw storeFault(error);
  }
}

async function soundStore({ dir, log, whenDamaged = 'refuse', damagedAdvice }: OpenLmdbLogOptions, { now }: LogClock): Promise<LmdbStore> {
  const open = (): Promise<LmdbStore> => {
    requireSoundFile(dir);
    return LmdbStore.open(dir, now);
  };
  try {
    return await open();
  } catch (error) {
    const fault = damageOf(error);
    if (fault === undefined) throw error;
    if (whenDamaged === 'refuse') throw damagedFault(dir, fault, damagedAdvice);
    setAside(dir, { log, nowMs: now(), fault });
    return open();
  }
}

async function inDirectory(dir: string): Promise<DirectoryLock> {
  try {
    mkdirSync(dir, { recursive: true });
  } catch (error) {
    throw storeFault(error);
  }
  return lockDirectory(dir);
}

class OpenLmdbLog implements EventLog {
  readonly storedClass = 'stored';
  readonly #store: LmdbStore;
  readonly #lock: DirectoryLock;
  readonly #book = new RoomBook();
  readonly #commits: GroupCommit;
  readonly #appender: Appender;
  readonly #reader: LmdbReader;
  readonly #tails: LogTails;
  readonly #due: DueTimes;
  readonly #consumers: LmdbConsumers;
  readonly #sweeper: LmdbSweeper;
  readonly #states: LogStates;
  #closing: Promise<void> | undefined;

  constructor(store: LmdbStore, lock: DirectoryLock, { log, clock, eventMaxBytes = EVENT_MAX_BYTES, waitingMaxBytes = WAITING_MAX_BYTES }: OpenLmdbLogOptions & { readonly clock: LogClock }) {
    this.#store = store;
    this.#lock = lock;
    const book = this.#book;
    const { now, elapsed } = clock;
    const { seq, storedAtMs } = restoreBook(store, book, log);
    this.#states = new LogStates('open', (state, error) => log.warn({ state, error }, 'a listener of the log threw'));
    const failed = (): void => {
      if (store.broken !== undefined && this.#closing === undefined) this.#states.enter('away');
    };
    const commits = (this.#commits = new GroupCommit({ store, book, seq, storedAtMs, failed }));
    const reader = (this.#reader = new LmdbReader({ store, book, head: () => commits.head, now, damaged: (damagedSeq) => log.warn({ seq: damagedSeq }, 'a record of the log is damaged') }));
    const tails = (this.#tails = new LogTails({ log, now, head: seq }));
    const due = (this.#due = new DueTimes(clock));
    this.#appender = new Appender({ store, book, commits, eventMaxBytes, waitingMaxBytes, now, stored: (at) => reader.event(at), committed: (event) => tails.give(event) });
    this.#consumers = new LmdbConsumers({ store, commits, reader, tails, due, now, elapsed, log });
    this.#sweeper = new LmdbSweeper({ store, book, commits, reader, now });
  }

  get state(): LogState {
    return this.#states.state;
  }

  onState(listener: (state: LogState) => void): () => void {
    return this.#states.listen(listener);
  }

  get counts(): LogCounts {
    return { waitingBytes: this.#appender.waitingBytes, backlogged: this.#appender.backlogged, damagedRecords: this.#reader.damagedCount, tailOverflows: 0 };
  }

  append(event: LogEvent): Promise<Appended> {
    return this.#closing === undefined ? this.#appender.append(event) : Promise.reject(closedFault());
  }

  bounds(): Promise<LogBounds> {
    return this.#whileOpen(() => ({ epoch: this.#store.epoch, first: this.#reader.first(), head: this.#commits.head }));
  }

  read(query: ReadQuery): Promise<LogPage> {
    return this.#inLaterTurn(() => this.#reader.read(query));
  }

  readLast(query: LastQuery): Promise<LogPage> {
    return this.#inLaterTurn(() => this.#reader.readLast(query));
  }

  sequenceAt(atMs: number): Promise<number> {
    return this.#whileOpen(() => this.#reader.sequenceAt(atMs));
  }

  find(workspaceId: string, id: string): Promise<StoredEvent | undefined> {
    return this.#whileOpen(() => this.#reader.find(workspaceId, id));
  }

  tail(workspaceId: string, options: TailOptions): LogTail {
    return this.#tails.tail(workspaceId, options);
  }

  consumer(spec: ConsumerSpec, dead: (dead: DeadDelivery) => Promise<void>): Promise<LogConsumer> {
    return this.#whileOpen(() => this.#consumers.join(spec, dead));
  }

  consumers(workspaceId: string): Promise<readonly ConsumerSpec[]> {
    return this.#whileOpen(() => this.#consumers.specs(workspaceId));
  }

  deleteConsumer(workspaceId: string, name: string): Promise<void> {
    return this.#whileOpen(() => this.#consumers.delete(workspaceId, name));
  }

  setRetention(workspaceId: string, policies: readonly RetentionPolicy[]): void {
    this.#sweeper.setRetention(workspaceId, policies);
  }

  sweep(): Promise<number> {
    return this.#whileOpen(() => this.#sweeper.sweep());
  }

  deleteWorkspace(workspaceId: string): Promise<void> {
    return this.#whileOpen(async () => {
      await this.#consumers.deleteWorkspace(workspaceId);
      await this.#sweeper.deleteWorkspace(workspaceId);
    });
  }

  /** A reader that goes from page to page leaves the event loop to others between two. */
  async #inLaterTurn<Value>(work: () => Value): Promise<Value> {
    if (this.#closing !== undefined) throw closedFault();
    await new Promise((resolve) => setImmediate(resolve));
    return this.#whileOpen(work);
  }

  async #whileOpen<Value>(work: () => Value | Promise<Value>): Promise<Value> {
    if (this.#closing !== undefined) throw closedFault();
    try {
      return await work();
    } catch (error) {
      throw storeFault(error);
    }
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#tails.isClosed = true;
    this.#consumers.close();
    await this.#sweeper.end();
    await this.#commits.close();
    this.#due.close();
    this.#tails.close();
    try {
      await this.#store.close();
    } catch (error) {
      throw storeFault(error);
    } finally {
      await this.#lock.release();
      this.#states.enter('closed');
    }
  }
}

/** Reads the rooms and workspaces; what is damaged of them leaves its events unreadable, which readers are told as gaps. */
function restoreBook(store: LmdbStore, book: RoomBook, log: LogLog): { readonly seq: number; readonly storedAtMs: number } {
  const workspaces = new Map<number, ReturnType<RoomBook['restoreWorkspace']>>();
  for (const { key, value } of store.workspaces.getRange({})) {
    const id = readNote(value);
    if (typeof id === 'string') workspaces.set(key, book.restoreWorkspace(key, id));
    else log.warn({ workspace: key }, 'a workspace\'s record is damaged: its events cannot be read');
  }
  for (const { key, value } of store.rooms.getRange({})) {
    const note = readNote(value) as readonly [number, string, number, number, number, number] | undefined;
    const workspace = note === undefined ? undefined : workspaces.get(note[0]);
    if (note === undefined || workspace === undefined) log.warn({ room: key }, 'a room\'s record is damaged: its events cannot be read');
    else book.restoreRoom(workspace, key, note[1], { last: note[2], lostTo: note[3], count: note[4], bytes: note[5] });
    book.reserve(0, key);
  }
  const head = store.readHead();
  // The head's own record may be what is damaged: no sequence that an event has is given again.
  const [last = 0] = store.events.getKeys({ reverse: true, limit: 1 });
  book.reserve(head?.workspace ?? 0, head?.room ?? 0);
  return { seq: Math.max(head?.seq ?? 0, last), storedAtMs: head?.storedAtMs ?? 0 };
}
