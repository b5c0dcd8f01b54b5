import { createHash, randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { CarillonError } from '@carillon/wire';
import pg from 'pg';

import { storeFault } from './fault.ts';

/*
 * Applies prisma/migrations in the order of their names and keeps Prisma's own table of them, under Prisma's own lock, so that this
 * and `prisma migrate` may take turns. Each migration is one transaction, with its row in the table: all of it or nothing.
 */

/** The advisory lock that Prisma takes (https://www.prisma.io/docs/orm/prisma-migrate/workflows/development-and-production#advisory-locking). */
const PRISMA_LOCK = 72_707_369;
/** Others that start at the same time hold it for as long as the migrations take. */
const LOCK_TIMEOUT_MS = 60_000;
const CONNECT_TIMEOUT_MS = 10_000;

/** As Prisma makes it. */
const TABLE = `CREATE TABLE "_prisma_migrations" (
  "id" VARCHAR(36) PRIMARY KEY NOT NULL, "checksum" VARCHAR(64) NOT NULL, "finished_at" TIMESTAMPTZ, "migration_name" VARCHAR(255) NOT NULL, "logs" TEXT,
  "rolled_back_at" TIMESTAMPTZ, "started_at" TIMESTAMPTZ NOT NULL DEFAULT now(), "applied_steps_count" INTEGER NOT NULL DEFAULT 0)`;
const APPLIED = 'INSERT INTO "_prisma_migrations" (id, checksum, migration_name, started_at, finished_at, applied_steps_count) VALUES ($1, $2, $3, now(), clock_timestamp(), 1)';

/** Where the migrations are, from the sources and from the build alike. */
const MIGRATIONS = fileURLToPath(new URL('../prisma/migrations', import.meta.url));

interface Migration {
  readonly name: string;
  readonly sql: string;
  readonly checksum: string;
}

/**
 * Brings a database to this program's schema; gives the names of what was applied. Safe when several start at once.
 * `STORE_UNAVAILABLE`, with what to do: the database cannot be reached, has migrations of a newer program, has one that failed or that
 * was edited since; or a migration fails now, and then nothing of it is left.
 */
export async function migrate(url: string, dir: string = MIGRATIONS): Promise<readonly string[]> {
  const migrations = await migrationsIn(dir);
  const client = new pg.Client({ connectionString: url, application_name: 'carillon-migrate', connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  // The query under way reports the loss; without a listener it would end the process.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query(`SET lock_timeout = ${LOCK_TIMEOUT_MS}`);
    await client.query('SELECT pg_advisory_lock($1)', [PRISMA_LOCK]);
    if (!(await hasTable(client))) await client.query(TABLE);
    return await applyMissing(client, migrations);
  } catch (error) {
    throw storeFault(error);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function applyMissing(client: pg.Client, migrations: readonly Migration[]): Promise<readonly string[]> {
  const applied = await appliedTo(client);
  const known = new Set(migrations.map(({ name }) => name));
  const foreign = [...applied.keys()].find((name) => !known.has(name));
  if (foreign !== undefined) throw refusal(`the database has the migration ${foreign}, which this program does not know: it belongs to a newer version. Run that version, or restore a backup from before it`);
  const edited = migrations.find(({ name, checksum }) => applied.has(name) && applied.get(name) !== checksum);
  if (edited !== undefined) throw refusal(`the migration ${edited.name} was edited after it was applied. Put its file back as it was; a change needs a migration of its own`);
  const missing = migrations.filter(({ name }) => !applied.has(name));
  for (const migration of missing) await apply(client, migration);
  return missing.map(({ name }) => name);
}

async function apply(client: pg.Client, { name, sql, checksum }: Migration): Promise<void> {
  await client.query('BEGIN');
  try {
    await client.query(sql);
    await client.query(APPLIED, [randomUUID(), checksum, name]);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    if (storeFault(error).code === 'STORE_UNAVAILABLE') throw error;
    throw refusal(`the migration ${name} failed, and nothing of it was kept: ${(error as Error).message}`, error);
  }
}

/** Name and checksum of each that is in force. */
async function appliedTo(client: pg.Client): Promise<ReadonlyMap<string, string>> {
  const { rows } = await client.query<{ name: string; checksum: string; finished: boolean }>(
    'SELECT migration_name AS name, checksum, finished_at IS NOT NULL AS finished FROM "_prisma_migrations" WHERE rolled_back_at IS NULL ORDER BY started_at',
  );
  const failed = rows.find(({ finished }) => !finished);
  if (failed !== undefined) throw refusal(`the migration ${failed.name} failed earlier, outside this program. Mend the database and resolve the migration (libs/store/README.md)`);
  return new Map(rows.map(({ name, checksum }) => [name, checksum]));
}

// Not left to IF NOT EXISTS, which asks for the right to create even then.
async function hasTable(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ found: string | null }>(`SELECT to_regclass('"_prisma_migrations"')::text AS found`);
  return rows[0]?.found != null;
}

async function migrationsIn(dir: string): Promise<readonly Migration[]> {
  const names = (await readdir(dir, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map(({ name }) => name).sort();
  return Promise.all(
    names.map(async (name) => {
      const sql = await readFile(join(dir, name, 'migration.sql'), 'utf8');
      return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') };
    }),
  );
}

function refusal(detail: string, cause?: unknown): CarillonError {
  return new CarillonError('STORE_UNAVAILABLE', detail, cause === undefined ? undefined : { cause });
}
