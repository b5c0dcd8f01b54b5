import { createHash } from 'node:crypto';

import type { Repositories, Store } from '@carillon/store';

import { Refusal } from './refusal.ts';
import type { Actor } from './route.ts';
import { createSealer } from './sealing.ts';

/** An answer as it goes out. */
export interface Rendered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** undefined: none. */
  readonly body: string | undefined;
}

export interface IdempotentRequest {
  readonly key: string;
  readonly actor: Actor;
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly body: Uint8Array;
}

const KEY_SHAPE = /^[\x20-\x7e]{16,255}$/;
const KEPT_MS = 24 * 3_600_000;

/**
 * A request with an `Idempotency-Key` is done once: who repeats it within a day gets the first answer again. The answer is
 * kept in the transaction that makes the change, so that the one is there exactly if the other is, whoever dies when; a
 * first try that was refused or failed leaves nothing. The answer may hold a secret that is shown once, so it is sealed
 * under the Idempotency-Key itself, of which the database has only a hash.
 */
export class IdempotentAnswers {
  readonly #store: Store;
  readonly #now: () => number;

  constructor({ store, now }: { readonly store: Store; readonly now: () => number }) {
    this.#store = store;
    this.#now = now;
  }

  /**
   * Runs the request, all of it in one transaction. Throws IDEMPOTENCY_KEY_INVALID, IDEMPOTENCY_KEY_REUSED or
   * IDEMPOTENCY_IN_PROGRESS, or what `run` throws.
   */
  async once(sent: IdempotentRequest, run: (tx: Repositories) => Promise<Rendered>): Promise<Rendered> {
    const { key, actor, method, target, body } = sent;
    if (!KEY_SHAPE.test(key)) throw new Refusal('IDEMPOTENCY_KEY_INVALID');
    const scope = digest(actor.kind, actor.id ?? '', method, target, key);
    const sealer = createSealer(key, `idempotent answer ${scope}`);
    // Under the key as well: a body may hold a password, which a plain hash of it would give away to guessing.
    const request = digest(key, body);
    return this.#store.change(async (tx) => {
      const begun = await tx.idempotency.begin({ scope, request });
      if (begun.state === 'in-progress') throw new Refusal('IDEMPOTENCY_IN_PROGRESS', undefined, { retryAfterMs: 1_000 });
      if (begun.state === 'done') {
        if (!begun.sameRequest) throw new Refusal('IDEMPOTENCY_KEY_REUSED');
        return reopened(sealer.open(begun.response));
      }
      const rendered = await run(tx);
      await tx.idempotency.finish({ scope, request, response: sealer.seal(Buffer.from(JSON.stringify(rendered))), expiresAt: new Date(this.#now() + KEPT_MS).toISOString() });
      return rendered;
    });
  }
}

function reopened(opened: Uint8Array | undefined): Rendered {
  if (opened === undefined) throw new Error('a kept answer could not be opened');
  const kept = JSON.parse(Buffer.from(opened).toString('utf8')) as Rendered;
  return { ...kept, headers: { ...kept.headers, 'idempotency-replayed': 'true' } };
}

/** SHA-256 over parts that cannot run into each other. */
function digest(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}:`).update(part);
  return hash.digest('hex');
}
