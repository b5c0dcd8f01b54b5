import type { MetricSample } from './metrics.ts';

/** Distinct keys a tally keeps apart: a label's values come partly from peers, and each costs a time series at the collector. */
const MAX_KEYS = 256;
/** Where the keys beyond the bound are counted together. */
const OVERFLOW_KEY = 'other';

/** Counts by one label as plain numbers, so that counting costs a map lookup; at most 256 keys, further ones are counted as `other`. */
export class Tally {
  readonly #counts = new Map<string, number>();

  /** Adds to a key's count. */
  add(key: string, by = 1): void {
    const count = this.#counts.get(key);
    if (count !== undefined) this.#counts.set(key, count + by);
    else if (this.#counts.size < MAX_KEYS) this.#counts.set(key, by);
    else this.#counts.set(OVERFLOW_KEY, (this.#counts.get(OVERFLOW_KEY) ?? 0) + by);
  }

  /** A key's count; 0 when it was never added or fell under `other`. */
  get(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  /** Every key with its count, in the order of first use. */
  entries(): readonly (readonly [string, number])[] {
    return [...this.#counts];
  }

  /** The counts as samples of a metric, each key a value of the label. */
  samples(label: string): readonly MetricSample[] {
    return [...this.#counts].map(([key, value]) => ({ value, labels: { [label]: key } }));
  }
}
