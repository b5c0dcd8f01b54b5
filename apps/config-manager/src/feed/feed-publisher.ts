import { setTimeout as sleep } from 'node:timers/promises';

import type { Bus, BusLog, KeyValues } from '@carillon/bus';
import type { Store } from '@carillon/store';

import { Backlog } from './backlog.ts';
import { BucketView } from './bucket-view.ts';
import { ForeignBucket, reconcile } from './feed-reconcile.ts';
import { putRecords, type KeyedRecord } from './put-records.ts';

/*
 * One loop, one step after the other, for as long as this process leads:
 *
 *   look ──▶ is the bucket known? ──no──▶ open a view of it, wait
 *               │ yes, not compared ─────▶ reconcile, look again
 *               │ yes, compared
 *               ▼
 *            put what is pending, mark it, look again; nothing pending: wait
 *
 * A batch holds each key once and is over before the next one is read, so that no key's older state follows its newer one.
 */

// A change wakes the loop; this is for a wake-up that got lost with a connection.
const POLL_MS = 250;
const BATCH_RECORDS = 256;

/** Plain numbers for metrics; they count on from one lead to the next. */
export interface PublisherCounts {
  /** Positions handed out and not in the bucket; 0 while another process leads. */
  pending: number;
  /** How long the oldest of them waits, in ms. */
  oldestPendingMs: number;
  /** Records put because they had changed. */
  published: number;
  /** Records put because the bucket lacked them. */
  restored: number;
  /** Records given a fresh position because the bucket knew a later one. */
  renewed: number;
  /** Rounds that ended in an error of the bus or the database. */
  failures: number;
  /** 1 while the bucket is another installation's and nothing is put. */
  foreign: number;
}

export interface PublisherOptions {
  readonly store: Store;
  readonly bus: Bus;
  readonly values: KeyValues;
  readonly counts: PublisherCounts;
  readonly takeOver: boolean;
  readonly log: BusLog;
}

/** Brings the database's feed into the bucket, from the moment it is made until `stop`. At most one of all processes has one. */
export class FeedPublisher {
  readonly #options: PublisherOptions;
  readonly #stopping = new AbortController();
  readonly #backlog = new Backlog();
  readonly #unhook: readonly (() => void)[];
  readonly #running: Promise<void>;
  #wake = new AbortController();
  #view: BucketView | undefined;
  #compared = false;
  #lastFailure: string | undefined;

  constructor(options: PublisherOptions) {
    this.#options = options;
    const { store, bus } = options;
    this.#unhook = [
      store.onFeed(() => this.#wake.abort()),
      bus.onState(() => {
        this.#view?.spoil();
        this.#wake.abort();
      }),
    ];
    this.#running = this.#run();
  }

  /** Everything up to it is in the bucket; undefined while that is not known. */
  get position(): number | undefined {
    return this.#compared && this.#view?.state === 'whole' ? this.#backlog.position : undefined;
  }

  /** Resolves when nothing of it is under way any more; idempotent. */
  async stop(): Promise<void> {
    for (const unhook of this.#unhook) unhook();
    this.#stopping.abort();
    this.#wake.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      this.#wake = new AbortController();
      try {
        const hasMore = await this.#round();
        this.#lastFailure = undefined;
        this.#options.counts.foreign = 0;
        if (hasMore) continue;
      } catch (error) {
        this.#failed(error);
      }
      await sleep(POLL_MS, undefined, { signal: this.#wake.signal }).catch(() => undefined);
    }
    await this.#view?.close().catch((error: unknown) => this.#failed(error));
    Object.assign(this.#options.counts, { pending: 0, oldestPendingMs: 0 });
  }

  /** Resolves with whether there is more to do at once. */
  async #round(): Promise<boolean> {
    const batch = await this.#look();
    if (this.#view === undefined || this.#view.state === 'stale') await this.#openView();
    if (this.#view?.state !== 'whole') return false;
    if (!this.#compared) {
      await this.#reconcile(this.#view);
      return true;
    }
    if (batch.length === 0) return false;
    const { counts, store } = this.#options;
    const { done, failure } = await putRecords(this.#options.values, batch);
    if (done.length > 0) await store.feed.published(done.map(({ key, record }) => ({ key, seq: record.seq })));
    counts.published += done.length;
    if (failure !== undefined) throw failure;
    return true;
  }

  async #look(): Promise<readonly KeyedRecord[]> {
    const { store, counts } = this.#options;
    // The head first: what is handed out between the two is then only pending, never thought published.
    const head = await store.feed.head();
    const batch = await store.feed.pending(BATCH_RECORDS);
    const nowMs = performance.now();
    this.#backlog.look(head, batch[0]?.record.seq, nowMs);
    counts.pending = this.#backlog.pending;
    counts.oldestPendingMs = this.#backlog.oldestMs(nowMs);
    return batch;
  }

  async #openView(): Promise<void> {
    const before = this.#view;
    this.#view = undefined;
    this.#compared = false;
    await before?.close();
    this.#view = new BucketView(this.#options.values, () => this.#wake.abort());
  }

  async #reconcile(view: BucketView): Promise<void> {
    const { store, counts, takeOver, values, log } = this.#options;
    const { put, renewed } = await reconcile({
      store, takeOver, held: view.held, signal: this.#stopping.signal,
      put: async (records) => {
        const { failure } = await putRecords(values, records);
        if (failure !== undefined) throw failure;
      },
    });
    counts.restored += put;
    counts.renewed += renewed;
    this.#compared = true;
    // After a restore that is as it should be; otherwise somebody else's database may be writing into this bucket.
    log({ level: renewed > 0 ? 'warn' : 'info', text: renewed > 0 ? 'The bucket of the feed knew what the database does not; the database won' : 'Compared the feed with its bucket', fields: { put, renewed } });
  }

  /** Each reason once an outage: it may last for days. */
  #failed(error: unknown): void {
    if (this.#stopping.signal.aborted) return;
    this.#options.counts.failures += 1;
    this.#options.counts.foreign = error instanceof ForeignBucket ? 1 : 0;
    const reason = error instanceof Error ? error.message : String(error);
    this.#options.log({ level: reason === this.#lastFailure ? 'debug' : 'warn', text: 'The feed does not get on', fields: { reason } });
    this.#lastFailure = reason;
  }
}
