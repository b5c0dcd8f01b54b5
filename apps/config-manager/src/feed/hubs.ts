import type { Bus } from '@carillon/bus';
import { FEED_APPLIED_SUBJECT } from '@carillon/schemas';
import { z } from 'zod';

import { jsonOf } from './json-of.ts';

// Hubs speak every two seconds; one that missed fifteen is gone.
const FORGET_AFTER_MS = 30_000;
const HUBS_MAX = 1_000;

const report = z.object({ hub: z.string().min(1).max(128), name: z.string().max(256), seq: z.int().min(0) });

/** A hub and the position of the feed that it has applied. */
export interface HubPosition {
  readonly hub: string;
  readonly name: string;
  readonly seq: number;
  readonly lastHeardAtMs: number;
}

/** Who has applied what: the hubs heard on the bus in the last 30 s, at most a thousand. */
export class Hubs {
  readonly #now: () => number;
  readonly #positions = new Map<string, HubPosition>();
  readonly #subscription: ReturnType<Bus['subscribe']>;
  #ignored = 0;

  /** `now` in ms since the epoch. */
  constructor(bus: Bus, now: () => number = Date.now) {
    this.#now = now;
    this.#subscription = bus.subscribe(FEED_APPLIED_SUBJECT, { deliver: ({ payload }) => this.#take(payload) });
  }

  /** Reports that were malformed, or of one hub too many. */
  get ignored(): number {
    return this.#ignored;
  }

  /** By name. */
  list(): readonly HubPosition[] {
    this.#forget();
    return [...this.#positions.values()].sort((left, right) => left.name.localeCompare(right.name) || left.hub.localeCompare(right.hub));
  }

  async stop(): Promise<void> {
    await this.#subscription.unsubscribe();
  }

  #take(payload: Uint8Array): void {
    const parsed = report.safeParse(jsonOf(payload));
    if (!parsed.success) {
      this.#ignored += 1;
      return;
    }
    const { hub, name, seq } = parsed.data;
    if (!this.#positions.has(hub) && this.#positions.size >= HUBS_MAX) {
      this.#forget();
      if (this.#positions.size >= HUBS_MAX) {
        this.#ignored += 1;
        return;
      }
    }
    this.#positions.set(hub, { hub, name, seq, lastHeardAtMs: this.#now() });
  }

  #forget(): void {
    const before = this.#now() - FORGET_AFTER_MS;
    for (const [hub, { lastHeardAtMs }] of this.#positions) if (lastHeardAtMs <= before) this.#positions.delete(hub);
  }
}
