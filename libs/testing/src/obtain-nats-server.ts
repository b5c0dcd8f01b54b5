import { chmod, cp, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { findOnPath, isExecutable, runCommand } from './command.ts';
import { withFileLock } from './file-lock.ts';
import { downloadNatsFromDebian } from './nats-debian.ts';
import { downloadNatsRelease } from './nats-release.ts';
import { repoRoot } from './repo-root.ts';

// The least that Carillon supports: republish and filter_subjects came with 2.10.
const OLDEST = [2, 10, 0] as const;

type Version = readonly [number, number, number];
type Download = (folder: string) => Promise<string>;

/**
 * Path of a nats-server of at least 2.10. In this order: $CARILLON_NATS_SERVER_BIN, PATH, the repository's own cache
 * (`.cache/nats-server/<version>/`), the official release, Debian's suite forky; what was downloaded is kept in the cache.
 * Callers in several processes wait for one download. When every way fails the error says what to do.
 */
export async function obtainNatsServer(): Promise<string> {
  const named = process.env['CARILLON_NATS_SERVER_BIN'];
  if (named !== undefined && named !== '') return checkNamed(named);
  const onPath = findOnPath('nats-server');
  if (onPath !== undefined && isNewEnough(await versionOf(onPath))) return onPath;

  const cache = join(repoRoot(), '.cache', 'nats-server');
  return (await newestCached(cache)) ?? withFileLock(join(cache, '.lock'), async () => (await newestCached(cache)) ?? download(cache));
}

async function checkNamed(path: string): Promise<string> {
  const version = await versionOf(path);
  if (version !== undefined && compare(version, OLDEST) >= 0) return path;
  const found = version === undefined ? 'not a nats-server that runs here' : `version ${version.join('.')}`;
  throw new Error(`CARILLON_NATS_SERVER_BIN names ${path}, which is ${found}; name a nats-server of 2.10 or later, or unset it.`);
}

async function newestCached(cache: string): Promise<string | undefined> {
  const folders = await readdir(cache).catch(() => []);
  const versions = folders.map(parseVersion).filter(isNewEnough);
  const paths = versions.sort((left, right) => compare(right, left)).map((version) => join(cache, version.join('.'), 'nats-server'));
  return paths.find(isExecutable);
}

async function download(cache: string): Promise<string> {
  const failures: string[] = [];
  const ways: readonly (readonly [string, Download])[] = [
    ['the official release', downloadNatsRelease],
    ['Debian forky', downloadNatsFromDebian],
  ];
  for (const [name, way] of ways) {
    const folder = await mkdtemp(join(cache, '.download-'));
    try {
      return await keep(await way(folder), cache);
    } catch (error) {
      failures.push(`${name}: ${describe(error)}`);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  throw new Error(
    `There is no nats-server of 2.10 or later here and none could be downloaded (${failures.join('; ')}). ` +
      'Install one so that it is on PATH, or set CARILLON_NATS_SERVER_BIN to its path.',
  );
}

async function keep(program: string, cache: string): Promise<string> {
  await chmod(program, 0o755);
  const version = await versionOf(program);
  if (!isNewEnough(version)) throw new Error('what was downloaded is not a nats-server of 2.10 or later that runs here');
  const staged = join(dirname(program), '.staged');
  await mkdir(staged);
  await cp(program, join(staged, 'nats-server'));
  const home = join(cache, version.join('.'));
  await rm(home, { recursive: true, force: true });
  await rename(staged, home);
  return join(home, 'nats-server');
}

async function versionOf(path: string): Promise<Version | undefined> {
  return parseVersion(await runCommand(path, ['--version'], { timeoutMs: 10_000 }).catch(() => ''));
}

function parseVersion(text: string): Version | undefined {
  const match = /(\d+)\.(\d+)\.(\d+)/.exec(text);
  return match === null ? undefined : [Number(match[1]), Number(match[2]), Number(match[3])];
}

const isNewEnough = (version: Version | undefined): version is Version => version !== undefined && compare(version, OLDEST) >= 0;

const compare = (left: Version, right: Version): number => left[0] - right[0] || left[1] - right[1] || left[2] - right[2];

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.message === 'fetch failed' ? error.cause.message : error.message;
}
