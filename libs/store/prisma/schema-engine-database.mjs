import { randomUUID } from 'node:crypto';

import { PrismaPg } from '@prisma/adapter-pg';
import { bindMigrationAwareSqlAdapterFactory, ColumnTypeEnum } from '@prisma/driver-adapter-utils';
import pg from 'pg';
import connectionStrings from 'pg-connection-string';

/** Types of PostgreSQL by their number (pg_type). */
const OID_CHAR = 18;
const OID_TEXT = 25;
/** PostgreSQL's codes as the engine's. */
const ENGINE_CODES = { '3D000': 'P1003', '42P04': 'P1009', '28P01': 'P1000' };
const UNREACHABLE = 'P1001';
const UNREACHABLE_STATUS = 1;

/** What the schema engine reaches a database by: adapter-pg with what it lacks for the engine's purposes. */
export function engineDatabase(url) {
  const options = { schema: url === undefined ? undefined : (new URL(url).searchParams.get('schema') ?? undefined) };
  // A connection string would win over `database`, and so the shadow database would be the real one.
  const open = (more) => new PrismaPg({ ...connectionStrings.parse(url ?? 'postgresql://'), connectionString: undefined, ...more }, options).connect();
  const { provider, adapterName } = new PrismaPg({});
  return bindMigrationAwareSqlAdapterFactory({
    provider,
    adapterName,
    connect: async () => mended(await open({ max: 4 })),
    connectToShadowDb: async () => shadow(url, open),
  });
}

/** The commands that are asked for by `cli <name>`; resolves with the exit status. */
export async function runDatabaseCommand(command, { url, log }) {
  try {
    if (command === 'can-connect-to-database') await withClient(url, async () => undefined);
    else if (command === 'create-database') await createDatabase(url);
    else throw new Error(`The schema engine has no command ${command}.`);
    return 0;
  } catch (error) {
    const code = ENGINE_CODES[error.code] ?? UNREACHABLE;
    log('ERROR', error.message || code, { error_code: code });
    return UNREACHABLE_STATUS;
  }
}

async function createDatabase(url) {
  const target = new URL(url);
  const name = decodeURIComponent(target.pathname.slice(1));
  target.pathname = '/postgres';
  await withClient(target.href, (client) => client.query(`CREATE DATABASE ${pg.escapeIdentifier(name)}`));
}

async function withClient(connectionString, work) {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

// adapter-pg's own drops the database before it has left it.
async function shadow(url, open) {
  const admin = new pg.Client({ connectionString: url });
  await admin.connect();
  const database = `prisma_migrate_shadow_db_${randomUUID()}`;
  await admin.query(`CREATE DATABASE "${database}"`);
  const adapter = mended(await open({ database, max: 2 }));
  const leave = adapter.dispose.bind(adapter);
  adapter.dispose = async () => {
    await leave();
    await admin.query(`DROP DATABASE IF EXISTS "${database}" WITH (FORCE)`);
    await admin.end();
  };
  return adapter;
}

function mended(adapter) {
  const begin = adapter.startTransaction.bind(adapter);
  adapter.startTransaction = async (...rest) => mendedQueries(await begin(...rest));
  return mendedQueries(adapter);
}

function mendedQueries(queries) {
  const { performIO, queryRaw } = queries;
  const charColumns = new WeakMap();
  // "char" is missing from adapter-pg's types: it goes through as text and is called a character afterwards.
  queries.performIO = async (query) => {
    const result = await performIO.call(queries, query);
    const chars = result.fields.filter((field) => field.dataTypeID === OID_CHAR);
    charColumns.set(result.rows, result.fields.flatMap((field, at) => (field.dataTypeID === OID_CHAR ? [at] : [])));
    for (const field of chars) field.dataTypeID = OID_TEXT;
    return result;
  };
  queries.queryRaw = async (query) => {
    const result = await queryRaw.call(queries, query);
    for (const at of charColumns.get(result.rows) ?? []) result.columnTypes[at] = ColumnTypeEnum.Character;
    return result;
  };
  // adapter-pg parts a script at every semicolon, also within strings and bodies of functions.
  queries.executeScript = async (script) => {
    try {
      await queries.client.query(script);
    } catch (error) {
      queries.onError(error);
    }
  };
  return queries;
}
