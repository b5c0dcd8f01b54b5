import { LogError, type Delivery, type LogConsumer } from '@carillon/log';

import type { DeliverySource } from './consumer-delivery.ts';

/**
 * How a member of a consumer takes what it may have: from the rooms of the consumer and from what comes again to it, into one
 * window. With two places free or more both are asked at once, the second for one delivery. The last place goes to them in turn:
 * whichever was not served last is asked alone for a moment, when it lately had something; else both are, and the one that
 * comes second while the other takes the place is told so (`extra`), which is rare.
 */
export interface PullOptions {
  readonly own: LogConsumer;
  readonly returned: LogConsumer;
  /** How many more fit into the window. */
  readonly places: () => number;
  /** How many of them may be asked for now. */
  readonly free: () => number;
  readonly give: (source: DeliverySource, deliveries: readonly Delivery[]) => void;
  /** Came when there was no place any more. */
  readonly extra: (source: DeliverySource, delivery: Delivery) => void;
  /** Its turn to read. */
  readonly turn: () => Promise<void>;
  /** The log did not give anything; what cannot be tried again ends it. */
  readonly failed: (error: unknown) => void;
}

interface Source {
  readonly name: DeliverySource;
  readonly consumer: LogConsumer;
  pull: AbortController | undefined;
  /** It had something when it was asked last. */
  isHot: boolean;
}

/** How long the last place is kept for the one whose turn it is. */
const ALONE_MS = 20;
/** How soon a log that failed is asked again. */
const RETRY_MS = 500;
/** Deliveries that are asked for at once: few at first, since an event may be as large as a frame, then as they turn out. */
const BATCH_FIRST = 4;
const BATCH_MAX = 256;
const BATCH_MAX_BYTES = 1_048_576;

export class ConsumerPulls {
  readonly #options: PullOptions;
  readonly #own: Source;
  readonly #returned: Source;
  #lastServed: Source;
  #alone: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #batch = BATCH_FIRST;
  #isEnded = false;

  constructor(options: PullOptions) {
    this.#options = options;
    this.#own = { name: 'own', consumer: options.own, pull: undefined, isHot: true };
    this.#returned = { name: 'returned', consumer: options.returned, pull: undefined, isHot: true };
    this.#lastServed = this.#own;
  }

  /** Asks for more when the peer may have more. */
  poke(): void {
    if (this.#isEnded || this.#retry !== undefined) return;
    if (this.#options.places() < 1) return this.#stop();
    const free = this.#options.free();
    if (free > 1) {
      this.#pull(this.#returned, 1);
      this.#pull(this.#own, Math.min(free - 1, this.#batch));
    } else if (free === 1) this.#pullLast();
  }

  end(): void {
    this.#isEnded = true;
    clearTimeout(this.#retry);
    this.#stop();
  }

  #pullLast(): void {
    const next = this.#lastServed === this.#own ? this.#returned : this.#own;
    const other = next === this.#own ? this.#returned : this.#own;
    this.#pull(next, 1);
    if (!next.isHot) this.#pull(other, 1);
    else this.#alone ??= setTimeout(() => {
      this.#alone = undefined;
      next.isHot = false;
      this.poke();
    }, ALONE_MS);
  }

  #stop(): void {
    clearTimeout(this.#alone);
    this.#alone = undefined;
    this.#own.pull?.abort();
    this.#returned.pull?.abort();
  }

  #pull(source: Source, max: number): void {
    if (source.pull !== undefined) return;
    const pull = (source.pull = new AbortController());
    void this.#ask(source, max, pull.signal).catch((error: unknown) => this.#fail(source, error));
  }

  async #ask(source: Source, max: number, signal: AbortSignal): Promise<void> {
    await this.#options.turn();
    const deliveries = signal.aborted ? [] : await source.consumer.pull(max, signal);
    source.pull = undefined;
    if (this.#isEnded) return;
    if (deliveries.length > 0) this.#take(source, deliveries, max);
    this.poke();
  }

  #take(source: Source, deliveries: readonly Delivery[], max: number): void {
    const { places, give, extra } = this.#options;
    clearTimeout(this.#alone);
    this.#alone = undefined;
    source.isHot = true;
    this.#lastServed = source;
    if (source === this.#own) this.#fitBatch(deliveries, max);
    const free = Math.max(0, places());
    if (free > 0) give(source.name, deliveries.slice(0, free));
    for (const delivery of deliveries.slice(free)) extra(source.name, delivery);
  }

  #fitBatch(deliveries: readonly Delivery[], max: number): void {
    const bytes = deliveries.reduce((sum, { event }) => sum + event.body.length, 0);
    if (bytes > BATCH_MAX_BYTES) this.#batch = Math.max(1, Math.floor(this.#batch / 2));
    else if (deliveries.length === max && max === this.#batch) this.#batch = Math.min(BATCH_MAX, this.#batch * 2);
  }

  #fail(source: Source, error: unknown): void {
    source.pull = undefined;
    if (this.#isEnded) return;
    if (!(error instanceof LogError) || error.code === 'CONSUMER_UNKNOWN' || error.code === 'LOG_CLOSED') return this.#options.failed(error);
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.poke();
    }, RETRY_MS);
  }
}
