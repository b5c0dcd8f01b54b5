import { setTimeout as sleep } from 'node:timers/promises';

import { BusError, type BusLog } from './bus.ts';
import type { KvWatch, KvWatchOptions } from './key-values.ts';
import type { NatsBucket } from './nats-bucket.ts';
import { NatsKvConsumer } from './nats-kv-consumer.ts';

// Full jitter, also at the cap: all hubs lose a store together.
const BACKOFF_FIRST_MS = 200;
const BACKOFF_CAP_MS = 3_000;

export interface NatsKvWatchOptions extends Required<KvWatchOptions> {
  readonly log: BusLog;
  readonly stopped: () => void;
}

/** Consumers one after the other: when one is lost the next begins anew, for as long as the watch is wanted. */
export class NatsKvWatch implements KvWatch {
  readonly #bucket: NatsBucket;
  readonly #options: NatsKvWatchOptions;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #consumer: NatsKvConsumer | undefined;
  #attempt = 0;
  #lastReason: string | undefined;
  #stopped: Promise<void> | undefined;

  constructor(bucket: NatsBucket, options: NatsKvWatchOptions) {
    this.#bucket = bucket;
    this.#options = options;
    this.#running = this.#run();
  }

  stop(): Promise<void> {
    return (this.#stopped ??= this.#stop());
  }

  /** Stops, does not wait for the server, and resolves when nothing runs any more; after that of the bucket. */
  async close(): Promise<void> {
    void this.stop();
    await this.#running;
  }

  async #stop(): Promise<void> {
    this.#stopping.abort();
    this.#options.stopped();
    await this.#consumer?.end();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await this.#serve();
      } catch (error) {
        if (signal.aborted) return;
        this.#report(error);
      }
      const ceilingMs = Math.min(BACKOFF_CAP_MS, BACKOFF_FIRST_MS * 2 ** Math.min(this.#attempt, 10));
      this.#attempt += 1;
      await sleep(Math.random() * ceilingMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** One consumer until its loss, of which it throws the reason. */
  async #serve(): Promise<void> {
    const open = await this.#bucket.ready();
    if (this.#stopping.signal.aborted) return;
    const { filter, entry, synced, log } = this.#options;
    const consumer = new NatsKvConsumer(open.link, {
      bucket: this.#bucket,
      filter,
      entry,
      synced: () => {
        this.#attempt = 0;
        this.#lastReason = undefined;
        synced();
      },
      log,
    });
    this.#consumer = consumer;
    try {
      await open.link.whileUp(consumer.lost);
    } finally {
      void consumer.end();
      if (!this.#stopping.signal.aborted) this.#bucket.forget(open);
    }
  }

  /** Each reason once, until the watch is in force again; that the bus is away, the bus says itself. */
  #report(error: unknown): void {
    const { filter, log } = this.#options;
    const reason = error instanceof Error ? error.message : String(error);
    const isKnown = reason === this.#lastReason || (error instanceof BusError && error.code === 'BUS_AWAY');
    log({ level: isKnown ? 'debug' : 'warn', text: 'A watch of key-values is not in force', fields: { bucket: this.#bucket.name, filter, reason } });
    this.#lastReason = reason;
  }
}
