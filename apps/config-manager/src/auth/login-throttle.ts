import { createHash } from 'node:crypto';

import type { User } from '@carillon/schemas';
import type { Store } from '@carillon/store';

import { Refusal } from '../http/refusal.ts';
import { sourceGroup } from '../http/source.ts';
import { TokenBuckets } from '../http/token-bucket.ts';

export interface SignInAttempt {
  readonly username: string;
  /** Who has this name; undefined: nobody. */
  readonly user: User | undefined;
  readonly source: string;
  /** Through no proxy, from this machine. */
  readonly isLocal: boolean;
}

export interface AdmittedAttempt {
  /** The account has been signed in to from there before, or it is this machine. */
  readonly isKnown: boolean;
  /** Gives back what the attempt cost. */
  readonly succeeded: () => void;
}

/** Failures of one source: ten, then one in 30 s. */
const PER_SOURCE = { perSecond: 1 / 30, burst: 10 };
/** Failures at one account, over all sources that it does not know: ten, then one a minute. */
const PER_ACCOUNT = { perSecond: 1 / 60, burst: 10 };
/** About 150 bytes each. */
const BUCKETS_MAX = 20_000;
/** Looked up for a name that nobody has, so that the look-up takes as long. */
const NOBODY = 'us_nobody';

/**
 * Slows guessing down, and never locks anybody out: a source that has signed in to an account before is known to it, and
 * has a bucket for itself and that account alone, which nobody elsewhere can empty. Strangers share what is left. Whoever
 * sits at this machine is not slowed: that is the way in for an operator when all else is being guessed at.
 */
export class LoginThrottle {
  readonly #store: Store;
  readonly #sources: TokenBuckets;
  readonly #accounts: TokenBuckets;

  constructor({ store, now, bucketsMax = BUCKETS_MAX }: { readonly store: Store; readonly now: () => number; readonly bucketsMax?: number }) {
    this.#store = store;
    this.#sources = new TokenBuckets(PER_SOURCE, { max: bucketsMax, now });
    this.#accounts = new TokenBuckets(PER_ACCOUNT, { max: bucketsMax, now });
  }

  /**
   * Takes what a failure costs, before the password is looked at, so that many tries at once cannot pass together; call its
   * `succeeded` when the attempt did. Throws LOGIN_THROTTLED with the time to wait.
   */
  async attempt({ username, user, source, isLocal }: SignInAttempt): Promise<AdmittedAttempt> {
    const group = sourceGroup(source);
    const isKnown = await this.#store.knownSources.has(user?.id ?? NOBODY, sourceHash(source));
    if (isLocal) return { isKnown: true, succeeded: () => undefined };
    const sourceKey = isKnown ? `${group} ${username}` : group;
    this.#take(this.#sources, sourceKey);
    if (isKnown) return { isKnown, succeeded: () => this.#sources.putBack(sourceKey) };
    try {
      this.#take(this.#accounts, username);
    } catch (error) {
      this.#sources.putBack(sourceKey);
      throw error;
    }
    const succeeded = (): void => {
      this.#sources.putBack(sourceKey);
      this.#accounts.putBack(username);
    };
    return { isKnown, succeeded };
  }

  /** The account knows the source from now on. */
  async succeeded(userId: string, source: string): Promise<void> {
    await this.#store.knownSources.add(userId, sourceHash(source));
  }

  #take(buckets: TokenBuckets, key: string): void {
    const waitMs = buckets.take(key);
    if (waitMs > 0) throw new Refusal('LOGIN_THROTTLED', `come back in ${Math.ceil(waitMs / 1_000)} s`, { retryAfterMs: waitMs });
  }
}

/** The database keeps no list of where people were. */
function sourceHash(source: string): string {
  return createHash('sha256').update(`carillon source ${sourceGroup(source)}`).digest('base64url');
}
