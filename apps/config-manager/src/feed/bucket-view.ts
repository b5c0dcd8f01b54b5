import { createHash } from 'node:crypto';

import type { KeyValues, KvEntry, KvWatch } from '@carillon/bus';
import { z } from 'zod';

/** What the bucket holds under a key. */
export interface Held {
  /** 0: the value is no feed record. */
  readonly seq: number;
  /** The record says that the thing is gone. */
  readonly gone: boolean;
  /** Of a workspace: when it was made. */
  readonly createdAtMs?: number | undefined;
  /** Of the value's bytes. */
  readonly digest: string;
}

/*
 *             synced                    synced again · an older record over a newer one · the bus left
 *   filling ──────────▶ whole ──────────────────────────────────────────────────────────────────────────▶ stale
 *
 * A view never recovers: what gives everything anew does not say what is no longer there. Whoever needs one opens another.
 */
export type ViewState = 'filling' | 'whole' | 'stale';

// Half of what a number counts exactly: a position above it was not handed out by us, and following it would leave no room.
const SEQ_MAX = 2 ** 52;
const creation = z.object({ type: z.literal('workspace'), createdAtMs: z.int() });
const shape = z.object({ seq: z.int().min(1).max(SEQ_MAX), entry: z.unknown() });

/** The feed's bucket as its watch tells it. */
export class BucketView {
  readonly #held = new Map<string, Held>();
  readonly #watch: KvWatch;
  readonly #changed: () => void;
  #state: ViewState = 'filling';

  /** `changed` is called at each change of state. */
  constructor(values: KeyValues, changed: () => void) {
    this.#changed = changed;
    this.#watch = values.watch({ entry: (entry) => this.#take(entry), synced: () => this.#enter(this.#state === 'filling' ? 'whole' : 'stale') });
  }

  get state(): ViewState {
    return this.#state;
  }

  /** By key; grows with the feed, about 200 bytes a record. */
  get held(): ReadonlyMap<string, Held> {
    return this.#held;
  }

  /** Says that the bus was away: nobody knows what the bucket will hold. */
  spoil(): void {
    this.#enter('stale');
  }

  async close(): Promise<void> {
    await this.#watch.stop();
  }

  #take({ key, value }: KvEntry): void {
    const held = heldOf(value);
    const before = this.#held.get(key);
    this.#held.set(key, held);
    // The put of a publisher that has lost its lead may land after its successor's.
    if (before !== undefined && held.seq < before.seq) this.#enter('stale');
  }

  #enter(state: ViewState): void {
    if (this.#state === 'stale' || this.#state === state) return;
    this.#state = state;
    this.#changed();
  }
}

/** What a value of the bucket says; any bytes are taken. */
export function heldOf(value: Uint8Array): Held {
  const digest = digestOf(value);
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('utf8'));
  } catch {
    return { seq: 0, gone: false, digest };
  }
  const record = shape.safeParse(parsed);
  return record.success ? { seq: record.data.seq, gone: record.data.entry === null, digest, createdAtMs: creation.safeParse(record.data.entry).data?.createdAtMs } : { seq: 0, gone: false, digest };
}

export function digestOf(value: Uint8Array): string {
  return createHash('sha256').update(value).digest('base64url');
}
