/**
 * The log: what durable rooms are made of. An event is stored once, gets its place in one order, and is read from there by
 * everybody who wants it, now or later. Two bodies keep it: LMDB inside a process, JetStream for a cluster.
 *
 *   append ──▶ [1][2][3]…[head] ──▶ tail: each stored event of the rooms wanted, in order, without a silent gap
 *                    │         └──▶ read: pages from any sequence or time on
 *                    └────────────▶ consumer: owed to a named group until one of its members acks
 *
 * Sequences count over the whole log, all workspaces together; each stored event knows the sequence before it in its room.
 * They hold within one epoch: a log that was made anew begins again, with another epoch.
 */

/** How safe an event is that was acked: `stored` fsynced on this machine, `replicated` on a quorum of servers. */
export type StoredClass = 'stored' | 'replicated';

export interface LogEvent {
  readonly workspaceId: string;
  readonly room: string;
  /** Told apart by it within a workspace: 1 to 64 characters of A-Z a-z 0-9 _ -. */
  readonly id: string;
  /** When it took place, ms since 1970. */
  readonly atMs: number;
  /** Further fields of the tag line as they travel, e.g. `\tfrom=…`; '' for none. */
  readonly fields: string;
  /** Not to be changed once it was given: a tail may get these very bytes. */
  readonly body: Uint8Array;
  /** Not delivered from then on, and deleted some time after; undefined: as the room's retention says. */
  readonly expiresAtMs?: number | undefined;
}

export interface StoredEvent extends LogEvent {
  readonly seq: number;
  /** Of the event before it in its room, also of one that is gone; 0: it is the first. */
  readonly prevSeq: number;
  readonly storedAtMs: number;
}

export type LogErrorCode =
  /** The store cannot be reached, or does not answer in time: it may have been stored nevertheless; the same id may be tried again. */
  | 'LOG_UNAVAILABLE'
  /** No room on the disk, or the stream's bound is reached. */
  | 'LOG_FULL'
  /** The id is of another event: other room, or other body. */
  | 'EVENT_ID_REUSED'
  /** Larger than the store takes. */
  | 'EVENT_TOO_LARGE'
  /** As many bytes as may wait to be stored already do. */
  | 'LOG_BACKLOGGED'
  | 'CONSUMER_UNKNOWN'
  /** A consumer of that name is there with other settings. */
  | 'CONSUMER_EXISTS'
  /** Settled already, timed out, or never this member's. */
  | 'DELIVERY_UNKNOWN'
  | 'LOG_CLOSED';

/** Why the log did not do what was asked; callers match the code. */
export class LogError extends Error {
  readonly code: LogErrorCode;

  constructor(code: LogErrorCode, text: string, options?: ErrorOptions) {
    super(text, options);
    this.name = 'LogError';
    this.code = code;
  }
}

export interface Appended {
  readonly seq: number;
  readonly class: StoredClass;
  /** It was there already, and not because the log had sent it twice itself: the sequence is that of the first time. */
  readonly duplicate: boolean;
}

export interface LogBounds {
  readonly epoch: string;
  /** The lowest sequence that is still there, of any workspace; head + 1 when there is none. */
  readonly first: number;
  /** The last sequence that was handed out; 0: none yet. */
  readonly head: number;
}

export interface ReadQuery {
  readonly workspaceId: string;
  /** Rooms or patterns, at least one. */
  readonly rooms: readonly string[];
  /** Events after this sequence; 0: from the beginning. */
  readonly after: number;
  /** Up to this sequence; by default to the head. */
  readonly upTo?: number | undefined;
  readonly maxEvents: number;
  /** A page holds one event even if that is larger. */
  readonly maxBytes: number;
}

export interface LastQuery {
  readonly workspaceId: string;
  /** Rooms or patterns, at least one. */
  readonly rooms: readonly string[];
  readonly count: number;
  /** A page holds one event even if that is larger. */
  readonly maxBytes: number;
  /** Only events with a sequence below it; by default all. */
  readonly before?: number | undefined;
}

/** Events that a reader asked for and does not get. Sequences in between may have been other rooms'. */
export interface LogGap {
  readonly from: number;
  readonly to: number;
  readonly reason: 'retention' | 'damaged';
}

export interface LogPage {
  readonly events: readonly StoredEvent[];
  readonly gaps: readonly LogGap[];
  /** The next page begins after it. */
  readonly next: number;
  /** Nothing that was asked for lies behind `next`, as of this reading. */
  readonly isLast: boolean;
}

export interface TailOptions {
  /** Called in log order with each stored event of a wanted room. What it throws is logged and ends nothing. */
  readonly event: (event: StoredEvent) => void;
  /** Events of wanted rooms that are stored and cannot be given (gone before they were read, damaged). */
  readonly gap: (gap: LogGap) => void;
}

export interface LogTail {
  /**
   * Every wanted event up to this sequence was given. Events of one room come in order; of two rooms a later one may come
   * first (a cluster's tail finds out about an event that was not said to it), but only above this.
   */
  readonly certain: number;
  /** Wants a room or pattern. Resolves with a sequence once it is in force: every later event comes here, no earlier one does. */
  add(pattern: string): Promise<number>;
  remove(pattern: string): void;
  close(): Promise<void>;
}

export interface ConsumerSpec {
  readonly workspaceId: string;
  /** 1 to 64 characters of A-Z a-z 0-9 _ -; of one workspace. */
  readonly name: string;
  readonly rooms: readonly string[];
  /** Where it begins when it is made. */
  readonly from: { readonly seq: number } | { readonly atMs: number } | 'start' | 'now';
  /** A delivery that is not settled by then is due again. */
  readonly ackTimeoutMs: number;
  /** Attempts after which an event is given up: it goes to `dead`. */
  readonly maxDeliveries: number;
  /** Deliveries of all members together that may be unsettled. */
  readonly maxInFlight: number;
}

export interface DeadDelivery {
  readonly event: StoredEvent;
  readonly attempts: number;
  readonly reason: string;
}

export interface Delivery {
  readonly event: StoredEvent;
  /** 1 the first time. Counted when it is handed out, so that a crash costs one. */
  readonly attempt: number;
  /** Settles it; resolves once that is kept. Rejects DELIVERY_UNKNOWN, LOG_UNAVAILABLE. */
  ack(): Promise<void>;
  /** Due again after so long; the last attempt makes it dead with this reason. */
  nack(options: { readonly delayMs: number; readonly reason: string }): Promise<void>;
  /** Gives it up for good: it goes to `dead` at once. */
  discard(reason: string): Promise<void>;
}

export interface ConsumerInfo {
  /** Events it will still get that no member has yet. */
  readonly pending: number;
  readonly inFlight: number;
  /** Everything up to it is settled. */
  readonly settledSeq: number;
}

/** A member of a durable consumer. Several, also in several processes, share its events: each goes to one of them. */
export interface LogConsumer {
  readonly spec: ConsumerSpec;
  /** Waits for at least one delivery, up to `max`; resolves empty when the signal aborts or this member leaves meanwhile. Rejects LOG_CLOSED once it has left. */
  pull(max: number, signal: AbortSignal): Promise<readonly Delivery[]>;
  info(): Promise<ConsumerInfo>;
  /** This member leaves; what it has not settled is due again at once. */
  close(): Promise<void>;
}

export interface RetentionPolicy {
  /** Of several policies whose pattern selects a room the longest pattern counts. */
  readonly pattern: string;
  readonly maxAgeMs: number | null;
  /** Of one room's events together. */
  readonly maxBytes: number | null;
}

export type LogState = 'opening' | 'open' | 'away' | 'closed';

/** Of a handle since it was opened. */
export interface LogCounts {
  /** Of events that were appended and are not answered yet. */
  readonly waitingBytes: number;
  /** Appends that were refused with LOG_BACKLOGGED. */
  readonly backlogged: number;
  /** Records that could not be read; one that is read twice counts twice. */
  readonly damagedRecords: number;
  /** Times that a tail let go of what it had heard because it was too much, and read it from the log instead. */
  readonly tailOverflows: number;
}

/** What both bodies do. Every promise rejects with LogError only. */
export interface EventLog {
  readonly state: LogState;
  onState(listener: (state: LogState) => void): () => void;
  /** The class that `append` reaches. */
  readonly storedClass: StoredClass;
  readonly counts: LogCounts;
  /**
   * Stores an event after all that this handle appended before. Appends may be pipelined: storing is grouped. When one cannot be stored in time, all
   * that were appended after it and have no place yet are refused with it, in order: append them again in that order, before anything new.
   */
  append(event: LogEvent): Promise<Appended>;
  bounds(): Promise<LogBounds>;
  read(query: ReadQuery): Promise<LogPage>;
  /** The last `count` events of the rooms, or fewer that fit, oldest first; `next` is up to where it looked: a reader goes on from there. */
  readLast(query: LastQuery): Promise<LogPage>;
  /** The sequence before the first event that was stored at this time or later: where a reader of "since then" begins. */
  sequenceAt(atMs: number): Promise<number>;
  /** Where an event is, by its id; undefined: not stored, or gone. */
  find(workspaceId: string, id: string): Promise<StoredEvent | undefined>;
  tail(workspaceId: string, options: TailOptions): LogTail;
  /** Joins a consumer, which is made when it is not there. CONSUMER_EXISTS: with other settings. */
  consumer(spec: ConsumerSpec, dead: (dead: DeadDelivery) => Promise<void>): Promise<LogConsumer>;
  consumers(workspaceId: string): Promise<readonly ConsumerSpec[]>;
  deleteConsumer(workspaceId: string, name: string): Promise<void>;
  /** What is kept of a workspace's rooms from now on; enforced by `sweep`. Rooms without a policy are kept. */
  setRetention(workspaceId: string, policies: readonly RetentionPolicy[]): void;
  /** Deletes what retention and expiry say; resolves with how many events went. The owner calls it now and then. */
  sweep(): Promise<number>;
  /** Deletes all events and consumers of a workspace. */
  deleteWorkspace(workspaceId: string): Promise<void>;
  /** Finishes what was appended, then ends; idempotent. */
  close(): Promise<void>;
}
