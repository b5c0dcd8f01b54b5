import { LogError, type ConsumerSpec, type DeadDelivery, type Delivery, type StoredEvent } from './event-log.ts';
import { unknownConsumer, type ConsumerAbsence } from './jetstream-absence.ts';
import { asLogError, type OpenStream } from './jetstream-stream.ts';

/*
 *            ack, nack ──────────────────────────────▶ settled
 *   held ──▶ discard, last nack, last timeout ──▶ burying: dead(…), again until it is kept ──▶ settled
 *            timeout ──▶ given back, at once      close ──▶ given back      ack confirmed after the time ──▶ unknown
 *
 * Settling is confirmed by the server: of an ack, once a quorum has it. JetStream takes an ack also for an attempt that has timed out, so
 * the time is watched here: of what was confirmed in time nobody else was given another attempt.
 */
const NANOS_PER_MS = 1_000_000;
const BURY_AGAIN_MS = 1_000;
// Less than the servers wait for longer than members do.
const LATE_MAX_MS = 250;
const encoder = new TextEncoder();
const ACK = encoder.encode('+ACK');
const TERM = encoder.encode('+TERM');
const NAK = encoder.encode('-NAK');
const IN_PROGRESS = encoder.encode('+WPI');

export interface DeliveryOptions {
  readonly event: StoredEvent;
  readonly attempt: number;
  /** Where it is settled. */
  readonly reply: string;
  /** The stream as it is now, on whatever connection; undefined: away. */
  readonly stream: () => OpenStream | undefined;
  readonly spec: ConsumerSpec;
  readonly absence: ConsumerAbsence;
  /** When its time is over here, by `performance.now()`: before the server gives it to others. */
  readonly dueMs: number;
  readonly dead: (dead: DeadDelivery) => Promise<void>;
  readonly warn: (text: string, fields: Readonly<Record<string, unknown>>) => void;
  readonly settled: (delivery: JetStreamDelivery) => void;
}

export class JetStreamDelivery implements Delivery {
  readonly event: StoredEvent;
  readonly attempt: number;
  readonly #options: DeliveryOptions;
  readonly #timeout: NodeJS.Timeout;
  #isHeld = true;
  #isOver = false;
  /** From when it is given up to when that is kept. */
  #isBurying = false;
  #hasLeft = false;
  #burying: NodeJS.Timeout | undefined;

  constructor(options: DeliveryOptions) {
    this.#options = options;
    this.event = options.event;
    this.attempt = options.attempt;
    this.#timeout = setTimeout(() => this.#expire(), Math.max(0, options.dueMs - performance.now()));
  }

  async ack(): Promise<void> {
    await this.#finish(ACK);
  }

  async nack({ delayMs, reason }: { readonly delayMs: number; readonly reason: string }): Promise<void> {
    if (this.attempt >= this.#options.spec.maxDeliveries) return this.discard(reason);
    await this.#finish(encoder.encode(delayMs <= 0 ? '-NAK' : `-NAK {"delay": ${Math.round(delayMs) * NANOS_PER_MS}}`));
  }

  async discard(reason: string): Promise<void> {
    this.#requireHeld();
    await this.bury(reason);
  }

  /** Tells that it is dead, then settles it; what fails is tried again for as long as the member is there. */
  async bury(reason: string): Promise<void> {
    const { attempt, event } = this;
    const { dead, spec, warn } = this.#options;
    this.#isHeld = false;
    this.#isBurying = true;
    clearTimeout(this.#timeout);
    try {
      await dead({ event, attempts: Math.min(attempt, spec.maxDeliveries), reason });
    } catch (error) {
      warn('A delivery that is given up could not be told dead, and is tried again', { consumer: spec.name, seq: event.seq, error });
      if (this.#hasLeft) throw new LogError('LOG_UNAVAILABLE', 'What is given up could not be kept, and its member has left.', { cause: error });
      // Nobody else is to have it meanwhile.
      this.#options.stream()?.link.publish(this.#options.reply, IN_PROGRESS);
      this.#burying = setTimeout(() => void this.bury(reason).catch(() => undefined), Math.min(BURY_AGAIN_MS, spec.ackTimeoutMs / 2));
      throw new LogError('LOG_UNAVAILABLE', 'What is given up could not be kept yet; it is tried again.', { cause: error });
    }
    this.#isBurying = false;
    // Not confirmed: it comes once more, and is told dead once more.
    this.#options.settled(this);
    await this.#settle(TERM);
  }

  /** The member leaves: due again at once. */
  async giveBack(): Promise<void> {
    const isOwed = this.#isHeld || this.#isBurying;
    this.#isHeld = false;
    this.#isOver = true;
    this.#hasLeft = true;
    clearTimeout(this.#timeout);
    clearTimeout(this.#burying);
    this.#options.settled(this);
    if (isOwed) await this.#settle(NAK).catch(() => undefined);
  }

  #requireHeld(): void {
    if (!this.#isHeld) throw new LogError('DELIVERY_UNKNOWN', 'The delivery is settled already, timed out, or its member has left.');
  }

  /** Settles it; what was not confirmed may be tried again until its time is over. */
  async #finish(how: Uint8Array): Promise<void> {
    this.#requireHeld();
    this.#isHeld = false;
    try {
      await this.#settle(how);
    } catch (error) {
      this.#isHeld = !this.#isOver;
      if (this.#isOver) this.#options.settled(this);
      throw error;
    }
    clearTimeout(this.#timeout);
    this.#options.settled(this);
    // A process that stood still reads the answer before its timer, or after it.
    if (this.#isOver || performance.now() >= this.#options.dueMs) throw new LogError('DELIVERY_UNKNOWN', 'It was settled when its time was over: others may have been given it before.');
  }

  #expire(): void {
    this.#isOver = true;
    // Being settled just now: the server decides, and nobody is told that it is settled.
    if (!this.#isHeld) return;
    this.#isHeld = false;
    const { spec, settled, stream, reply } = this.#options;
    if (this.attempt < spec.maxDeliveries) {
      settled(this);
      // Not after a time that this process has slept through: it would take it from who has it now.
      if (performance.now() < this.#options.dueMs + LATE_MAX_MS) stream()?.link.publish(reply, NAK);
    } else void this.bury(`not settled in ${spec.maxDeliveries} attempts`).catch(() => undefined);
  }

  async #settle(how: Uint8Array): Promise<void> {
    const { reply, spec, absence } = this.#options;
    const stream = this.#options.stream();
    if (stream === undefined) throw new LogError('LOG_UNAVAILABLE', 'The event log is away.');
    try {
      await stream.link.request(reply, how);
    } catch (error) {
      const info = await absence.look(stream).catch(() => 'unavailable' as const);
      if (info === undefined) throw unknownConsumer(spec, error);
      throw asLogError(error);
    }
  }
}
