import { compose, type Connection } from '@carillon/session';

import type { OwedDelivery } from './consumer-delivery.ts';
import type { DurableLane } from '../durable/durable-lane.ts';

/** One write; more waits until the socket has taken it. */
const WRITE_MAX_BYTES = 262_144;

export interface DeliveryWriterOptions {
  readonly request: string;
  readonly connection: Connection;
  readonly durable: DurableLane;
  /** Asked when it is written, which may be later than it was given. */
  readonly isDue: (delivery: OwedDelivery) => boolean;
  /** It takes more. */
  readonly written: () => void;
}

/** Writes deliveries to a peer, no more at a time than its socket takes: they are counted by its window, not by its lane. */
export class DeliveryWriter {
  readonly #options: DeliveryWriterOptions;
  #waiting: OwedDelivery[] = [];
  #isWaiting = false;

  constructor(options: DeliveryWriterOptions) {
    this.#options = options;
  }

  /** Whether what is written now leaves at once. */
  get isClear(): boolean {
    return !this.#isWaiting && this.#options.connection.lane.isClear;
  }

  write(deliveries: readonly OwedDelivery[]): void {
    this.#waiting.push(...deliveries);
    if (!this.#isWaiting) this.#drain();
  }

  /** Calls `written` when it takes more. */
  whenClear(): void {
    if (!this.#isWaiting) this.#drain();
  }

  end(): void {
    this.#waiting = [];
  }

  #drain(): void {
    const { connection: { lane }, written } = this.#options;
    this.#isWaiting = false;
    if (lane.closed) return;
    while (lane.isClear && this.#waiting.length > 0) this.#writeSome();
    if (lane.isClear) return written();
    this.#isWaiting = true;
    lane.whenClear(() => this.#drain());
  }

  #writeSome(): void {
    const { connection: { lane }, durable, isDue, request } = this.#options;
    let bytes = 0;
    let taken = 0;
    while (taken < this.#waiting.length && (taken === 0 || bytes < WRITE_MAX_BYTES)) bytes += this.#waiting[taken++]?.event.body.length ?? 0;
    const due = this.#waiting.splice(0, taken).filter(isDue);
    const events = due.map(({ event, attempt }) => {
      const outbound = durable.outboundOf(event, { re: request });
      outbound.fields += `\ttry=${attempt}`;
      return outbound;
    });
    if (events.length > 0) lane.write(compose(events, lane.codec), events.length);
  }
}
