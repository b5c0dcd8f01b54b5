import type { StoredEvent } from './event-log.ts';

/*
 * An event that is owed to a consumer, from when it was read to when everything up to it is settled:
 *
 *   fresh ──take──▶ held ──ack──▶ settling ──kept──▶ settled (leaves with those before it: the floor)
 *     ▲              │ │             │
 *   (read)    nack / │ │ last attempt│ not kept
 *             leave /│ │ or discard  └──▶ held again
 *             timeout▼ ▼
 *   take ◀── again ◀── delayed    dying ──dead letter taken──▶ settling
 *
 * Time and storage are others': this only says what is what. Positions in the log are sequences.
 */
type Status = 'fresh' | 'again' | 'delayed' | 'held' | 'dying' | 'settling' | 'settled';

export interface Owed {
  readonly seq: number;
  status: Status;
  /** Deliveries so far. */
  attempt: number;
  /** Whose delivery it is; undefined unless held. */
  member: object | undefined;
  /** Rises with each hand-out and each end of one, so that a timer or an ack of the past is known as such. */
  turn: number;
  reason: string;
  /** As it was read, until it is handed out for the first time. */
  event: StoredEvent | undefined;
}

export interface Taken {
  readonly owed: Owed;
  readonly event: StoredEvent | undefined;
}

export interface Fed {
  /** Handed out for the last time already. */
  readonly spent: readonly Owed[];
  /** Sequences with attempts whose events are gone. */
  readonly gone: readonly number[];
}

/** What a stored attempt of a settled event reads as. */
export const SETTLED_ATTEMPT = 0xffff;

// What may be settled behind an event that is not: a bound for memory and for what is stored one by one.
const AHEAD_MAX_COUNT = 65_536;

export interface ConsumerStateOptions {
  readonly floor: number;
  readonly maxInFlight: number;
  readonly maxDeliveries: number;
  /** Attempts of events above the floor that a process before this one handed out. */
  readonly attempts: ReadonlyMap<number, number>;
}

export class ConsumerState {
  readonly #options: ConsumerStateOptions;
  /** By sequence, rising. */
  readonly #owed = new Map<number, Owed>();
  readonly #attempts: Map<number, number>;
  readonly #again: Owed[] = [];
  readonly #fresh: Owed[] = [];
  #startedCount = 0;
  #readTo: number;
  #floor: number;

  constructor(options: ConsumerStateOptions) {
    this.#options = options;
    this.#attempts = new Map(options.attempts);
    this.#readTo = this.#floor = options.floor;
  }

  /** Everything up to it was read. */
  get readTo(): number {
    return this.#readTo;
  }

  /** Everything up to it is settled. */
  get floor(): number {
    return this.#floor;
  }

  /** Whether reading on makes something that could be taken. */
  get wantsMore(): boolean {
    return this.#fresh.length === 0 && this.#startedCount < this.#options.maxInFlight && this.#owed.size < AHEAD_MAX_COUNT;
  }

  /** Events that were read and have no member, and those that have one or wait for a delay. */
  counts(): { readonly waiting: number; readonly inFlight: number } {
    let waiting = 0;
    let inFlight = 0;
    for (const { status } of this.#owed.values()) {
      if (status === 'fresh' || status === 'again') waiting += 1;
      else if (status !== 'settled') inFlight += 1;
    }
    return { waiting, inFlight };
  }

  /** Takes what was read, in order; `readTo` may lie behind the last event. */
  feed(events: readonly StoredEvent[], readTo: number): Fed {
    const spent: Owed[] = [];
    for (const event of events) {
      const attempt = this.#attempts.get(event.seq) ?? 0;
      this.#attempts.delete(event.seq);
      const owed: Owed = { seq: event.seq, status: 'fresh', attempt: 0, member: undefined, turn: 0, reason: '', event };
      this.#owed.set(event.seq, owed);
      if (attempt === SETTLED_ATTEMPT) this.#become(owed, 'settled');
      else if (attempt === 0) this.#fresh.push(owed);
      else {
        owed.attempt = attempt;
        this.#startedCount += 1;
        if (attempt >= this.#options.maxDeliveries) {
          this.#become(owed, 'dying');
          owed.reason = 'its last delivery was never settled';
          spent.push(owed);
        } else this.#due(owed);
      }
    }
    this.#readTo = readTo;
    const gone = [...this.#attempts.keys()].filter((seq) => seq <= readTo);
    for (const seq of gone) this.#attempts.delete(seq);
    this.#advance();
    return { spent, gone };
  }

  /** Hands out up to `max`, what is due again first; with the event when it is the first time. */
  take(max: number, member: object): readonly Taken[] {
    const taken: Taken[] = [];
    const hand = (owed: Owed): void => {
      const { event } = owed;
      owed.attempt += 1;
      this.#become(owed, 'held');
      owed.member = member;
      taken.push({ owed, event });
    };
    while (taken.length < max) {
      const owed = this.#again.shift();
      if (owed === undefined) break;
      if (owed.status === 'again') hand(owed);
    }
    while (taken.length < max && this.#startedCount < this.#options.maxInFlight) {
      const owed = this.#fresh.shift();
      if (owed === undefined) break;
      this.#startedCount += 1;
      hand(owed);
    }
    return taken;
  }

  /** Whether a delivery of that turn is still its member's. */
  isHeld(owed: Owed, turn: number): boolean {
    return owed.status === 'held' && owed.turn === turn && this.#owed.get(owed.seq) === owed;
  }

  settling(owed: Owed): void {
    owed.status = 'settling';
  }

  /** What was being settled could not be kept: it is held as before, or dying when it has no member. */
  unsettle(owed: Owed): 'held' | 'dying' {
    return (owed.status = owed.member === undefined ? 'dying' : 'held');
  }

  /** What was taken could not be handed out: that was no attempt. */
  giveBack(owed: Owed): void {
    owed.attempt -= 1;
    this.#due(owed);
  }

  /** A held delivery ends unsettled: due again, later, or dying after the last attempt. */
  release(owed: Owed, { delayed, reason, isLast }: { readonly delayed: boolean; readonly reason: string; readonly isLast?: boolean }): Status {
    owed.reason = reason;
    if (isLast === true || owed.attempt >= this.#options.maxDeliveries) this.#become(owed, 'dying');
    else if (delayed) this.#become(owed, 'delayed');
    else this.#due(owed);
    return owed.status;
  }

  /** A delay is over, unless something else has happened since. */
  resume(owed: Owed, turn: number): boolean {
    if (owed.status !== 'delayed' || owed.turn !== turn) return false;
    this.#due(owed);
    return true;
  }

  /** What a member holds. */
  heldBy(member: object): readonly Owed[] {
    return [...this.#owed.values()].filter((owed) => owed.status === 'held' && owed.member === member);
  }

  /** Those that are up to be given up. */
  dying(): readonly Owed[] {
    return [...this.#owed.values()].filter(({ status }) => status === 'dying');
  }

  /** What the floor passes once `settling` are kept: the new floor, and the sequences of which nothing is stored any more then. */
  planFloor(): { readonly floor: number; readonly passed: readonly number[] } {
    const passed: number[] = [];
    for (const { seq, status } of this.#owed.values()) {
      if (status !== 'settling' && status !== 'settled') return { floor: seq - 1, passed };
      passed.push(seq);
    }
    return { floor: this.#readTo, passed };
  }

  /** What was settling is kept. */
  settled(kept: readonly Owed[]): void {
    for (const owed of kept) {
      this.#become(owed, 'settled');
      if (owed.attempt > 0) this.#startedCount -= 1;
    }
    this.#advance();
  }

  #advance(): void {
    for (const [seq, { status }] of this.#owed) {
      if (status !== 'settled') {
        this.#floor = seq - 1;
        return;
      }
      this.#owed.delete(seq);
    }
    this.#floor = this.#readTo;
  }

  #due(owed: Owed): void {
    this.#become(owed, 'again');
    this.#again.push(owed);
  }

  #become(owed: Owed, status: Status): void {
    owed.status = status;
    owed.turn += 1;
    if (status !== 'fresh') owed.event = undefined;
    owed.member = undefined;
  }
}
