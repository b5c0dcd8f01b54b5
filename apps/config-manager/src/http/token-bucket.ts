/** How fast a bucket fills and how much it holds. */
export interface BucketRate {
  readonly perSecond: number;
  readonly burst: number;
}

interface Bucket {
  tokens: number;
  atMs: number;
}

/**
 * A token bucket for each of at most `max` keys. Beyond that the one unused for longest is forgotten, which means full
 * again: the bound on memory is worth more than the last tokens of whoever has been quiet the longest.
 */
export class TokenBuckets {
  readonly #rate: BucketRate;
  readonly #max: number;
  readonly #now: () => number;
  /** In the order of last use. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(rate: BucketRate, { max, now }: { readonly max: number; readonly now: () => number }) {
    this.#rate = rate;
    this.#max = max;
    this.#now = now;
  }

  get size(): number {
    return this.#buckets.size;
  }

  has(key: string): boolean {
    return this.#buckets.has(key);
  }

  /** Takes a token; gives 0, or the milliseconds until there is one, and then takes none. */
  take(key: string): number {
    const bucket = this.#filled(key);
    if (bucket.tokens < 1) return Math.ceil(((1 - bucket.tokens) / this.#rate.perSecond) * 1_000);
    bucket.tokens -= 1;
    return 0;
  }

  /** Gives a token back. */
  putBack(key: string): void {
    const bucket = this.#filled(key);
    bucket.tokens = Math.min(this.#rate.burst, bucket.tokens + 1);
  }

  forget(key: string): void {
    this.#buckets.delete(key);
  }

  #filled(key: string): Bucket {
    const { perSecond, burst } = this.#rate;
    const nowMs = this.#now();
    const bucket = this.#buckets.get(key) ?? { tokens: burst, atMs: nowMs };
    // A clock that was set back adds nothing.
    bucket.tokens = Math.min(burst, bucket.tokens + (Math.max(0, nowMs - bucket.atMs) * perSecond) / 1_000);
    bucket.atMs = nowMs;
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > this.#max) this.#buckets.delete(this.#buckets.keys().next().value as string);
    return bucket;
  }
}
