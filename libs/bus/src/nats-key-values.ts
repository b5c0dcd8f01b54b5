import { JetStreamApiError, type ApiError } from '@nats-io/jetstream';
import type { Msg } from '@nats-io/transport-node';

import { BusError, type BusLog } from './bus.ts';
import { PutBacklog, requireFilter, requireKey, requireValue, type KeyValues, type KvEntry, type KvWatch, type KvWatchOptions } from './key-values.ts';
import { NatsBucket, refusalOf, type OpenBucket } from './nats-bucket.ts';
import { NatsKvWatch } from './nats-kv-watch.ts';
import type { NatsLink } from './nats-link.ts';
import { within } from './within.ts';

/*
 * Puts and gets wait in one queue until the bucket is there and are written in its order from then on, each answered by itself. What
 * was written is never written again: behind a put there may already be its successor.
 */

const ANSWER_TIMEOUT_MS = 5_000;

export interface NatsKeyValuesOptions {
  readonly bucket: string;
  readonly replicas: number;
  readonly outboundMaxBytes: number;
  readonly payloadMaxBytes: () => number;
  readonly log: BusLog;
}

interface Request {
  /** Writes it, before it returns, and gives the answer. */
  readonly send: (open: OpenBucket) => Promise<void>;
  readonly reject: (error: unknown) => void;
}

/** A bucket on NATS; outlives links as the bus does. */
export class NatsKeyValues implements KeyValues {
  readonly #options: NatsKeyValuesOptions;
  readonly #bucket: NatsBucket;
  readonly #backlog: PutBacklog;
  readonly #watches = new Set<NatsKvWatch>();
  readonly #unanswered = new Set<Request>();
  /** Those of them that wait for the bucket. */
  readonly #waiting = new Set<Request>();
  #awaitsBucket = false;
  #isClosed = false;

  constructor(options: NatsKeyValuesOptions) {
    const { bucket, replicas, outboundMaxBytes, log } = options;
    this.#options = options;
    this.#bucket = new NatsBucket({ name: bucket, replicas, log });
    this.#backlog = new PutBacklog(outboundMaxBytes);
  }

  /** The stream in which it is kept. */
  get stream(): string {
    return this.#bucket.stream;
  }

  attach(link: NatsLink): void {
    this.#bucket.attach(link);
  }

  async put(key: string, value: Uint8Array): Promise<number> {
    requireKey(key);
    requireValue(value, this.#options.payloadMaxBytes());
    const subject = this.#bucket.subjectOf(key);
    return this.#backlog.hold(value.length, () =>
      this.#ask(async ({ link }) => {
        requireValue(value, link.payloadMaxBytes);
        return revisionOf(await link.connection.request(subject, value, { timeout: ANSWER_TIMEOUT_MS }));
      }),
    );
  }

  async get(key: string): Promise<KvEntry | undefined> {
    requireKey(key);
    return this.#ask(async ({ kv }) => {
      const entry = await kv.get(key);
      return entry?.operation === 'PUT' ? { key, value: new Uint8Array(entry.value), revision: entry.revision } : undefined;
    });
  }

  watch({ filter = '>', entry, synced }: KvWatchOptions): KvWatch {
    requireFilter(filter);
    if (this.#isClosed) throw closed();
    const watch: NatsKvWatch = new NatsKvWatch(this.#bucket, { filter, entry, synced, log: this.#options.log, stopped: () => this.#watches.delete(watch) });
    this.#watches.add(watch);
    return watch;
  }

  /** Ends everything; what tells the server so has been written when this returns. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const stopped = [...this.#watches].map((watch) => watch.close());
    this.#bucket.close();
    for (const request of [...this.#unanswered]) request.reject(closed());
    await Promise.all(stopped);
  }

  #ask<Value>(send: (open: OpenBucket) => Promise<Value>): Promise<Value> {
    if (this.#isClosed) return Promise.reject(closed());
    let request!: Request;
    const answer = new Promise<Value>((resolve, reject) => {
      request = { send: (open) => send(open).then(resolve), reject };
    });
    this.#unanswered.add(request);
    this.#waiting.add(request);
    this.#pump();
    const late = () => new BusError('BUS_AWAY', `The store gave no answer within ${ANSWER_TIMEOUT_MS} ms.`);
    return within(answer, { timeoutMs: ANSWER_TIMEOUT_MS, late }).finally(() => {
      this.#unanswered.delete(request);
      this.#waiting.delete(request);
    });
  }

  /** Writes what waits, or asks for the bucket first. */
  #pump(): void {
    const { open } = this.#bucket;
    if (open !== undefined) {
      for (const request of this.#waiting) {
        this.#waiting.delete(request);
        void this.#write(request, open);
      }
      return;
    }
    if (this.#awaitsBucket || this.#waiting.size === 0) return;
    this.#awaitsBucket = true;
    const settled = (error?: unknown) => {
      this.#awaitsBucket = false;
      if (error === undefined) return this.#pump();
      for (const request of this.#waiting) request.reject(error);
      this.#waiting.clear();
    };
    this.#bucket.ready().then(() => settled(), settled);
  }

  async #write(request: Request, open: OpenBucket): Promise<void> {
    try {
      await open.link.whileUp(request.send(open));
    } catch (error) {
      const failure = error instanceof BusError ? error : refusalOf(error, true);
      if (failure === undefined) this.#bucket.forget(open);
      request.reject(failure ?? new BusError('BUS_AWAY', `The store does not answer: ${error instanceof Error ? error.message : String(error)}.`, { cause: error }));
    }
  }
}

const closed = (): BusError => new BusError('BUS_CLOSED', 'The bus is closed.');

function revisionOf(answer: Msg): number {
  const { seq, error } = answer.json<{ readonly seq?: number; readonly error?: ApiError }>();
  if (error !== undefined) throw new JetStreamApiError(error);
  if (seq === undefined) throw new Error('an answer without a revision');
  return seq;
}
