import { AppendOrder, Standing, type Ordered } from './append-order.ts';

/*
 * A store behind a network, and publishers before it, in steps that a seed chooses:
 *
 *   publishers ──▶ AppendOrder ──▶ path ──▶ pipeline ──▶ stored        answers ──▶ AppendOrder
 *
 * What was sent is read in order; what is read waits in the leader's pipeline until a quorum has it, and is answered then. The leader may
 * be killed (what is on the path and in the pipeline is lost, some answers are, and nobody is there for an election, which may be said or not), hand over, stand
 * still, or be lost together with the connection, so that what was on the path is read later, in order, between what comes by another one.
 */
export interface SimulatedEvent {
  readonly publisher: number;
  readonly counter: number;
}

interface Sent extends Ordered {
  readonly event: SimulatedEvent;
  isAnswered: boolean;
}

type Answer = 'stored' | 'known' | 'busy' | 'nobody' | 'lost';

export interface SimulationOptions {
  /** 0 to 1. */
  readonly random: () => number;
  readonly publishers: number;
  readonly events: number;
  readonly timeoutMs: number;
}

/** Turns that the store has no leader for: an election of nats-servers. */
const ELECTION_TURNS = 60;
/** Turns for which nobody leads when one leader hands over to another: nothing is lost unsaid. */
const HANDOVER_TURNS = 8;
const STEPS_MAX = 1_000_000;
// More than a publisher writes during an election: one that is held up by its own bound cannot lose its order.
const IN_FLIGHT_MAX = 400;

export class AppendSimulation {
  /** In the order of the store. */
  readonly stored: SimulatedEvent[] = [];
  /** Of those that were told so. */
  readonly acked = new Set<string>();
  refusals = 0;
  turns = 0;
  faults = 0;
  readonly #options: SimulationOptions;
  readonly #order: AppendOrder<Sent>;
  readonly #publishers: Publisher[];
  readonly #known = new Set<string>();
  readonly #ends: (() => void)[] = [];
  #path: Sent[] = [];
  #pipeline: Sent[] = [];
  #answers: { readonly item: Sent; readonly answer: Answer }[] = [];
  /** What an earlier connection left behind: read some time, in order. */
  #stale: Sent[] = [];
  #absentTurns = 0;
  /** Nobody says so, either. */
  #isSilent = false;
  #frozenTurns = 0;
  #awayTurns = 0;
  /** Copies that nobody will answer: given up by their time. */
  #unanswerable: { readonly item: Sent; readonly dueTurn: number }[] = [];

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#order = new AppendOrder<Sent>({ timeoutMs: options.timeoutMs, afterTurn: (end) => this.#ends.push(end), send: (item) => this.#path.push(item), refuse: (item) => this.#settle(item, 'refused') });
    this.#publishers = Array.from({ length: options.publishers }, (_, index) => new Publisher(index, options.events));
    this.#order.attach();
  }

  /** Everything is acked; false: it does not get there. */
  run(): boolean {
    for (let step = 0; step < STEPS_MAX; step += 1) {
      if (this.#publishers.every(({ isDone }) => isDone)) return true;
      this.#step();
    }
    return false;
  }

  #step(): void {
    const { random } = this.#options;
    // A turn of the process is some steps.
    if (random() < 0.5) for (const end of this.#ends.splice(0)) end();
    const dice = random();
    if (dice < 0.3) this.#publish();
    else if (dice < 0.5) this.#read(1 + Math.floor(random() * 8));
    else if (dice < 0.65) this.#commit(1 + Math.floor(random() * 8));
    else if (dice < 0.85) this.#answer(1 + Math.floor(random() * 8));
    else if (dice < 0.9) this.#readStale(1 + Math.floor(random() * 4));
    else if (dice < 0.994) this.#pass();
    else this.#fault();
  }

  #publish(): void {
    const publisher = this.#publishers[Math.floor(this.#options.random() * this.#publishers.length)];
    // While the log is away appends are refused by its owner and do not come here.
    const event = this.#awayTurns > 0 ? undefined : publisher?.next();
    if (event !== undefined) this.#order.add({ standing: new Standing(), event, isAnswered: false });
  }

  #read(count: number): void {
    if (this.#frozenTurns > 0 || this.#awayTurns > 0) return;
    for (const item of this.#path.splice(0, count)) this.#take(item, true);
  }

  #readStale(count: number): void {
    if (this.#frozenTurns > 0) return;
    for (const item of this.#stale.splice(0, count)) this.#take(item, false);
  }

  #take(item: Sent, isHeard: boolean): void {
    const name = nameOf(item.event);
    if (this.#absentTurns > 0 && this.#isSilent) {
      if (isHeard) this.#giveUp(item);
      return;
    }
    const isBusy = this.#pipeline.some(({ event }) => nameOf(event) === name);
    const answer: Answer | undefined = this.#absentTurns > 0 ? 'nobody' : this.#known.has(name) ? 'known' : isBusy ? 'busy' : undefined;
    if (answer === undefined) this.#pipeline.push(isHeard ? item : { ...item, isAnswered: true });
    else if (isHeard) this.#answers.push({ item, answer });
  }

  #commit(count: number): void {
    if (this.#frozenTurns > 0) return;
    for (const item of this.#pipeline.splice(0, count)) {
      this.stored.push(item.event);
      this.#known.add(nameOf(item.event));
      if (!item.isAnswered) this.#answers.push({ item, answer: 'stored' });
    }
  }

  #answer(count: number): void {
    for (const { item, answer } of this.#answers.splice(0, count)) this.#hear(item, answer);
  }

  #hear(item: Sent, answer: Answer): void {
    if (!this.#order.answered(item)) {
      if (answer === 'nobody') this.#order.hold();
      return;
    }
    if (answer === 'stored' || answer === 'known') {
      this.#order.leave(item, { isStored: answer === 'stored' });
      this.#settle(item, 'acked');
    } else {
      this.#order.failed(item);
    }
  }

  #pass(): void {
    this.turns += 1;
    this.#elect();
    this.#frozenTurns = Math.max(0, this.#frozenTurns - 1);
    if (this.#awayTurns > 0) {
      this.#awayTurns -= 1;
      if (this.#awayTurns === 0) this.#order.attach();
    }
    for (const { item } of this.#unanswerable.filter(({ dueTurn }) => dueTurn <= this.turns)) this.#hear(item, 'lost');
    this.#unanswerable = this.#unanswerable.filter(({ dueTurn }) => dueTurn > this.turns);
    this.#order.turn();
  }

  /** Takes longer than a round trip: nothing is on the path that was sent by somebody who could not know yet that nobody leads. */
  #elect(): void {
    if (this.#absentTurns === 0) return;
    this.#read(this.#path.length);
    if (!this.#isNobodySaid) this.#absentTurns -= 1;
  }

  get #isNobodySaid(): boolean {
    return this.#answers.some(({ answer }) => answer === 'nobody');
  }

  #fault(): void {
    const { random } = this.#options;
    // One after the other: a second leader is not lost before the first one's successor is there, and everybody knows.
    if (this.#absentTurns > 0 || this.#frozenTurns > 0 || this.#awayTurns > 0 || this.#stale.length > 0 || this.#isNobodySaid) return;
    this.faults += 1;
    const dice = random();
    if (dice < 0.4) this.#kill();
    else if (dice < 0.55) this.#handOver();
    else if (dice < 0.75) this.#frozenTurns = 1 + Math.floor(random() * ELECTION_TURNS);
    else this.#loseConnection(random() < 0.5);
  }

  #kill(): void {
    const { random } = this.#options;
    this.#commit(Math.floor(random() * (this.#pipeline.length + 1)));
    const heard = Math.floor(random() * (this.#answers.length + 1));
    for (const { item } of this.#answers.splice(heard)) this.#giveUp(item);
    for (const item of [...this.#pipeline, ...this.#path]) if (!item.isAnswered) this.#giveUp(item);
    this.#pipeline = [];
    this.#path = [];
    this.#isSilent = random() < 0.5;
    this.#absentTurns = ELECTION_TURNS + Math.floor(random() * ELECTION_TURNS);
  }

  #handOver(): void {
    this.#commit(this.#pipeline.length);
    this.#isSilent = false;
    this.#absentTurns = 1 + Math.floor(this.#options.random() * HANDOVER_TURNS);
  }

  #giveUp(item: Sent): void {
    this.#unanswerable.push({ item, dueTurn: this.turns + Math.ceil(this.#options.timeoutMs / 50) });
  }

  #loseConnection(isReadLater: boolean): void {
    const { random } = this.#options;
    const unanswered = [...this.#answers.map(({ item }) => item), ...this.#pipeline, ...this.#path, ...this.#unanswerable.map(({ item }) => item)];
    if (isReadLater) this.#stale = this.#path;
    this.#pipeline = this.#pipeline.map((item) => ({ ...item, isAnswered: true }));
    this.#path = [];
    this.#answers = [];
    this.#unanswerable = [];
    for (const item of unanswered) if (!item.isAnswered) this.#hear(item, 'lost');
    this.#order.detach();
    this.#awayTurns = 1 + Math.floor(random() * 40);
  }

  #settle({ event }: Sent, outcome: 'acked' | 'refused'): void {
    if (outcome === 'acked') this.acked.add(nameOf(event));
    else this.refusals += 1;
    this.#publishers[event.publisher]?.settled(event, outcome);
  }
}

/** Sends in order; what is refused for now it sends again when all that it sent is answered, before anything new, as messengers do. */
class Publisher {
  readonly #index: number;
  readonly #events: number;
  #counter = 0;
  #inFlight = 0;
  #acked = 0;
  #refused: SimulatedEvent[] = [];
  #again: SimulatedEvent[] = [];

  constructor(index: number, events: number) {
    this.#index = index;
    this.#events = events;
  }

  get isDone(): boolean {
    return this.#acked === this.#events;
  }

  next(): SimulatedEvent | undefined {
    if (this.#refused.length > 0 && this.#inFlight === 0) {
      this.#again = [...this.#refused.sort((one, other) => one.counter - other.counter), ...this.#again];
      this.#refused = [];
    }
    if (this.#refused.length > 0 || this.#inFlight >= IN_FLIGHT_MAX) return undefined;
    const event = this.#again.shift() ?? (this.#counter < this.#events ? { publisher: this.#index, counter: (this.#counter += 1) } : undefined);
    if (event !== undefined) this.#inFlight += 1;
    return event;
  }

  settled(event: SimulatedEvent, outcome: 'acked' | 'refused'): void {
    this.#inFlight -= 1;
    if (outcome === 'acked') this.#acked += 1;
    else this.#refused.push(event);
  }
}

export const nameOf = ({ publisher, counter }: SimulatedEvent): string => `${publisher}-${counter}`;
