import { randomBytes } from 'node:crypto';

import { open, type Database, type RootDatabase } from 'lmdb';

import { DiskRoom, diskFreeBytes, hasRoomToOpen, type CommitSize, type StatTable } from './disk-room.ts';
import { LogError } from './event-log.ts';
import { idKeys, numberAndSeqKeys, numberKeys, seqKeys, timeAndSeqKeys, type IdKey, type NumberAndSeq } from './lmdb-keys.ts';
import { readNote, writeNote } from './lmdb-records.ts';
import { requireKnownTables, tablesOf } from './lmdb-tables.ts';
import { damagedFault, storeFault, Unsound } from './log-faults.ts';

/** Of the layout below. A log of a later format is refused; there is no earlier one. */
export const FORMAT_VERSION = 1;

// LMDB reports a page that was written in part, as on a full disk, as an input/output error.
const EIO = 5;
// Less than this free is a full disk: the largest commit, with the pages that it copies, does not fit.
const DISK_FREE_MIN_BYTES = 64 * 1024 * 1024;

/** One of the store's tables: bytes by key. `any` in lmdb's own types; the keys are what the encoders take. */
export interface Table<Key> {
  /** Valid until the next read; longer than `length` says. */
  getBinaryFast(key: Key): (Buffer & { readonly length: number }) | undefined;
  getBinary(key: Key): Buffer | undefined;
  put(key: Key, value: Uint8Array): unknown;
  remove(key: Key): unknown;
  getKeys(range: Range<Key>): Iterable<Key>;
  getRange(range: Range<Key>): Iterable<{ readonly key: Key; readonly value: Buffer }>;
  getKeysCount(range: Range<Key>): number;
}

/** From `start` on, before `end`; reversed from `start` down, above `end`. */
export interface Range<Key> {
  readonly start?: Key;
  readonly end?: Key;
  readonly limit?: number;
  readonly reverse?: boolean;
}

interface LogMeta {
  readonly format: number;
  readonly epoch: string;
}

/** What changes with each commit that appends. */
export interface LogHead {
  readonly seq: number;
  readonly storedAtMs: number;
  /** The last numbers that the room book gave. */
  readonly workspace: number;
  readonly room: number;
}

/** Keys of `notes`. */
const META_NOTE = 1;
const HEAD_NOTE = 2;
const NAMES: readonly string[] = ['notes', 'events', 'index', 'ids', 'expiries', 'rooms', 'workspaces', 'consumers', 'owed'];

/**
 * The tables of a log in one LMDB environment:
 *
 *   events     seq → record                      the log itself
 *   index      room number, seq → prevSeq        a room's events in order
 *   ids        workspace number, id → id entry   where an id is
 *   expiries   expiresAtMs, seq → ''             what will expire, soonest first
 *   rooms      room number → note                name, workspace, tally
 *   workspaces workspace number → note           id
 *   consumers  consumer number → note            spec and floor
 *   owed       consumer number, seq → attempts   what a consumer was handed above its floor; 0xffff: settled
 *   notes      number → note                     meta and head
 *
 * A commit is fsynced before it is visible (no overlapping sync): what a reader sees, a power cut does not take back.
 */
export class LmdbStore {
  readonly events: Table<number>;
  readonly index: Table<NumberAndSeq>;
  readonly ids: Table<IdKey>;
  readonly expiries: Table<NumberAndSeq>;
  readonly rooms: Table<number>;
  readonly workspaces: Table<number>;
  readonly consumers: Table<number>;
  readonly owed: Table<NumberAndSeq>;
  readonly #notes: Table<number>;
  readonly #root: RootDatabase<Buffer, number>;
  readonly #dir: string;
  readonly #room: DiskRoom;
  readonly epoch: string;
  #broken: LogError | undefined;

  private constructor(root: RootDatabase<Buffer, number>, dir: string, now: () => number) {
    this.#root = root;
    this.#dir = dir;
    const table = <Key>(name: string, keyEncoder: { writeKey(key: Key, target: Uint8Array, start: number): number }): Table<Key> => {
      const options = { encoding: 'binary', keyEncoder } as const;
      return root.openDB<Buffer, number>(name, options) as Database<Buffer> as unknown as Table<Key>;
    };
    const there = tablesOf(root);
    this.#notes = table('notes', numberKeys);
    const meta = this.#readMeta();
    requireKnownTables(there, NAMES);
    this.events = table('events', seqKeys);
    this.index = table('index', numberAndSeqKeys);
    this.ids = table('ids', idKeys);
    this.expiries = table('expiries', timeAndSeqKeys);
    this.rooms = table('rooms', numberKeys);
    this.workspaces = table('workspaces', numberKeys);
    this.consumers = table('consumers', numberKeys);
    this.owed = table('owed', numberAndSeqKeys);
    const tables = [this.#notes, this.events, this.index, this.ids, this.expiries, this.rooms, this.workspaces, this.consumers, this.owed];
    this.#room = new DiskRoom(tables as unknown as readonly StatTable[], () => diskFreeBytes(dir));
    this.epoch = (meta ?? this.#writeMeta(now)).epoch;
  }

  /** Opens or makes a log's store. Throws LOG_UNAVAILABLE when it is of a later format, damaged, or cannot be opened. */
  static async open(dir: string, now: () => number): Promise<LmdbStore> {
    let root: RootDatabase<Buffer, number> | undefined;
    try {
      if (!hasRoomToOpen(dir)) throw diskFull();
      // Batches are ours: the library's own batch a turn leaves a promise behind that nobody can catch when a commit fails.
      root = open<Buffer, number>({ path: dir, overlappingSync: false, eventTurnBatching: false, encoding: 'binary', maxDbs: 16, noSubdir: false });
      return new LmdbStore(root, dir, now);
    } catch (error) {
      await root?.close();
      throw error instanceof Unsound ? damagedFault(dir, error.message) : storeFault(error);
    }
  }

  /** Before any other table is touched: a log of a later format stays as it is. */
  #readMeta(): LogMeta | undefined {
    const note = this.#notes.getBinary(META_NOTE);
    if (note === undefined) return undefined;
    const meta = readNote(note) as LogMeta | undefined;
    if (meta === undefined) throw damagedFault(this.#dir, 'what it says of itself cannot be read');
    if (meta.format > FORMAT_VERSION) throw new LogError('LOG_UNAVAILABLE', `The log in ${this.#dir} is of format ${meta.format}; this version reads up to ${FORMAT_VERSION}. Run the version that wrote it, or a later one.`);
    return meta;
  }

  #writeMeta(now: () => number): LogMeta {
    const [first] = this.events.getKeys({ limit: 1 });
    if (first !== undefined) throw damagedFault(this.#dir, 'it has events and does not say of which log');
    const meta: LogMeta = { format: FORMAT_VERSION, epoch: `${now().toString(36)}-${randomBytes(6).toString('hex')}` };
    this.#root.transactionSync(() => void this.#notes.put(META_NOTE, writeNote(meta)));
    return meta;
  }

  readHead(): LogHead | undefined {
    const note = this.#notes.getBinary(HEAD_NOTE);
    return note === undefined ? undefined : (readNote(note) as LogHead | undefined);
  }

  /** Only inside `commit`. */
  writeHead(head: LogHead): void {
    this.#notes.put(HEAD_NOTE, writeNote(head));
  }

  /** Throws LOG_FULL when events of this size would leave less than the reserve of the disk. */
  requireRoomForEvents(size: CommitSize): void {
    if (!this.#room.fitsAppends(size)) throw diskFull();
  }

  /** Why nothing is written any more; undefined: all is well. */
  get broken(): LogError | undefined {
    return this.#broken;
  }

  /**
   * All that `write` puts and removes, in one transaction of at most this size; resolves once that is fsynced. Rejects LOG_FULL, LOG_UNAVAILABLE: nothing is
   * written. After any failure but a full disk it writes no more: what the kernel could not write it forgets, and a later fsync
   * that succeeds would say that it is there.
   */
  async commit(size: CommitSize, write: () => void): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken;
    if (!this.#room.fits(size)) throw diskFull();
    try {
      await this.#root.batch(write);
    } catch (error) {
      const { commitError } = error as { readonly commitError?: PromiseLike<never> };
      const fault = this.#commitFault(commitError === undefined ? error : await commitError.then(undefined, (cause: unknown) => cause));
      if (fault.code !== 'LOG_FULL') this.#broken = new LogError('LOG_UNAVAILABLE', `The log in ${this.#dir} could not be written and is read-only until it is opened again: ${fault.message}`, { cause: fault });
      throw fault;
    } finally {
      this.#root.resetReadTxn();
    }
  }

  #commitFault(cause: unknown): LogError {
    if ((cause as { readonly code?: unknown }).code === EIO && diskFreeBytes(this.#dir) < DISK_FREE_MIN_BYTES) return new LogError('LOG_FULL', 'There is no room on the disk of the log.', { cause });
    return storeFault(cause);
  }

  close(): Promise<void> {
    return this.#root.close();
  }
}

const diskFull = (): LogError => new LogError('LOG_FULL', 'There is no room on the disk of the log.');
