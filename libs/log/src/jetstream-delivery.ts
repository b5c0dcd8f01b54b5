import { LogError, type ConsumerSpec, type DeadDelivery, type Delivery, type StoredEvent } from './event-log.ts';
import { infoOf } from './jetstream-consumers.ts';
import { asLogError, type OpenStream } from './jetstream-stream.ts';

/*
 *            ack, nack ──────────────────────────────▶ settled
 *   held ──▶ discard, last nack, last timeout ──▶ burying: dead(…), again until it is kept ──▶ settled
 *            timeout ──▶ lost (JetStream gives it to somebody)      close ──▶ given back
 *
 * Settling is confirmed by the server. JetStream takes an ack also for an attempt that has timed out, so the time is watched here.
 */
const NANOS_PER_MS = 1_000_000;
const BURY_AGAIN_MS = 1_000;
const encoder = new TextEncoder();
const ACK = encoder.encode('+ACK');
const TERM = encoder.encode('+TERM');
const IN_PROGRESS = encoder.encode('+WPI');

export interface DeliveryOptions {
  readonly event: StoredEvent;
  readonly attempt: number;
  /** Where it is settled. */
  readonly reply: string;
  /** The stream as it is now, on whatever connection; undefined: away. */
  readonly stream: () => OpenStream | undefined;
  readonly spec: ConsumerSpec;
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
    this.#timeout = setTimeout(() => this.#expire(), options.spec.ackTimeoutMs);
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
    if (isOwed) await this.#settle(encoder.encode('-NAK')).catch(() => undefined);
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
      throw error;
    }
    clearTimeout(this.#timeout);
    this.#options.settled(this);
  }

  #expire(): void {
    this.#isOver = true;
    // Being settled just now: the server decides.
    if (!this.#isHeld) return;
    this.#isHeld = false;
    const { spec, settled } = this.#options;
    if (this.attempt < spec.maxDeliveries) settled(this);
    else void this.bury(`not settled in ${spec.maxDeliveries} attempts`).catch(() => undefined);
  }

  async #settle(how: Uint8Array): Promise<void> {
    const { reply, spec } = this.#options;
    const stream = this.#options.stream();
    if (stream === undefined) throw new LogError('LOG_UNAVAILABLE', 'The event log is away.');
    try {
      await stream.link.request(reply, how);
    } catch (error) {
      const info = await infoOf(stream, spec).catch(() => 'unavailable' as const);
      if (info === undefined) throw new LogError('CONSUMER_UNKNOWN', `There is no consumer ${spec.name}.`, { cause: error });
      throw asLogError(error);
    }
  }
}
