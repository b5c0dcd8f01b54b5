import { isExactPattern } from '@carillon/wire';
import type { Msg } from '@nats-io/transport-node';

import { LogError, type LogGap, type LogTail, type StoredEvent, type TailOptions } from './event-log.ts';
import { countAfter } from './jetstream-cursor.ts';
import { messageOf } from './jetstream-lookup.ts';
import { isExpired, type JetStreamReader } from './jetstream-reader.ts';
import { decodeRecord } from './jetstream-record.ts';
import { stateOf, type OpenStream } from './jetstream-stream.ts';
import { filterOf, filtersOf, parseLogSubject } from './jetstream-subjects.ts';
import { TailAudit } from './jetstream-tail-audit.ts';
import type { TailRooms } from './jetstream-tail-rooms.ts';
import { TailSubscriptions } from './jetstream-tail-subscriptions.ts';

/*
 * A tail hears what the stream says again, which is at most once, and makes it complete:
 *
 *   the sequence before it in its room is not the one given last   ──▶ read that room's hole, then give it
 *   the connection was lost, the stream has another leader,
 *   too much waits, the stream has grown and nothing is heard,
 *   a hole was met, the count of what was stored is another one    ──▶ read all wanted rooms from where it was certain
 *
 * One piece of work at a time; what is heard meanwhile waits in a queue, so that the order holds. What was read and is heard
 * again is known by the last sequence given of its room.
 */
const QUEUE_MAX_BYTES = 16 * 1024 * 1024;
const PAGE_EVENTS = 500;
const PAGE_MAX_BYTES = 4 * 1024 * 1024;
const RETRY_MS = 300;
const CONFIRM_MS = 200;
// Up to so many filters the leader is asked for each whether there is an event, before a reading is begun.
const ASKED_FILTERS_MAX = 8;

/** What the tails of a log count together. */
export interface TailCounts {
  damagedRecords: number;
  overflows: number;
}

/** A piece of work; one of a kind that has not begun stands for all that would be added to it. */
interface Work {
  readonly kind: 'activate' | 'read' | 'look' | 'confirm' | 'fill' | 'audit';
  readonly run: () => Promise<void>;
  hasBegun: boolean;
}

class Interrupted extends Error {}

interface Adding {
  readonly pattern: string;
  /** Removed again before it was in force. */
  isRemoved: boolean;
  readonly resolve: (seq: number) => void;
  readonly reject: (error: LogError) => void;
}

interface Heard {
  readonly subject: string;
  readonly seq: number;
  readonly prevSeq: number;
  readonly message: Msg;
}

export interface JetStreamTailOptions extends TailOptions {
  readonly workspaceId: string;
  readonly reader: JetStreamReader;
  readonly rooms: TailRooms;
  readonly counts: TailCounts;
  readonly auditMs: number;
  readonly warn: (text: string, fields: Readonly<Record<string, unknown>>) => void;
  readonly closed: (tail: JetStreamTail) => void;
}

export class JetStreamTail implements LogTail {
  readonly #options: JetStreamTailOptions;
  readonly #subscriptions: TailSubscriptions;
  readonly #work: Work[] = [];
  #adding: Adding[] = [];
  /** Of which the server is being told. */
  #activating: readonly Adding[] = [];
  #queue: Heard[] = [];
  #queuedBytes = 0;
  #stream: OpenStream | undefined;
  #epoch: string | undefined;
  #isWorking = false;
  #isClosed = false;
  /** Complete up to here, as far as is known now. */
  #cursor = 0;
  /** The cursor at the last check and at the one before: if they are the same, nothing was heard between. */
  #checkpoints: readonly [number, number] = [0, 0];
  #streamAtCheck = 0;
  readonly #audit = new TailAudit();
  #auditedAtMs = performance.now();

  constructor(options: JetStreamTailOptions) {
    this.#options = options;
    this.#subscriptions = new TailSubscriptions({ workspaceId: options.workspaceId, warn: options.warn, hear: (message) => this.#hear(message) });
  }

  get certain(): number {
    return this.#audit.after;
  }

  add(pattern: string): Promise<number> {
    if (this.#isClosed) return Promise.reject(new LogError('LOG_CLOSED', 'The tail is closed.'));
    return new Promise((resolve, reject) => {
      this.#adding.push({ pattern, isRemoved: false, resolve, reject });
      // One request for all that are added in the same turn.
      if (this.#adding.length === 1) queueMicrotask(() => this.#do('activate', () => this.#activate()));
    });
  }

  remove(pattern: string): void {
    for (const adding of this.#activating) if (adding.pattern === pattern) adding.isRemoved = true;
    for (const adding of this.#adding) if (adding.pattern === pattern) adding.isRemoved = true;
    this.#options.rooms.remove(pattern);
    this.#listen();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.detach();
    for (const { reject } of this.#adding.splice(0)) reject(new LogError('LOG_CLOSED', 'The tail was closed.'));
    this.#options.closed(this);
  }

  /** A stream is there, or there again: subscribes, and reads what came meanwhile. */
  attach(stream: OpenStream): void {
    this.detach();
    if (this.#epoch !== undefined && this.#epoch !== stream.epoch) this.#beginAnew();
    this.#epoch = stream.epoch;
    this.#stream = stream;
    // Of the link before; what has begun finds that out itself.
    this.#work.splice(0, this.#work.length, ...this.#work.filter(({ kind, hasBegun }) => hasBegun || kind === 'activate'));
    this.#listen();
    if (this.#adding.length > 0) this.#do('activate', () => this.#activate());
    if (this.#options.rooms.patterns.length > 0) this.#readUpToHead();
  }

  detach(): void {
    this.#stream = undefined;
    this.#subscriptions.clear();
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  /** Compares with the end of the stream, now and then; `isMoved`: it has another leader, which may not have said everything again. */
  check(last: number, { isMoved }: { readonly isMoved: boolean }): void {
    const before = this.#streamAtCheck;
    this.#streamAtCheck = last;
    const { rooms } = this.#options;
    if (isMoved || rooms.isCrowded) this.#readUpToHead();
    // Stored at least one check ago and not heard: of rooms that are not wanted, or lost.
    else if (this.#cursor < before && this.#cursor === this.#checkpoints[0]) this.#do('look', () => this.#look(before));
    this.#checkpoints = [this.#cursor, this.#checkpoints[0]];
    if (performance.now() - this.#auditedAtMs < this.#options.auditMs) return;
    this.#auditedAtMs = performance.now();
    this.#do('audit', () => this.#compare(before));
  }

  #beginAnew(): void {
    this.#cursor = 0;
    this.#checkpoints = [0, 0];
    this.#streamAtCheck = 0;
    this.#audit.begin(0);
    this.#options.rooms.beginAnew();
  }

  async #activate(): Promise<void> {
    const stream = this.#stream;
    const adding = this.#adding;
    if (stream === undefined || adding.length === 0) return;
    this.#adding = [];
    this.#activating = adding;
    try {
      this.#listen();
      // Asked on the same connection after the subscriptions: what is stored after the answer is heard.
      const { state } = await stateOf(stream);
      this.#requireSame(stream);
      if (this.#options.rooms.patterns.length === 0) {
        this.#cursor = state.last_seq;
        this.#checkpoints = [state.last_seq, state.last_seq];
        this.#audit.begin(state.last_seq);
      }
      this.#activating = [];
      for (const { pattern, isRemoved, resolve } of adding) {
        if (!isRemoved) this.#options.rooms.add(pattern, state.last_seq);
        resolve(state.last_seq);
      }
      this.#listen();
      if (stream.replicas > 1) this.#confirmSoon(stream, { patterns: adding.map(({ pattern }) => pattern), after: state.last_seq });
      // Who awaits it goes on before the first event.
      await new Promise((resolve) => setImmediate(resolve));
    } catch (error) {
      this.#activating = [];
      if (this.#isClosed) for (const { reject } of adding) reject(new LogError('LOG_CLOSED', 'The tail was closed.'));
      // Still wanted: with the next link, or soon.
      else this.#adding.unshift(...adding);
      throw error;
    }
  }

  /**
   * The servers of a cluster tell each other subscriptions and requests on different connections: for a moment the leader may not know
   * yet that somebody listens. What it said meanwhile is read.
   */
  #confirmSoon(stream: OpenStream, added: { readonly patterns: readonly string[]; readonly after: number }): void {
    const confirm = async () => {
      if (this.#stream === stream) await this.#read(stream, { ...added, upTo: (await stateOf(stream)).state.last_seq });
    };
    // One a turn at most, and each is of patterns of its own.
    setTimeout(() => this.#do('confirm', confirm), CONFIRM_MS).unref();
  }

  /** Listens to what is wanted, or is about to be, and to nothing else. */
  #listen(): void {
    const stream = this.#stream;
    const coming = [...this.#activating, ...this.#adding].map(({ pattern }) => pattern);
    if (stream !== undefined) this.#subscriptions.only(stream.link, [...this.#options.rooms.patterns, ...coming]);
  }

  #hear(message: Msg): void {
    if (this.#isClosed) return;
    const given = message.headers;
    const heard: Heard = { subject: given?.get('Nats-Subject') ?? '', seq: Number(given?.get('Nats-Sequence')), prevSeq: Number(given?.get('Nats-Last-Sequence')) || 0, message };
    // Not of the stream: anybody may publish there.
    if (!(heard.seq > 0) || parseLogSubject(heard.subject) === undefined) return;
    if (!this.#isWorking && this.#queue.length === 0 && this.#offer(heard)) return;
    this.#queue.push(heard);
    this.#queuedBytes += message.data.length;
    if (this.#queuedBytes <= QUEUE_MAX_BYTES) return this.#run();
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#options.counts.overflows += 1;
    this.#readUpToHead();
  }

  /** Gives what was heard; false: something of its room is missing before it. */
  #offer({ subject, seq, prevSeq, message }: Heard): boolean {
    const { rooms } = this.#options;
    const known = rooms.knownOf(subject, seq);
    if (known === undefined || seq <= known) return true;
    if (prevSeq > known) return false;
    const storedAtMs = Date.parse(message.headers?.get('Nats-Time-Stamp') ?? '') || Date.now();
    this.#give(subject, decodeRecord(subject, message.data, { seq, prevSeq: prevSeq === 0 ? rooms.givenOf(subject) : prevSeq, storedAtMs }), seq);
    return true;
  }

  #give(subject: string, event: StoredEvent | undefined, seq: number): void {
    this.#options.rooms.gave(subject, seq);
    this.#audit.gave(seq);
    this.#cursor = Math.max(this.#cursor, seq);
    if (event === undefined) {
      this.#options.counts.damagedRecords += 1;
      return this.#tellGap({ from: seq, to: seq, reason: 'damaged' });
    }
    if (isExpired(event, Date.now())) return this.#tellGap({ from: seq, to: seq, reason: 'retention' });
    this.#guarded(() => this.#options.event(event));
  }

  #tellGap(gap: LogGap): void {
    this.#guarded(() => this.#options.gap(gap));
  }

  #guarded(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#options.warn('A subscriber of the log threw', { workspaceId: this.#options.workspaceId, error });
    }
  }

  #do(kind: Work['kind'], run: () => Promise<void>): void {
    if (this.#isClosed) return;
    const isDue = kind !== 'confirm' && this.#work.some((work) => work.kind === kind && !work.hasBegun);
    if (!isDue) this.#work.push({ kind, run, hasBegun: false });
    this.#run();
  }

  /** Ends what was begun on a stream that is not the one of now: what it found out does not count any more. */
  #requireSame(stream: OpenStream): void {
    if (this.#isClosed || this.#stream !== stream) throw new Interrupted('the stream is another one by now');
  }

  #run(): void {
    if (this.#isWorking) return;
    this.#isWorking = true;
    void this.#runAll().finally(() => {
      this.#isWorking = false;
      if (!this.#isClosed && (this.#work.length > 0 || this.#queue.length > 0)) this.#run();
    });
  }

  async #runAll(): Promise<void> {
    while (!this.#isClosed) {
      const work = this.#work[0];
      if (work === undefined) {
        const heard = this.#queue[0];
        if (heard === undefined) return;
        if (this.#offer(heard)) this.#shift();
        else this.#work.push({ kind: 'fill', run: () => this.#fillRoom(heard), hasBegun: false });
        continue;
      }
      const stream = this.#stream;
      if (stream === undefined) {
        // The next link begins with a reading of everything.
        this.#work.length = 0;
        return;
      }
      try {
        work.hasBegun = true;
        await work.run();
        this.#work.shift();
      } catch (error) {
        if (this.#stream !== stream) {
          // The next link begins with a reading of everything; only what is being added is still to be done.
          if (work.kind !== 'activate') this.#work.shift();
          continue;
        }
        this.#options.warn('A tail of the log cannot be completed yet', { workspaceId: this.#options.workspaceId, reason: error instanceof Error ? error.message : String(error) });
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  #shift(): void {
    const heard = this.#queue.shift();
    this.#queuedBytes -= heard?.message.data.length ?? 0;
  }

  /** Reads what a room misses before an event that was heard. */
  async #fillRoom({ subject, seq, prevSeq }: Heard): Promise<void> {
    const stream = this.#stream;
    const { rooms, workspaceId } = this.#options;
    const known = rooms.knownOf(subject, seq);
    const room = parseLogSubject(subject)?.room;
    if (stream === undefined || known === undefined || room === undefined || prevSeq <= known) return;
    await this.#read(stream, { patterns: [room], after: known, upTo: prevSeq });
    this.#requireSame(stream);
    // What was lost there may have been lost in other rooms too, which have nothing later that would show it.
    this.#readUpToHead();
    const reached = rooms.knownOf(subject, seq) ?? prevSeq;
    if (reached >= prevSeq) return;
    rooms.gave(subject, prevSeq);
    this.#options.warn('Events of a room were deleted before they could be given', { workspaceId, room, from: reached + 1, to: prevSeq });
    this.#tellGap({ from: reached + 1, to: prevSeq, reason: 'retention' });
  }

  #readUpToHead(): void {
    this.#do('read', async () => {
      const stream = this.#stream;
      if (stream === undefined || this.#options.rooms.patterns.length === 0) return;
      const { state } = await stateOf(stream);
      this.#requireSame(stream);
      await this.#readAll(state.last_seq);
    });
  }

  async #readAll(upTo: number): Promise<void> {
    const stream = this.#stream;
    const { rooms } = this.#options;
    const { patterns } = rooms;
    if (stream === undefined || patterns.length === 0) return;
    await this.#read(stream, { patterns, after: Math.max(rooms.earliestBase, this.#audit.after), upTo });
    this.#requireSame(stream);
    this.#audit.begin(Math.max(this.#audit.after, upTo));
    this.#cursor = Math.max(this.#cursor, upTo);
    rooms.certainUpTo(upTo);
  }

  /** Whether there is anything at all between the cursor and a sequence; if so, reads it. */
  async #look(upTo: number): Promise<void> {
    const stream = this.#stream;
    const { rooms, workspaceId } = this.#options;
    if (stream === undefined || rooms.patterns.length === 0 || this.#cursor >= upTo) return;
    const filters = filtersOf('log', workspaceId, rooms.patterns);
    if (filters.length <= ASKED_FILTERS_MAX) {
      const next = await Promise.all(filters.map((filter) => messageOf(stream, { seq: this.#cursor + 1, next_by_subj: filter })));
      this.#requireSame(stream);
      if (next.every((message) => message === undefined || message.seq > upTo)) {
        this.#cursor = Math.max(this.#cursor, upTo);
        return;
      }
    }
    await this.#readAll(upTo);
  }

  /** Nothing shows the loss of a room's last event while others are heard: so what was given is counted against the log now and then. */
  async #compare(upTo: number): Promise<void> {
    const stream = this.#stream;
    const { rooms, workspaceId } = this.#options;
    const { patterns } = rooms;
    const { after } = this.#audit;
    if (stream === undefined || patterns.length === 0 || upTo <= after) return;
    const filters = filtersOf('log', workspaceId, patterns);
    // In this order: what is stored meanwhile makes a reading too many, never one too few.
    const behind = await countAfter(stream, filters, upTo);
    const stored = (await countAfter(stream, filters, after)) - behind;
    this.#requireSame(stream);
    if (stored !== this.#audit.countTo(upTo)) await this.#read(stream, { patterns, after: Math.max(rooms.earliestBase, after), upTo });
    this.#requireSame(stream);
    this.#audit.begin(upTo);
  }

  async #read(stream: OpenStream, { patterns, after, upTo }: { readonly patterns: readonly string[]; readonly after: number; readonly upTo: number }): Promise<void> {
    const { rooms, reader, workspaceId } = this.#options;
    const told = this.#cursor;
    const [room] = patterns.length === 1 ? patterns.filter(isExactPattern) : [];
    for (let from = after; from < upTo; ) {
      const page = await reader.page(stream, { workspaceId, rooms: patterns, after: from, upTo, maxEvents: PAGE_EVENTS, maxBytes: PAGE_MAX_BYTES });
      this.#requireSame(stream);
      for (const event of page.events) {
        const subject = filterOf('log', workspaceId, event.room);
        const known = rooms.knownOf(subject, event.seq);
        if (known === undefined || event.seq <= known) continue;
        // A reading for a pattern that was added begins later than what its rooms have for the sake of another one. (0: not told by 2.10.)
        const isHole = event.prevSeq > known || (event.prevSeq === 0 && known < after && this.certain < after);
        if (isHole) await this.#read(stream, { patterns: [event.room], after: known, upTo: event.seq - 1 });
        this.#give(subject, event, event.seq);
      }
      for (const gap of page.gaps) {
        const subject = room === undefined ? undefined : filterOf('log', workspaceId, room);
        if (gap.to <= (subject === undefined ? told : (rooms.knownOf(subject, upTo + 1) ?? upTo))) continue;
        if (subject !== undefined) rooms.gave(subject, gap.to);
        this.#tellGap(gap);
      }
      if (page.isLast) return;
      from = page.next;
    }
  }
}
