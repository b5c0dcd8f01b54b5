import type { AccessCopy } from '@carillon/access';
import type { Bus, BusSubscription, KvEntry, KvWatch } from '@carillon/bus';
import type { Logger } from '@carillon/runtime';
import { FEED_APPLIED_SUBJECT, FEED_BEAT_SUBJECT, FEED_BUCKET, feedKey, feedRecord, KEYS_USED_SUBJECT, type FeedRecord } from '@carillon/schemas';
import { z } from 'zod';

import type { HubCounts } from '../counts.ts';
import { Staleness } from './staleness.ts';
import type { UsedKeys } from './used-keys.ts';

/**
 * How changes of access reach this hub, and what it says back:
 *
 *   config-manager ──records, a watched bucket──▶ copy ──▶ "applied up to 17", at most every 100 ms, and every 2 s
 *                  ──"handed over up to 17"─────▶ staleness ◀── a round trip to the bus, every 500 ms
 *                  ◀──keys that were used, every 10 s
 */
export interface AccessFeedOptions {
  readonly bus: Bus;
  readonly copy: AccessCopy;
  readonly counts: HubCounts;
  readonly used: UsedKeys;
  readonly log: Logger;
  readonly hub: { readonly id: string; readonly name: string };
  /** How long the hub may be out of hearing before it trusts no key; 0: for ever. */
  readonly staleAfterMs: number;
  readonly staleChanged: (stale: boolean, why: string) => void;
}

/** The feed is looked after this often; a round trip may take as long. */
export const FEED_TICK_MS = 500;
const APPLIED_EVERY_TICKS = 4;
const USED_EVERY_TICKS = 20;
const APPLIED_MIN_MS = 100;

const beat = z.object({ seq: z.int().min(0) });

export class AccessFeed {
  readonly #options: AccessFeedOptions;
  readonly #staleness: Staleness;
  #watch: KvWatch | undefined = undefined;
  #beats: BusSubscription | undefined = undefined;
  #endState: (() => void) | undefined = undefined;
  #isSynced = false;
  #isAsking = false;
  #hasToldOfMalformed = false;
  #ticks = 0;
  #saidAppliedMs = Number.NEGATIVE_INFINITY;
  #applied: NodeJS.Timeout | undefined = undefined;
  #due: NodeJS.Timeout | undefined = undefined;

  constructor(options: AccessFeedOptions) {
    this.#options = options;
    this.#staleness = new Staleness({ afterMs: options.staleAfterMs, now: () => performance.now(), changed: options.staleChanged });
  }

  get isStale(): boolean {
    return this.#staleness.isStale;
  }

  /** Whether all that the feed held at some time has come. */
  get isSynced(): boolean {
    return this.#isSynced;
  }

  start(): void {
    const { bus } = this.#options;
    this.#endState = bus.onState((state) => {
      if (state !== 'connected') this.#staleness.lost();
    });
    this.#beats = bus.subscribe(FEED_BEAT_SUBJECT, { deliver: ({ payload }) => this.#heardBeat(payload) });
    this.#beats.active.catch(() => undefined); // the bus closed first
    this.#watch = this.#openWatch();
  }

  #openWatch(): KvWatch {
    return this.#options.bus.keyValues(FEED_BUCKET).watch({ entry: (entry) => this.#take(entry), synced: () => this.#synced() });
  }

  /** The copy has forgotten what was given before: the feed is another installation's. */
  #watchAnew(): void {
    this.#isSynced = false;
    const former = this.#watch;
    this.#watch = this.#openWatch();
    void former?.stop();
  }

  /** The bus, which is closed next, sees to what is still on its way. */
  stop(): void {
    clearTimeout(this.#applied);
    clearTimeout(this.#due);
    this.#endState?.();
    if (this.#options.bus.state !== 'closed') this.#sayUsed();
    void this.#watch?.stop();
    void this.#beats?.unsubscribe();
  }

  /** To be called every `FEED_TICK_MS`. */
  tick(): void {
    this.#ticks += 1;
    this.#staleness.look();
    void this.#ask();
    this.#lookWhenDue();
    if (this.#ticks % APPLIED_EVERY_TICKS === 0) this.#sayApplied();
    if (this.#ticks % USED_EVERY_TICKS === 0) this.#sayUsed();
  }

  /** Never two at a time: a bus that does not answer is asked again when it has been given up. */
  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    const beganAtMs = performance.now();
    try {
      await this.#options.bus.flush({ timeoutMs: FEED_TICK_MS });
      this.#staleness.roundTrip(beganAtMs);
    } catch {
      this.#staleness.look();
    } finally {
      this.#isAsking = false;
    }
  }

  /** When it becomes stale does not wait for the next tick. */
  #lookWhenDue(): void {
    const dueInMs = this.#staleness.dueInMs;
    if (dueInMs === undefined || dueInMs >= FEED_TICK_MS) return;
    clearTimeout(this.#due);
    this.#due = setTimeout(() => this.#staleness.look(), Math.ceil(dueInMs)).unref();
  }

  #synced(): void {
    this.#isSynced = true;
    this.#staleness.applied(this.#options.copy.seq);
    this.#staleness.synced();
    void this.#ask();
    this.#sayApplied();
  }

  #heardBeat(payload: Uint8Array): void {
    const said = beat.safeParse(parseJson(payload));
    if (said.success) this.#staleness.said(said.data.seq);
    this.#lookWhenDue();
  }

  #take({ key, value }: KvEntry): void {
    const { copy } = this.#options;
    const record = readRecord(key, value);
    if (record === undefined) {
      this.#malformed(key);
      return;
    }
    this.#staleness.readable(key);
    const applied = copy.apply(key, record);
    if (applied === false) return;
    if (applied === 'anew') this.#watchAnew();
    this.#staleness.applied(copy.seq);
    this.#applied ??= setTimeout(() => this.#sayApplied(), Math.max(0, this.#saidAppliedMs + APPLIED_MIN_MS - performance.now())).unref();
  }

  #malformed(record: string): void {
    const { counts, log } = this.#options;
    counts.malformedRecords += 1;
    if (!this.#hasToldOfMalformed) log.error({ record: record.slice(0, 256) }, 'a record of the access feed cannot be read; it is ignored, and so are further ones without a word');
    this.#hasToldOfMalformed = true;
    this.#staleness.unreadable(record);
  }

  #sayApplied(): void {
    const { bus, copy, hub } = this.#options;
    clearTimeout(this.#applied);
    this.#applied = undefined;
    this.#saidAppliedMs = performance.now();
    bus.publish(FEED_APPLIED_SUBJECT, toJson({ hub: hub.id, name: hub.name, seq: copy.seq }));
  }

  #sayUsed(): void {
    this.#options.used.report((used) => this.#options.bus.publish(KEYS_USED_SUBJECT, toJson({ used })) === 'sent');
  }
}

function readRecord(key: string, value: Uint8Array): FeedRecord | undefined {
  const record = feedRecord.safeParse(parseJson(value));
  if (!record.success) return undefined;
  return record.data.entry === null || feedKey(record.data.entry) === key ? record.data : undefined;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return undefined;
  }
}

function toJson(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
