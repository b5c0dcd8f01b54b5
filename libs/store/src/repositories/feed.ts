import { feedKey, type FeedEntry, type FeedRecord } from '@carillon/schemas';

import type { Connection, SqlRow } from '../database.ts';
import { FEED_CHANNEL } from '../feed-wake.ts';

/*
 * The outbox of configuration: the latest record of each thing, and a head that hands out positions. A transaction that takes a
 * position holds the head's row until it commits, so positions become visible in their order and a rolled back one is handed out again.
 * `published` says what needs no more telling; a record that is written anew while the old one is on its way stays pending.
 */

const PUT = `WITH head AS (UPDATE feed_head SET seq = seq + 1 RETURNING seq),
  put AS (INSERT INTO feed_records (key, seq, record, published) SELECT $1, head.seq, json_build_object('seq', head.seq, 'entry', $2::json), false FROM head
    ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, record = excluded.record, published = false)
  SELECT seq, pg_notify('${FEED_CHANNEL}', '')::text AS told FROM head`;

/** Before the statement that follows: it then sees all that was committed before the lock was ours. */
const LOCK_HEAD = 'SELECT seq FROM feed_head FOR UPDATE';
const REMOVE_ALL = `WITH gone AS (SELECT key, row_number() OVER (ORDER BY key) AS place FROM feed_records WHERE key >= $1::text || '.' AND key < $1::text || '/' AND record -> 'entry' IS NOT NULL AND json_typeof(record -> 'entry') <> 'null'),
  head AS (UPDATE feed_head SET seq = seq + (SELECT count(*) FROM gone) RETURNING seq),
  base AS (SELECT head.seq - (SELECT count(*) FROM gone) AS seq FROM head),
  put AS (UPDATE feed_records r SET seq = base.seq + gone.place, record = json_build_object('seq', base.seq + gone.place, 'entry', NULL), published = false FROM gone, base WHERE r.key = gone.key)
  SELECT seq, pg_notify('${FEED_CHANNEL}', '')::text AS told FROM head`;

const RAISE = 'UPDATE feed_head SET seq = greatest(seq, $1::bigint)';
const AGAIN = `WITH picked AS (SELECT key, row_number() OVER (ORDER BY seq) AS place FROM feed_records WHERE $1::text[] IS NULL OR key = ANY ($1::text[])),
  head AS (UPDATE feed_head SET seq = seq + (SELECT count(*) FROM picked) RETURNING seq),
  base AS (SELECT head.seq - (SELECT count(*) FROM picked) AS seq FROM head),
  put AS (UPDATE feed_records r SET seq = base.seq + picked.place, record = json_build_object('seq', base.seq + picked.place, 'entry', r.record -> 'entry'), published = false FROM picked, base WHERE r.key = picked.key)
  SELECT (SELECT count(*) FROM picked) AS count, pg_notify('${FEED_CHANNEL}', '')::text AS told FROM head`;

const PENDING = 'SELECT key, record::text AS record FROM feed_records WHERE published = false ORDER BY seq LIMIT $1';
/** What somebody is writing anew is not waited for: it is pending again in any case. */
const PUBLISHED = `WITH done AS (SELECT r.key FROM feed_records r JOIN unnest($1::text[], $2::text[]) AS d(key, seq) ON r.key = d.key AND r.seq = d.seq::bigint FOR UPDATE OF r SKIP LOCKED)
  UPDATE feed_records r SET published = true FROM done WHERE r.key = done.key`;
const ALL = 'SELECT key, record::text AS record FROM feed_records WHERE key > $1 ORDER BY key LIMIT $2';

/** A record with the key it goes under on the bus. */
export interface KeyedRecord {
  readonly key: string;
  readonly record: FeedRecord;
}

export class Feed {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  /** Appends, in the running transaction, and gives the position. Call it last: others wait for the head until the transaction ends. */
  async put(entry: FeedEntry): Promise<number> {
    return positionOf(await this.#db.sql.query('feed_put', PUT, [feedKey(entry), JSON.stringify(entry)]));
  }

  /** Says that a thing is gone; gives the position. */
  async remove(thing: Pick<FeedEntry, 'type' | 'workspaceId' | 'id'>): Promise<number> {
    return positionOf(await this.#db.sql.query('feed_put', PUT, [feedKey(thing), 'null']));
  }

  /** Says so of everything in a workspace, and of itself; gives the last position. */
  async removeWorkspace(workspaceId: string): Promise<number> {
    return this.#db.atomically(async ({ sql }) => {
      await sql.query('feed_lock_head', LOCK_HEAD);
      return positionOf(await sql.query('feed_remove_all', REMOVE_ALL, [workspaceId]));
    });
  }

  /** Lifts the head to at least this position: a reader may know ones that a restored database does not. */
  async raise(seq: number): Promise<void> {
    await this.#db.sql.query('feed_raise', RAISE, [seq]);
  }

  /** Gives the latest records under these keys, by default all there are, fresh positions, so that they are told again; gives how many. */
  async again(keys?: readonly string[]): Promise<number> {
    return this.#db.atomically(async ({ sql }) => {
      await sql.query('feed_lock_head', LOCK_HEAD);
      const [row] = await sql.query('feed_again', AGAIN, [keys === undefined ? null : [...keys]]);
      return Number(row?.['count'] ?? 0);
    });
  }

  /** The last position that was handed out; 0 when none was. */
  async head(): Promise<number> {
    return positionOf(await this.#db.sql.query('feed_head', 'SELECT seq FROM feed_head'));
  }

  /** What is not published yet, by position. */
  async pending(limit: number): Promise<readonly KeyedRecord[]> {
    return (await this.#db.sql.query('feed_pending', PENDING, [limit])).map(keyed);
  }

  /** These are on the bus; one that has a later position by now stays pending. */
  async published(done: readonly { readonly key: string; readonly seq: number }[]): Promise<void> {
    if (done.length === 0) return;
    await this.#db.sql.query('feed_published', PUBLISHED, [done.map(({ key }) => key), done.map(({ seq }) => String(seq))]);
  }

  /** Every record there is, also of what is gone, by key, for comparing with what the bus holds. */
  async all(afterKey: string | undefined, limit: number): Promise<readonly KeyedRecord[]> {
    return (await this.#db.sql.query('feed_all', ALL, [afterKey ?? '', limit])).map(keyed);
  }
}

function positionOf([row]: readonly SqlRow[]): number {
  return Number(row?.['seq']);
}

function keyed({ key, record }: SqlRow): KeyedRecord {
  return { key: String(key), record: JSON.parse(String(record)) as FeedRecord };
}
