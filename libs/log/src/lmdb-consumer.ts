import { LogError, type ConsumerInfo, type ConsumerSpec, type DeadDelivery, type Delivery, type LogConsumer, type LogTail, type StoredEvent } from './event-log.ts';
import { ConsumerState, SETTLED_ATTEMPT, type Owed } from './consumer-state.ts';
import type { DueTimes } from './due-times.ts';
import type { Commit, CommitPart, GroupCommit } from './group-commit.ts';
import { SEQ_END } from './lmdb-keys.ts';
import type { LmdbReader } from './lmdb-read.ts';
import { writeNote } from './lmdb-records.ts';
import type { LmdbStore } from './lmdb-store.ts';
import { closedFault, storeFault, type LogLog } from './log-faults.ts';
import type { LogTails } from './log-tail.ts';

const READ_MAX_EVENTS = 256;
const READ_MAX_BYTES = 1024 * 1024;
const DEAD_RETRY_MS = 1_000;

export interface ConsumerContext {
  readonly store: LmdbStore;
  readonly commits: GroupCommit;
  readonly reader: LmdbReader;
  readonly tails: LogTails;
  readonly due: DueTimes;
  readonly now: () => number;
  /** Milliseconds that no setting of the clock changes: what is in flight times out by them. */
  readonly elapsed: () => number;
  readonly log: LogLog;
}

type TakeDead = (dead: DeadDelivery) => Promise<void>;

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: LogError) => void;
}

/** What the members of one consumer share. Attempts and settlings of one commit are written together. */
export class LmdbConsumer implements CommitPart {
  readonly spec: ConsumerSpec;
  readonly number: number;
  readonly #context: ConsumerContext;
  readonly #state: ConsumerState;
  readonly #members = new Set<Member>();
  #storedFloor: number;
  #tail: LogTail | undefined;
  readonly #waking = new Set<() => void>();
  /** When held deliveries time out, soonest first: all have the same time, so that the order of holding is that of ending. */
  readonly #deadlines = new Map<Owed, { readonly atMs: number; readonly turn: number }>();
  #isWatching = false;
  #attempted: Owed[] = [];
  #settling: Owed[] = [];
  #forgotten: number[] = [];
  #waiters: Waiter[] = [];
  #isSubmitted = false;
  #inCommit: { readonly attempted: readonly Owed[]; readonly settling: readonly Owed[]; readonly forgotten: readonly number[]; readonly waiters: readonly Waiter[]; readonly floor: number; readonly passed: readonly number[] } | undefined;
  readonly #givingUp = new Set<Owed>();
  #ending: LogError | undefined;

  constructor(context: ConsumerContext, { number, spec, floor }: { readonly number: number; readonly spec: ConsumerSpec; readonly floor: number }) {
    this.#context = context;
    this.number = number;
    this.spec = spec;
    this.#storedFloor = floor;
    const attempts = new Map<number, number>();
    for (const { key, value } of context.store.owed.getRange({ start: { number, seq: 0 }, end: { number, seq: SEQ_END } })) attempts.set(key.seq, value.readUInt16BE(0));
    this.#state = new ConsumerState({ floor, maxInFlight: spec.maxInFlight, maxDeliveries: spec.maxDeliveries, attempts });
  }

  async join(dead: TakeDead): Promise<LogConsumer> {
    const member = new Member(this, dead);
    this.#members.add(member);
    if (this.#tail === undefined) {
      this.#tail = this.#context.tails.tail(this.spec.workspaceId, { event: () => this.#wake(), gap: () => this.#wake() });
      for (const pattern of this.spec.rooms) await this.#tail.add(pattern);
    }
    for (const owed of this.#state.dying()) void this.#giveUp(owed);
    return member;
  }

  async leave(member: Member): Promise<void> {
    if (!this.#members.delete(member)) return;
    if (this.#members.size === 0) {
      // Who joins from here on makes one of his own.
      const tail = this.#tail;
      this.#tail = undefined;
      await tail?.close();
    }
    if (this.#ending === undefined) for (const owed of this.#state.heldBy(member)) void this.#release(owed, { delayMs: 0, reason: 'its member left' });
    this.#wake();
  }

  /** Nobody gets anything any more: the log ends, or the consumer was deleted. */
  end(reason: LogError): void {
    this.#ending ??= reason;
    void this.#tail?.close();
    this.#wake();
  }

  async pull(member: Member, max: number, signal: AbortSignal): Promise<readonly Delivery[]> {
    if (this.#ending === undefined && !this.#members.has(member)) throw closedFault();
    for (;;) {
      if (this.#ending !== undefined) throw this.#ending;
      if (signal.aborted || !this.#members.has(member) || max < 1) return [];
      const taken = this.#take(member, max);
      if (taken.length === 0) {
        await this.#woken(signal);
        continue;
      }
      await this.#keepAttempts(taken.map(({ owed }) => owed));
      const deliveries = taken.filter(({ owed, turn }) => this.#state.isHeld(owed, turn)).map(({ owed, event }) => this.#deliver(owed, event));
      if (deliveries.length > 0) return deliveries;
    }
  }

  info(): ConsumerInfo {
    if (this.#ending !== undefined) throw this.#ending;
    const { waiting, inFlight } = this.#state.counts();
    const unread = this.#context.reader.countAfter(this.spec.workspaceId, this.spec.rooms, this.#state.readTo);
    return { pending: waiting + unread, inFlight, settledSeq: this.#state.floor };
  }

  #take(member: Member, max: number): { readonly owed: Owed; readonly event: StoredEvent; readonly turn: number }[] {
    for (;;) {
      this.#read();
      const taken = this.#state.take(max, member);
      const there = taken.flatMap(({ owed, event = this.#event(owed.seq) }) => {
        if (event !== undefined && !this.#hasExpired(event)) return [{ owed, event, turn: owed.turn }];
        this.#settle(owed);
        return [];
      });
      if (there.length < taken.length) this.#keepInBackground();
      if (there.length > 0 || taken.length === 0) return there;
    }
  }

  /** Reads on until there is something to take, or the end. */
  #read(): void {
    const { reader, commits, log } = this.#context;
    const { workspaceId, rooms, name } = this.spec;
    while (this.#state.wantsMore && this.#state.readTo < commits.head) {
      const page = reader.read({ workspaceId, rooms, after: this.#state.readTo, maxEvents: READ_MAX_EVENTS, maxBytes: READ_MAX_BYTES });
      for (const gap of page.gaps) log.warn({ workspaceId, consumer: name, ...gap }, 'events are gone before a consumer got them');
      const { spent, gone } = this.#state.feed(page.events, page.next);
      this.#forgotten.push(...gone);
      for (const owed of spent) void this.#giveUp(owed);
    }
  }

  #event(seq: number): StoredEvent | undefined {
    const event = this.#context.reader.event(seq);
    return event === 'damaged' ? undefined : event;
  }

  #hasExpired(event: StoredEvent): boolean {
    return event.expiresAtMs !== undefined && event.expiresAtMs <= this.#context.now();
  }

  async #keepAttempts(taken: readonly Owed[]): Promise<void> {
    this.#attempted.push(...taken);
    try {
      await this.#keep();
    } catch (error) {
      for (const owed of taken) if (owed.status === 'held') this.#state.giveBack(owed);
      this.#wake();
      throw error;
    }
  }

  #deliver(owed: Owed, event: StoredEvent): Delivery {
    const { turn, attempt } = owed;
    this.#startTimeout(owed);
    const ifHeld = async (work: () => Promise<void> | undefined): Promise<void> => {
      if (this.#ending !== undefined) throw this.#ending;
      if (!this.#state.isHeld(owed, turn)) throw new LogError('DELIVERY_UNKNOWN', `The delivery of ${event.id} is settled, timed out, or another member's.`);
      await work();
    };
    return {
      event,
      attempt,
      ack: () => ifHeld(() => (this.#settle(owed), this.#keep())),
      nack: ({ delayMs, reason }) => ifHeld(() => this.#release(owed, { delayMs, reason })),
      discard: (reason) => ifHeld(() => this.#release(owed, { delayMs: 0, reason, isLast: true })),
    };
  }

  #startTimeout(owed: Owed): void {
    this.#deadlines.delete(owed);
    this.#deadlines.set(owed, { atMs: this.#context.elapsed() + this.spec.ackTimeoutMs, turn: owed.turn });
    if (!this.#isWatching) this.#watch(this.spec.ackTimeoutMs);
  }

  #watch(delayMs: number): void {
    this.#isWatching = true;
    this.#context.due.add(delayMs, () => this.#expire());
  }

  #expire(): void {
    this.#isWatching = false;
    const nowMs = this.#context.elapsed();
    for (const [owed, { atMs, turn }] of this.#deadlines) {
      if (atMs > nowMs) return this.#watch(atMs - nowMs);
      this.#deadlines.delete(owed);
      if (this.#state.isHeld(owed, turn)) void this.#release(owed, { delayMs: 0, reason: 'it was not settled in time' });
    }
  }

  /** Ends a delivery unsettled; what it gives ends with the first try to give the event up, when that was the last attempt. */
  #release(owed: Owed, { delayMs, reason, isLast = false }: { readonly delayMs: number; readonly reason: string; readonly isLast?: boolean }): Promise<void> | undefined {
    this.#deadlines.delete(owed);
    const status = this.#state.release(owed, { delayed: delayMs > 0, reason, isLast });
    if (status === 'dying') return this.#giveUp(owed);
    const { turn } = owed;
    if (status === 'delayed') this.#context.due.add(delayMs, () => this.#state.resume(owed, turn) && this.#wake());
    else this.#wake();
    return undefined;
  }

  async #giveUp(owed: Owed): Promise<void> {
    const [member] = this.#members;
    if (member === undefined || this.#ending !== undefined || owed.status !== 'dying' || this.#givingUp.has(owed)) return;
    this.#givingUp.add(owed);
    try {
      const event = this.#event(owed.seq);
      if (event !== undefined) await member.dead({ event, attempts: owed.attempt, reason: owed.reason });
      if (this.#ending !== undefined) return;
      this.#settle(owed);
      await this.#keep();
    } catch (error) {
      this.#context.log.warn({ consumer: this.spec.name, seq: owed.seq, error: error instanceof Error ? error.message : String(error) }, 'an event could not be given up');
      this.#context.due.add(DEAD_RETRY_MS, () => void this.#giveUp(owed));
    } finally {
      this.#givingUp.delete(owed);
    }
  }

  #settle(owed: Owed): void {
    this.#deadlines.delete(owed);
    this.#state.settling(owed);
    this.#settling.push(owed);
  }

  /** Writes what has happened with the next commit; resolves once it is kept. */
  #keep(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.#submit();
    });
  }

  /** As #keep, when nobody waits for it: what cannot be kept is tried again when it is handed out. */
  #keepInBackground(): void {
    this.#keep().catch(() => undefined);
  }

  #submit(): void {
    if (this.#isSubmitted) return;
    this.#isSubmitted = true;
    this.#context.commits.submit(this);
  }

  plan(commit: Commit): void {
    this.#isSubmitted = false;
    this.#inCommit = { attempted: this.#attempted, settling: this.#settling, forgotten: this.#forgotten, waiters: this.#waiters, ...this.#state.planFloor() };
    this.#attempted = [];
    this.#settling = [];
    this.#forgotten = [];
    this.#waiters = [];
    const { attempted, settling, forgotten, passed } = this.#inCommit;
    commit.grow({ entries: owedEntries(attempted.length + settling.length + forgotten.length + passed.length) });
  }

  write(): void {
    if (this.#inCommit === undefined || this.#ending?.code === 'CONSUMER_UNKNOWN') return;
    const { store } = this.#context;
    const { attempted, settling, forgotten, floor, passed } = this.#inCommit;
    const key = { number: this.number, seq: 0 };
    for (const { seq, status, attempt } of attempted) if (status !== 'settling' && seq > floor) store.owed.put(((key.seq = seq), key), attemptBytes(attempt));
    for (const { seq } of settling) if (seq > floor) store.owed.put(((key.seq = seq), key), attemptBytes(SETTLED_ATTEMPT));
    for (const seq of passed) store.owed.remove(((key.seq = seq), key));
    for (const seq of forgotten) store.owed.remove(((key.seq = seq), key));
    if (floor !== this.#storedFloor) store.consumers.put(this.number, consumerNote(this.spec, floor));
  }

  committed(): void {
    const done = this.#inCommit;
    if (done === undefined) return;
    this.#inCommit = undefined;
    this.#storedFloor = done.floor;
    this.#state.settled(done.settling);
    for (const { resolve } of done.waiters) resolve();
    this.#wake();
  }

  failed(error: LogError): void {
    const done = this.#inCommit;
    if (done === undefined) return;
    this.#inCommit = undefined;
    this.#forgotten.push(...done.forgotten);
    for (const owed of done.settling) if (this.#state.unsettle(owed) === 'held') this.#startTimeout(owed);
    for (const { reject } of done.waiters) reject(error);
  }

  #wake(): void {
    const waking = [...this.#waking];
    this.#waking.clear();
    for (const wake of waking) wake();
  }

  #woken(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waking.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      signal.addEventListener('abort', done, { once: true });
      this.#waking.add(done);
    });
  }
}

class Member implements LogConsumer {
  readonly #consumer: LmdbConsumer;
  readonly dead: TakeDead;

  constructor(consumer: LmdbConsumer, dead: TakeDead) {
    this.#consumer = consumer;
    this.dead = dead;
  }

  get spec(): ConsumerSpec {
    return this.#consumer.spec;
  }

  async pull(max: number, signal: AbortSignal): Promise<readonly Delivery[]> {
    try {
      return await this.#consumer.pull(this, max, signal);
    } catch (error) {
      throw storeFault(error);
    }
  }

  async info(): Promise<ConsumerInfo> {
    try {
      return this.#consumer.info();
    } catch (error) {
      throw storeFault(error);
    }
  }

  close(): Promise<void> {
    return this.#consumer.leave(this);
  }
}

function attemptBytes(attempt: number): Buffer {
  const bytes = Buffer.allocUnsafe(2);
  bytes.writeUInt16BE(Math.min(attempt, attempt === SETTLED_ATTEMPT ? SETTLED_ATTEMPT : SETTLED_ATTEMPT - 1), 0);
  return bytes;
}

// Attempts of a consumer lie side by side, at least this many in a leaf; an entry is reckoned with four leaves.
const OWED_A_LEAF = 16;

/** As how many entries of a commit so many attempts of one consumer count. */
export const owedEntries = (count: number): number => Math.ceil(count / OWED_A_LEAF);

/** What is stored of a consumer. */
export const consumerNote = (spec: ConsumerSpec, floor: number): Buffer => writeNote({ spec, floor });

/** Whether somebody who asks for `spec` means a consumer with these settings; where it began does not matter any more. */
export function isSameSpec(spec: ConsumerSpec, other: ConsumerSpec): boolean {
  const rooms = (one: ConsumerSpec): string => [...new Set(one.rooms)].sort().join('\n');
  return rooms(spec) === rooms(other) && spec.ackTimeoutMs === other.ackTimeoutMs && spec.maxDeliveries === other.maxDeliveries && spec.maxInFlight === other.maxInFlight;
}

