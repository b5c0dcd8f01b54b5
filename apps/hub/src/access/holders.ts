import type { Principal } from '@carillon/access';
import type { ErrorCode } from '@carillon/wire';

/** Somebody who was let in. */
export interface Caller {
  readonly principal: Principal;
  /** Whether the key was presented; one that was not is the workspace's anonymous key, or none at all. */
  readonly presented: boolean;
  /** The hash of the secret that was presented: it may end before the key does. */
  readonly secret?: string;
}

/** Something a principal holds open (a connection, a tail, a feed, a link of ours), and how it is ended. */
export interface Held {
  readonly caller: Caller;
  /** Ends it at once: nothing more goes out or comes in. `retryAfterMs` tells the peer when to come back. */
  end(code: ErrorCode, retryAfterMs?: number): void;
}

/** What every principal holds open, so that it ends when its right to it does. */
export class Holders {
  readonly #held = new Map<Principal, Set<Held>>();

  /** Gives a function that is called when it has ended by itself; idempotent. */
  hold(held: Held): () => void {
    const { principal } = held.caller;
    const all = this.#held.get(principal) ?? new Set();
    this.#held.set(principal, all.add(held));
    return () => {
      if (all.delete(held) && all.size === 0 && this.#held.get(principal) === all) this.#held.delete(principal);
    };
  }

  has(principal: Principal): boolean {
    return this.#held.has(principal);
  }

  /** Ids of the keys that hold something. */
  *keyIds(): Generator<string> {
    for (const { keyId } of this.#held.keys()) if (keyId !== undefined) yield keyId;
  }

  /** Ends what `selects` says; `retryAfterMs` is asked for each. */
  end(selects: (caller: Caller) => boolean, code: ErrorCode, retryAfterMs?: () => number): void {
    const ending = [...this.#held.values()].flatMap((all) => [...all]).filter(({ caller }) => selects(caller));
    for (const held of ending) held.end(code, retryAfterMs?.());
  }

  /** Ends all that one principal holds, or what of it `selects` says. */
  endOf(principal: Principal, code: ErrorCode, selects: (caller: Caller) => boolean = () => true): void {
    for (const held of [...(this.#held.get(principal) ?? [])]) if (selects(held.caller)) held.end(code);
  }
}
