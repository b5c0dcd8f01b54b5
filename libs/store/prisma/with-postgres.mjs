/*
 * Runs a command of Prisma's, e.g. `migrate dev --create-only --name …`, with the database that CARILLON_DATABASE_URL names, or else
 * with an embedded PostgreSQL made for this one run. Needs no network.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { startEmbeddedPostgres } from '../src/embedded/embedded-postgres.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const cli = createRequire(import.meta.url).resolve('prisma/build/index.js');
const given = process.env.CARILLON_DATABASE_URL;

const run = (url) =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cli, ...process.argv.slice(2)], { cwd: root, stdio: 'inherit', env: { ...process.env, CARILLON_DATABASE_URL: url } });
    child.once('error', reject);
    child.once('exit', (status) => resolve(status ?? 1));
  });

if (given !== undefined) {
  process.exitCode = await run(given);
} else {
  const dir = await mkdtemp(join(tmpdir(), 'carillon-prisma-'));
  // A Ctrl-C is for Prisma; what was started here is stopped after it.
  process.on('SIGINT', () => undefined);
  try {
    const postgres = await startEmbeddedPostgres({ dir, settings: { fsync: 'off' } });
    process.exitCode = await run(postgres.url).finally(() => postgres.stop());
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
