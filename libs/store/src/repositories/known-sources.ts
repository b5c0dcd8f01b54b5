import type { Connection } from '../database.ts';

/** Of one person; the one that was seen longest ago goes first. */
const KEPT = 20;

const ADD = `INSERT INTO known_sources (user_id, source_hash, seen_at) VALUES ($1, $2, clock_timestamp())
  ON CONFLICT (user_id, source_hash) DO UPDATE SET seen_at = excluded.seen_at`;
const FORGET = `DELETE FROM known_sources WHERE user_id = $1 AND source_hash IN (
  SELECT source_hash FROM known_sources WHERE user_id = $1 ORDER BY seen_at DESC, source_hash OFFSET ${KEPT})`;

/** Where people have signed in from, by hash: their next sign-in from there is not throttled by the failures of others. */
export class KnownSources {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  async has(userId: string, sourceHash: string): Promise<boolean> {
    return (await this.#db.prisma.knownSource.count({ where: { userId, sourceHash } })) > 0;
  }

  /** Keeps the latest 20. `RESOURCE_NOT_FOUND`: no such person. */
  async add(userId: string, sourceHash: string): Promise<void> {
    await this.#db.sql.query('known_source_add', ADD, [userId, sourceHash]);
    await this.#db.sql.query('known_source_forget', FORGET, [userId]);
  }
}
