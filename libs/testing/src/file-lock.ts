import { link, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

// Held longer than any download here takes. A lock as old as this is stale although its process seems to live:
// process ids are reused, and containers that share a folder do not see each other's.
const STALE_AFTER_MS = 15 * 60_000;
const RETRY_MS = 50;

/**
 * Runs `work` while holding the lock file `path`, waiting for whoever holds it, in this process or another.
 * The lock of a process that died is taken over.
 */
export async function withFileLock<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  await mkdir(dirname(path), { recursive: true });
  while (!(await acquire(path))) {
    await breakIfStale(path);
    await sleep(RETRY_MS);
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

async function acquire(path: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx');
    await file.writeFile(`${process.pid}\n`);
    await file.close();
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

async function breakIfStale(path: string): Promise<void> {
  const held = await inspect(path);
  if (held === undefined || !held.stale) return;
  // A rename has one winner. Should it have caught the lock of a newcomer instead, that lock is put back.
  const aside = `${path}.stale-${process.pid}-${Math.random().toString(36).slice(2)}`;
  try {
    await rename(path, aside);
  } catch {
    return;
  }
  if ((await inspect(aside))?.stale !== true) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

async function inspect(path: string): Promise<{ readonly stale: boolean } | undefined> {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(path, 'utf8'), stat(path)]);
    const ageMs = Date.now() - mtimeMs;
    const pid = Number.parseInt(text, 10);
    // Between its creation and its first line a lock has no process id yet.
    if (!(pid > 0)) return { stale: ageMs > 5_000 };
    return { stale: ageMs > STALE_AFTER_MS || !isAlive(pid) };
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
