import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { migrate } from './migrate.ts';
import { usePostgres } from './postgres.fixture.ts';
import { expectCode } from './samples.fixture.ts';

const postgres = usePostgres();
const root = fileURLToPath(new URL('..', import.meta.url));
const MIGRATIONS = join(root, 'prisma', 'migrations');
const SCHEMA = join(root, 'prisma', 'schema.prisma');
const cli = createRequire(import.meta.url).resolve('prisma/build/index.js');
let scratch = '';

beforeAll(async () => {
  await mkdir(join(root, 'dist'), { recursive: true });
  scratch = await mkdtemp(join(root, 'dist', 'migrate-test-'));
});
afterAll(async () => rm(scratch, { recursive: true, force: true }));

/** A command of Prisma's, which never leaves this machine: whatever it tries to download, it would from a proxy that is not there. */
const prisma = async (url: string, ...args: readonly string[]) =>
  new Promise<{ readonly status: number; readonly output: string }>((resolve) => {
    const nowhere = 'http://127.0.0.1:1';
    const env = { PATH: process.env['PATH'], HOME: scratch, CARILLON_DATABASE_URL: url, HTTP_PROXY: nowhere, HTTPS_PROXY: nowhere, http_proxy: nowhere, https_proxy: nowhere };
    execFile(process.execPath, [cli, ...args], { cwd: root, env }, (error, stdout, stderr) => resolve({ status: error === null ? 0 : Number(error.code), output: stdout + stderr }));
  });

/** The migrations with one more, or others. */
const migrationsWith = async (extra: Readonly<Record<string, string>>) => {
  const dir = await mkdtemp(join(scratch, 'm-'));
  await cp(MIGRATIONS, dir, { recursive: true });
  for (const [name, sql] of Object.entries(extra)) {
    await mkdir(join(dir, name), { recursive: true });
    await writeFile(join(dir, name, 'migration.sql'), sql);
  }
  return dir;
};

const applied = async (url: string) => (await postgres.ask(url, 'SELECT migration_name AS name FROM _prisma_migrations WHERE finished_at IS NOT NULL ORDER BY 1')).map(({ name }) => name);

describe('migrations', () => {
  it('are applied once, in order, and never twice, however many start at the same time', async () => {
    const url = await postgres.create();
    const done = await Promise.all(Array.from({ length: 5 }, async () => migrate(url)));
    expect(done.flat()).toEqual(['0001_access']);
    expect(await applied(url)).toEqual(['0001_access']);
    const more = await migrationsWith({ '0003_c': 'CREATE TABLE c AS SELECT * FROM b', '0002_b': 'CREATE TABLE b (x int)' });
    expect(await migrate(url, more)).toEqual(['0002_b', '0003_c']);
    expect(await migrate(url, more)).toEqual([]);
  });

  it('leave nothing of one that fails, and may be tried again once it is mended', async () => {
    const url = await postgres.create();
    const dir = await migrationsWith({ '0002_half': 'CREATE TABLE half (x int); SELECT 1/0;' });
    const fault = await expectCode('STORE_UNAVAILABLE', migrate(url, dir));
    expect(fault.message).toContain('0002_half failed, and nothing of it was kept: division by zero');
    expect(await applied(url)).toEqual(['0001_access']);
    expect(await postgres.ask(url, "SELECT to_regclass('half') AS found")).toEqual([{ found: null }]);
    expect(await migrate(url, await migrationsWith({ '0002_half': 'CREATE TABLE half (x int);' }))).toEqual(['0002_half']);
  });

  it('refuse a database of a newer program, one that was edited, and one that failed', async () => {
    const url = await postgres.create();
    await migrate(url, await migrationsWith({ '0099_later': 'SELECT 1' }));
    expect((await expectCode('STORE_UNAVAILABLE', migrate(url))).message).toContain('0099_later, which this program does not know: it belongs to a newer version');
    const edited = await migrationsWith({ '0099_later': 'SELECT 2' });
    expect((await expectCode('STORE_UNAVAILABLE', migrate(url, edited))).message).toContain('0099_later was edited after it was applied');
    await postgres.ask(url, "UPDATE _prisma_migrations SET finished_at = NULL WHERE migration_name = '0099_later'");
    expect((await expectCode('STORE_UNAVAILABLE', migrate(url))).message).toContain('0099_later failed earlier');
    await postgres.ask(url, "UPDATE _prisma_migrations SET rolled_back_at = now() WHERE migration_name = '0099_later'");
    expect(await migrate(url)).toEqual([]);
  });

  it('are run by those who may not make schemas', async () => {
    const url = new URL(await postgres.create());
    await postgres.ask(url.href, "CREATE ROLE plain LOGIN PASSWORD 'plain'");
    await postgres.ask(url.href, 'GRANT CREATE ON SCHEMA public TO plain');
    await postgres.ask(url.href, `REVOKE ALL ON DATABASE ${url.pathname.slice(1)} FROM public`);
    await postgres.ask(url.href, `GRANT CONNECT ON DATABASE ${url.pathname.slice(1)} TO plain`);
    expect(await migrate(Object.assign(new URL(url), { username: 'plain', password: 'plain' }).href)).toEqual(['0001_access']);
  });
});

describe("Prisma's own commands, offline", { timeout: 120_000 }, () => {
  it('find no difference between the migrations and the schema, and none to the database', async () => {
    const url = await postgres.create();
    await migrate(url);
    expect(await prisma(url, 'migrate', 'diff', '--from-migrations', MIGRATIONS, '--to-schema', SCHEMA, '--exit-code')).toMatchObject({ status: 0, output: expect.stringContaining('No difference detected') as string });
    expect(await prisma(url, 'migrate', 'diff', '--from-config-datasource', '--to-schema', SCHEMA, '--exit-code')).toMatchObject({ status: 0, output: expect.stringContaining('No difference detected') as string });
  });

  it('notice a schema that was changed, and a database', async () => {
    const url = await postgres.create();
    await migrate(url);
    const changed = join(scratch, 'changed.prisma');
    for (const [from, to] of [['model Device {', 'model Device {\n  extra String?'], ['enabled     Boolean', 'enabled     Boolean?'], ['@@unique([workspaceId, room, name])', ''], ['onDelete: Cascade', 'onDelete: Restrict']] as const) {
      const schema = await readFile(SCHEMA, 'utf8');
      expect(schema).toContain(from);
      await writeFile(changed, schema.replace(from, to));
      expect(await prisma(url, 'migrate', 'diff', '--from-migrations', MIGRATIONS, '--to-schema', changed, '--exit-code')).toMatchObject({ status: 2 });
    }
    await postgres.ask(url, 'ALTER TABLE devices DROP COLUMN enabled');
    const difference = await prisma(url, 'migrate', 'diff', '--from-config-datasource', '--to-schema', SCHEMA, '--exit-code');
    expect(difference).toMatchObject({ status: 2, output: expect.stringContaining('enabled') as string });
  });

  it('fail rather than find nothing when they cannot look', async () => {
    const nowhere = 'postgresql://a:b@127.0.0.1:1/none';
    expect((await prisma(nowhere, 'migrate', 'diff', '--from-config-datasource', '--to-schema', SCHEMA, '--exit-code')).status).toBe(1);
    const broken = join(scratch, 'broken.prisma');
    await writeFile(broken, 'model Nothing {');
    expect((await prisma(await postgres.create(), 'migrate', 'diff', '--from-migrations', MIGRATIONS, '--to-schema', broken, '--exit-code')).status).toBe(1);
  });

  it('and ours take turns on one database', async () => {
    const ours = await postgres.create();
    expect(await prisma(ours, 'migrate', 'status')).toMatchObject({ status: 1 });
    await migrate(ours);
    expect(await prisma(ours, 'migrate', 'status')).toMatchObject({ status: 0, output: expect.stringContaining('up to date') as string });
    expect(await prisma(ours, 'migrate', 'deploy')).toMatchObject({ status: 0, output: expect.stringContaining('No pending migrations') as string });
    const theirs = await postgres.create();
    expect((await prisma(theirs, 'migrate', 'deploy')).status).toBe(0);
    expect(await migrate(theirs)).toEqual([]);
    const columns = 'SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY 1, 2';
    expect(await postgres.ask(theirs, columns)).toEqual(await postgres.ask(ours, columns));
  });
});
