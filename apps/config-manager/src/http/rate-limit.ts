import { Refusal } from './refusal.ts';
import { sourceGroup } from './source.ts';
import { TokenBuckets, type BucketRate } from './token-bucket.ts';

export interface RateLimitOptions {
  readonly perCredential: BucketRate;
  readonly perSource: BucketRate;
  readonly now: () => number;
}

/** Keys of each of the two maps: about 200 bytes each. */
const BUCKETS_MAX = 10_000;

/**
 * A bucket for every credential that was good the last time, one for every source of everything else. A credential not
 * seen before costs its source a token: made-up ones cannot be had a fresh bucket each, nor a look-up without bound.
 */
export class RateLimits {
  readonly #credentials: TokenBuckets;
  readonly #sources: TokenBuckets;

  constructor({ perCredential, perSource, now }: RateLimitOptions) {
    this.#credentials = new TokenBuckets(perCredential, { max: BUCKETS_MAX, now });
    this.#sources = new TokenBuckets(perSource, { max: BUCKETS_MAX, now });
  }

  /** Throws RATE_LIMITED. `credential` is a hash; undefined: there is none. */
  take(credential: string | undefined, source: string): void {
    const known = credential !== undefined && this.#credentials.has(credential);
    const waitMs = known ? this.#credentials.take(credential) : this.#sources.take(sourceGroup(source));
    if (waitMs > 0) throw new Refusal('RATE_LIMITED', `come back in ${Math.ceil(waitMs / 1_000)} s`, { retryAfterMs: waitMs });
  }

  /** The credential was good. */
  learn(credential: string): void {
    if (!this.#credentials.has(credential)) this.#credentials.take(credential);
  }

  /** It is good no longer. */
  forget(credential: string): void {
    this.#credentials.forget(credential);
  }
}
