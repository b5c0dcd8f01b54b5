import type { Bus, BusLog } from '@carillon/bus';
import { KEYS_USED_SUBJECT } from '@carillon/schemas';
import type { Store } from '@carillon/store';
import { z } from 'zod';

import { jsonOf } from './json-of.ts';

const FLUSH_INTERVAL_MS = 10_000;
// As long as the database is away; a key's later use makes up for one that did not fit.
const WAITING_MAX_KEYS = 50_000;
/** Of all config-managers one hears each report. */
const QUEUE = 'carillon-config-manager';

const report = z.object({ used: z.array(z.unknown()).max(10_000) });
const use = z.object({ id: z.string().regex(/^[A-Za-z0-9]{1,64}$/), atMs: z.int().min(0) });

export interface KeyUseOptions {
  readonly store: Pick<Store, 'keys'>;
  readonly bus: Bus;
  readonly log: BusLog;
  /** ms since the epoch. */
  readonly now?: () => number;
  /** 10 s by default. */
  readonly flushIntervalMs?: number;
}

/** Hears from hubs which keys were used and writes it down every ten seconds, one statement for all. */
export class KeyUse {
  readonly #options: KeyUseOptions;
  readonly #now: () => number;
  readonly #subscription: ReturnType<Bus['subscribe']>;
  readonly #timer: ReturnType<typeof setInterval>;
  #waiting = new Map<string, number>();
  #flushing: Promise<void> = Promise.resolve();
  /** `ignored`: what was malformed or did not fit; `written`: uses handed to the database. */
  readonly counts = { written: 0, ignored: 0 };

  constructor(options: KeyUseOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#subscription = options.bus.subscribe(KEYS_USED_SUBJECT, { queue: QUEUE, deliver: ({ payload }) => this.#take(payload) });
    this.#timer = setInterval(() => void this.flush(), options.flushIntervalMs ?? FLUSH_INTERVAL_MS);
  }

  /** Writes what waits; keeps it for the next time when the database does not take it. Never rejects. */
  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#write());
    return this.#flushing;
  }

  /** Writes what waits, once. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#subscription.unsubscribe();
    await this.flush();
  }

  async #write(): Promise<void> {
    if (this.#waiting.size === 0) return;
    const batch = this.#waiting;
    this.#waiting = new Map();
    try {
      await this.#options.store.keys.markUsed([...batch].map(([id, atMs]) => ({ id, atMs })));
      this.counts.written += batch.size;
    } catch (error) {
      for (const [id, atMs] of batch) this.#note(id, atMs);
      this.#options.log({ level: 'debug', text: 'The uses of keys could not be written down yet', fields: { error } });
    }
  }

  #take(payload: Uint8Array): void {
    const parsed = report.safeParse(jsonOf(payload));
    if (!parsed.success) {
      this.counts.ignored += 1;
      return;
    }
    for (const item of parsed.data.used) {
      const { success, data } = use.safeParse(item);
      // A hub whose clock is ahead must not make a key seem used tomorrow.
      if (success) this.#note(data.id, Math.min(data.atMs, this.#now()));
      else this.counts.ignored += 1;
    }
  }

  #note(id: string, atMs: number): void {
    const before = this.#waiting.get(id);
    if (before === undefined && this.#waiting.size >= WAITING_MAX_KEYS) this.counts.ignored += 1;
    else this.#waiting.set(id, Math.max(before ?? 0, atMs));
  }
}
