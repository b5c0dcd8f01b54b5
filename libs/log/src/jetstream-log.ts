import {
  LogError,
  type Appended, type ConsumerSpec, type DeadDelivery, type EventLog, type LastQuery, type LogBounds, type LogConsumer, type LogCounts, type LogEvent, type LogPage, type LogState, type LogTail, type ReadQuery, type RetentionPolicy, type StoredClass,
  type StoredEvent, type TailOptions,
} from './event-log.ts';
import { classOf } from './jetstream-ack.ts';
import { JetStreamAppender } from './jetstream-append.ts';
import { deleteConsumer, ensureConsumer, listConsumers } from './jetstream-consumers.ts';
import type { JetStreamCredentials } from './jetstream-dial.ts';
import { findEvent, readLast, sequenceAt } from './jetstream-history.ts';
import { StreamKeeper, type StreamOwner } from './jetstream-keeper.ts';
import { JetStreamMember } from './jetstream-member.ts';
import { JetStreamReader } from './jetstream-reader.ts';
import { JetStreamRetention } from './jetstream-retention.ts';
import { asLogError, isStreamUnknown, stateOf, type OpenStream, type StreamMaking } from './jetstream-stream.ts';
import { TailRooms } from './jetstream-tail-rooms.ts';
import { JetStreamTail, type TailCounts } from './jetstream-tail.ts';
import { LogStates } from './log-states.ts';

/*
 *          stream found or made         link lost, stream gone        found again
 * opening ──────────────────────▶ open ────────────────────▶ away ──────────────▶ open …     any ──close()──▶ closed
 *
 * Which server it is open on, and for how long, is jetstream-keeper.ts's.
 */
const DUPLICATE_WINDOW_MS = 600_000;
const TIMEOUT_MS = 5_000;
const EVENT_MAX_BYTES = 1_000_000;
const AUDIT_MS = 15_000;
const IN_FLIGHT_MAX_BYTES = 32 * 1024 * 1024;
// Without a look at the stream, or with an append that has no place: longer than either takes while the stream has a leader.
const STUCK_AFTER_MS = 3_000;

export interface JetStreamLogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly text: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface JetStreamLogOptions {
  /** `nats://host:port`; the others of their clusters are learnt. */
  readonly servers: readonly string[];
  readonly credentials?: JetStreamCredentials;
  /** What the server's monitoring shows. */
  readonly name: string;
  /**
   * Servers that keep each event: 1, or 3 for the class `replicated`. A stream that is there is changed to it. By default it is left as it is,
   * and one that has to be made has 3 in a cluster, else 1.
   */
  readonly replicas?: 1 | 3 | undefined;
  /** CARILLON by default. Its subjects are the same whatever its name: one log an account. */
  readonly stream?: string;
  /** How long the servers remember ids, in which a repeated append is told; 10 minutes by default. */
  readonly duplicateWindowMs?: number;
  /** The stream refuses with LOG_FULL from then on; -1, the default: as large as the servers let it be. */
  readonly streamMaxBytes?: number;
  /** The largest body; 1,000,000 by default, and less than the servers' `max_payload` in any case. */
  readonly eventMaxBytes?: number;
  /** Bytes of appends that are not acked yet, also of those that wait behind one, before LOG_BACKLOGGED; 32 MiB by default. */
  readonly inFlightMaxBytes?: number;
  /** How long the servers may take to answer before LOG_UNAVAILABLE; 5 s by default. */
  readonly timeoutMs?: number;
  /** How long an append may take to be stored, sent again included, before LOG_UNAVAILABLE; by default as long as an answer. */
  readonly appendTimeoutMs?: number;
  /** How often a tail compares how many events it was given with how many were stored; 15 s by default. */
  readonly auditMs?: number;
  /** Makes a stream anew that was deleted while this log was open, with a new epoch. Off by default: its events are lost, and somebody should know. */
  readonly mayRecreate?: boolean;
  readonly log?: (line: JetStreamLogLine) => void;
}

/**
 * Gives a log at once, in state `opening`; it connects, and reconnects, for as long as it is not closed. What is asked of it while it is
 * not open waits up to `timeoutMs`; an append does not wait. JetStream writes before it acks and fsyncs by its `sync_interval`.
 */
export function openJetStreamLog(options: JetStreamLogOptions): EventLog {
  return new JetStreamLog(options);
}

class JetStreamLog implements EventLog, StreamOwner {
  readonly #options: JetStreamLogOptions;
  readonly #timeoutMs: number;
  readonly #appender: JetStreamAppender;
  readonly #reader = new JetStreamReader(() => (this.#counts.damagedRecords += 1));
  readonly #retention = new JetStreamRetention(this.#reader.gone);
  readonly #tails = new Set<JetStreamTail>();
  readonly #members = new Set<JetStreamMember>();
  readonly #counts: TailCounts = { damagedRecords: 0, overflows: 0 };
  readonly #states = new LogStates('opening', (state, error) => this.#say('error', 'A listener of the log threw', { state, error }));
  readonly #closing = new AbortController();
  readonly #keeper: StreamKeeper;
  readonly #running: Promise<void>;
  #stream: OpenStream | undefined;
  #epoch: string | undefined;
  #replicas: number | undefined;
  /** Of the stream that was left last. */
  #seenHead = 0;
  #leader: string | undefined;
  #problem = 'it is not connected yet';
  /** A look at it was answered, or it was opened. */
  #answeredAtMs = 0;
  #closed: Promise<void> | undefined;

  constructor(options: JetStreamLogOptions) {
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    this.#appender = new JetStreamAppender({ eventMaxBytes: options.eventMaxBytes ?? EVENT_MAX_BYTES, inFlightMaxBytes: options.inFlightMaxBytes ?? IN_FLIGHT_MAX_BYTES, timeoutMs: options.appendTimeoutMs ?? this.#timeoutMs, nobodyThere: () => this.#keeper.checkNow() });
    this.#keeper = new StreamKeeper({ servers: options.servers, name: options.name, credentials: options.credentials ?? {}, timeoutMs: this.#timeoutMs, warn: this.#warn }, this);
    this.#running = this.#keeper.run(this.#closing.signal);
  }

  get state(): LogState {
    return this.#states.state;
  }

  /** Before the stream was seen: what the settings ask for. */
  get storedClass(): StoredClass {
    return classOf({ replicas: this.#replicas ?? this.#options.replicas ?? 1 });
  }

  get counts(): LogCounts {
    return { waitingBytes: this.#appender.inFlightBytes, backlogged: this.#appender.backlogged, damagedRecords: this.#counts.damagedRecords, tailOverflows: this.#counts.overflows };
  }

  onState(listener: (state: LogState) => void): () => void {
    return this.#states.listen(listener);
  }

  append(event: LogEvent): Promise<Appended> {
    const stream = this.#stream;
    if (this.#closed !== undefined) return Promise.reject(closedError());
    if (stream === undefined) return Promise.reject(new LogError('LOG_UNAVAILABLE', `The event log is not there: ${this.#problem}`));
    const appending = this.#appender.append(event);
    if (event.expiresAtMs === undefined) return appending;
    return appending.then((appended) => {
      if (!appended.duplicate) this.#retention.noteExpiry(this.#stream ?? stream, event, appended.seq);
      return appended;
    });
  }

  bounds(): Promise<LogBounds> {
    return this.#with(async (stream) => {
      const { state } = await stateOf(stream);
      return { epoch: stream.epoch, first: state.messages === 0 ? state.last_seq + 1 : state.first_seq, head: state.last_seq };
    });
  }

  read(query: ReadQuery): Promise<LogPage> {
    return this.#with((stream) => this.#reader.page(stream, query));
  }

  readLast(query: LastQuery): Promise<LogPage> {
    return this.#with((stream) => readLast(stream, this.#reader, query));
  }

  sequenceAt(atMs: number): Promise<number> {
    return this.#with((stream) => sequenceAt(stream, atMs));
  }

  find(workspaceId: string, id: string): Promise<StoredEvent | undefined> {
    return this.#with((stream) => findEvent(stream, { workspaceId, id }));
  }

  tail(workspaceId: string, options: TailOptions): LogTail {
    const tail = new JetStreamTail({ workspaceId, event: options.event, gap: options.gap, reader: this.#reader, rooms: new TailRooms(), counts: this.#counts, auditMs: this.#options.auditMs ?? AUDIT_MS, warn: this.#warn, closed: (closed) => this.#tails.delete(closed) });
    if (this.#closed !== undefined) void tail.close();
    else this.#tails.add(tail);
    if (this.#stream !== undefined) tail.attach(this.#stream);
    return tail;
  }

  consumer(spec: ConsumerSpec, dead: (dead: DeadDelivery) => Promise<void>): Promise<LogConsumer> {
    return this.#with(async (stream) => {
      await ensureConsumer(stream, spec);
      const member = new JetStreamMember({ spec, dead, ready: (signal) => this.#ready(signal), current: () => this.#stream, warn: this.#warn, closed: (closed) => this.#members.delete(closed) });
      this.#members.add(member);
      return member;
    });
  }

  consumers(workspaceId: string): Promise<readonly ConsumerSpec[]> {
    return this.#with((stream) => listConsumers(stream, workspaceId));
  }

  deleteConsumer(workspaceId: string, name: string): Promise<void> {
    return this.#with((stream) => this.#deleteConsumer(stream, { workspaceId, name }));
  }

  setRetention(workspaceId: string, policies: readonly RetentionPolicy[]): void {
    this.#retention.set(workspaceId, policies);
  }

  sweep(): Promise<number> {
    return this.#with((stream) => this.#retention.sweep(stream));
  }

  deleteWorkspace(workspaceId: string): Promise<void> {
    return this.#with(async (stream) => {
      for (const { name } of await listConsumers(stream, workspaceId)) {
        await this.#deleteConsumer(stream, { workspaceId, name }).catch((error: unknown) => (error instanceof LogError && error.code === 'CONSUMER_UNKNOWN' ? undefined : Promise.reject(asLogError(error))));
      }
      await this.#retention.deleteWorkspace(stream, workspaceId);
    });
  }

  async #deleteConsumer(stream: OpenStream, consumer: Pick<ConsumerSpec, 'workspaceId' | 'name'>): Promise<void> {
    const members = [...this.#members].filter(({ spec }) => spec.workspaceId === consumer.workspaceId && spec.name === consumer.name);
    await deleteConsumer(stream, consumer);
    for (const member of members) member.deleted();
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#members].map((member) => member.close()));
    await Promise.all([...this.#tails].map((tail) => tail.close()));
    await this.#appender.drained();
    const stream = this.#stream;
    this.#stream = undefined;
    this.#closing.abort();
    this.#states.enter('closed');
    await stream?.link.close();
    await this.#running;
  }

  /** Does it on the stream when that is there, and lets nothing but LogError out. */
  async #with<Value>(use: (stream: OpenStream) => Promise<Value>): Promise<Value> {
    const stream = await this.#ready();
    try {
      return await use(stream);
    } catch (error) {
      throw this.#closing.signal.aborted ? closedError() : asLogError(error);
    }
  }

  /** The stream, within `timeoutMs`, or for as long as the signal lets it take. */
  async #ready(signal?: AbortSignal): Promise<OpenStream> {
    if (this.#closed !== undefined) throw closedError();
    if (this.#stream !== undefined) return this.#stream;
    await new Promise<void>((resolve) => {
      const end = () => {
        clearTimeout(timer);
        stop();
        signal?.removeEventListener('abort', end);
        resolve();
      };
      const timer = signal === undefined ? setTimeout(end, this.#timeoutMs) : undefined;
      const stop = this.onState((state) => {
        if (state !== 'away') end();
      });
      signal?.addEventListener('abort', end, { once: true });
    });
    if (this.#closing.signal.aborted) throw closedError();
    if (this.#stream === undefined) throw new LogError('LOG_UNAVAILABLE', `The event log is not there: ${this.#problem}`);
    return this.#stream;
  }

  /** For the keeper of the stream. */
  get making(): StreamMaking {
    const { stream = 'CARILLON', replicas, duplicateWindowMs = DUPLICATE_WINDOW_MS, streamMaxBytes = -1, mayRecreate = false } = this.#options;
    return { settings: { stream, replicas, duplicateWindowMs, streamMaxBytes }, epoch: this.#epoch, mayRecreate, log: (level, text, fields) => this.#say(level, text, fields) };
  }

  /** For the keeper of the stream. */
  get leader(): string | undefined {
    return this.#isUnanswered ? undefined : this.#leader;
  }

  /** For the keeper of the stream. */
  get isStuck(): boolean {
    return this.#isUnanswered || this.#appender.waitedMs > STUCK_AFTER_MS;
  }

  get #isUnanswered(): boolean {
    return performance.now() - this.#answeredAtMs > STUCK_AFTER_MS;
  }

  /** For the keeper of the stream. */
  opened(stream: OpenStream): void {
    const { link, epoch, name } = stream;
    if (epoch === this.#epoch) stream.seen.head = this.#seenHead;
    this.#stream = stream;
    this.#epoch = epoch;
    this.#replicas = stream.replicas;
    this.#problem = '';
    this.#answeredAtMs = performance.now();
    this.#say('info', 'The event log is open', { stream: name, server: link.server, version: link.version, epoch, replicas: stream.replicas });
    if (!stream.hasMultiLast) this.#say('warn', 'The NATS server is older than 2.11: reading from the middle of a room does not tell the sequence before its first event', { version: link.version });
    for (const tail of this.#tails) tail.attach(stream);
    this.#appender.attach(stream);
    this.#states.enter('open');
  }

  /** For the keeper of the stream. */
  moved(stream: OpenStream, reason: string): void {
    this.#say('warn', 'The event log goes on by another server', { server: stream.link.server, reason });
    this.#detach();
    this.opened(stream);
  }

  /** For the keeper of the stream. */
  left(reason: string): void {
    const isNews = reason !== this.#problem;
    this.#problem = reason;
    this.#detach();
    if (this.#closed === undefined) this.#say(isNews ? 'warn' : 'debug', 'The event log is away', { servers: this.#options.servers, reason });
    if (this.state === 'open') this.#states.enter('away');
  }

  /** For the keeper of the stream: one look at it for all tails. */
  async check(stream: OpenStream): Promise<string | undefined> {
    try {
      const { state, leader, epoch } = await stateOf(stream);
      if (epoch !== stream.epoch) return 'the stream was made anew by somebody else';
      const isMoved = this.#leader !== undefined && this.#leader !== leader;
      this.#leader = leader;
      this.#answeredAtMs = performance.now();
      for (const tail of this.#tails) tail.check(state.last_seq, { isMoved });
      return undefined;
    } catch (error) {
      if (isStreamUnknown(error)) return `the stream ${stream.name} is gone: somebody deleted it`;
      // No leader for a while: what it does not say again is read when it is there.
      this.#leader = '';
      return undefined;
    }
  }

  #detach(): void {
    this.#seenHead = this.#stream?.seen.head ?? this.#seenHead;
    this.#stream = undefined;
    this.#leader = '';
    this.#appender.detach();
    for (const tail of this.#tails) tail.detach();
  }

  readonly #warn = (text: string, fields: Readonly<Record<string, unknown>>): void => this.#say('warn', text, fields);

  #say(level: JetStreamLogLine['level'], text: string, fields: Readonly<Record<string, unknown>>): void {
    this.#options.log?.({ level, text, fields });
  }
}

const closedError = (): LogError => new LogError('LOG_CLOSED', 'The log is closed.');
