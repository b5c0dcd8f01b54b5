import type { Connection, SqlRow } from '../database.ts';

const TRY_LOCK = 'SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0)) AS mine';
const FIND = 'SELECT request, response FROM idempotent_requests WHERE scope = $1 AND expires_at > now()';
const KEEP = `INSERT INTO idempotent_requests (scope, request, response, expires_at) VALUES ($1, $2, $3, $4::timestamptz)
  ON CONFLICT (scope) DO UPDATE SET request = excluded.request, response = excluded.response, expires_at = excluded.expires_at`;

export type IdempotencyState =
  | { readonly state: 'new' }
  /** Another transaction is at it. */
  | { readonly state: 'in-progress' }
  | { readonly state: 'done'; /** Whether it is the request that was answered. */ readonly sameRequest: boolean; readonly response: Uint8Array };

/**
 * Requests that are to have one effect however often they are sent. `begin` and `finish` stand in the transaction that has
 * the effect: the answer is there exactly if the effect is, and whoever died in between has done nothing.
 */
export class Idempotency {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  /** `scope` and `request` are SHA-256: of who asks with which key, and of what. Of several transactions at once one gets `new`, the others `in-progress`. */
  async begin({ scope, request }: { readonly scope: string; readonly request: string }): Promise<IdempotencyState> {
    const [lock] = await this.#db.sql.query('idempotency_lock', TRY_LOCK, [scope]);
    if (lock?.['mine'] !== true) return { state: 'in-progress' };
    const [found] = await this.#db.sql.query('idempotency_find', FIND, [scope]);
    return found === undefined ? { state: 'new' } : stateOf(found, request);
  }

  /** Keeps the response for whoever asks again. */
  async finish({ scope, request, response, expiresAt }: { readonly scope: string; readonly request: string; readonly response: Uint8Array; readonly expiresAt: string }): Promise<void> {
    await this.#db.sql.query('idempotency_keep', KEEP, [scope, request, Buffer.from(response), new Date(expiresAt)]);
  }

  async deleteExpired(nowIso: string): Promise<number> {
    return (await this.#db.prisma.idempotentRequest.deleteMany({ where: { expiresAt: { lte: new Date(nowIso) } } })).count;
  }
}

function stateOf({ request: answered, response }: SqlRow, request: string): IdempotencyState {
  return { state: 'done', sameRequest: answered === request, response: response as Uint8Array };
}
