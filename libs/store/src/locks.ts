import { createHash } from 'node:crypto';

import type { Sql } from './database.ts';

/** What only one transaction at a time may change. */
export type LockName = 'workspace-paths' | 'administrators';

/** Waits for the lock and holds it until the transaction ends. Taken before anything is read that it protects, and never after the feed's head. */
export async function lockFor(name: LockName, sql: Sql): Promise<void> {
  await sql.query(`lock_${name}`, 'SELECT pg_advisory_xact_lock($1::int, $2::int)::text AS held', [LOCK_CLASS, NUMBERS[name]]);
}

/** Our half of the two numbers of a lock, apart from what others lock in the same database. */
const LOCK_CLASS = createHash('sha256').update('carillon/store').digest().readInt32BE(0);
const NUMBERS: Readonly<Record<LockName, number>> = { 'workspace-paths': 1, administrators: 2 };
