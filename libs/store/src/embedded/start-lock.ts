import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import { embeddedFault } from './fault.ts';
import { isAlive, startOf } from './process-of.ts';

const RETRY_MS = 50;

/** Runs `work` while this process alone holds the lock file; whoever died with it has lost it. `STORE_UNAVAILABLE` after `waitMs`. */
export async function withStartLock<T>(path: string, { waitMs, work }: { readonly waitMs: number; readonly work: () => Promise<T> }): Promise<T> {
  const mine = `${process.pid} ${await startOf(process.pid)} ${randomUUID()}\n`;
  const deadline = performance.now() + waitMs;
  while (!(await acquire(path, mine))) {
    await breakIfStale(path);
    if (performance.now() > deadline) throw embeddedFault(`Another process has been starting the embedded PostgreSQL for ${Math.round(waitMs / 1_000)} s (it holds ${path})`, 'End it');
    await sleep(RETRY_MS);
  }
  try {
    return await work();
  } finally {
    if ((await holder(path)) === mine) await rm(path, { force: true });
  }
}

// A link appears with its content: nobody ever reads a lock without its holder in it.
async function acquire(path: string, mine: string): Promise<boolean> {
  const own = `${path}.${randomUUID()}`;
  try {
    await writeFile(own, mine, { mode: 0o600 });
    await link(own, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(own, { force: true });
  }
}

async function breakIfStale(path: string): Promise<void> {
  const found = await holder(path);
  if (found === undefined || (await isHeld(found))) return;
  // A rename has one winner. Should it have caught the lock of a newcomer, that is put back.
  const aside = `${path}.${randomUUID()}`;
  await rename(path, aside).catch(() => undefined);
  const caught = await holder(aside);
  if (caught !== undefined && caught !== found) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

async function isHeld(found: string): Promise<boolean> {
  const [pid = '', start = ''] = found.trim().split(' ');
  return isAlive(Number(pid)) && (await startOf(Number(pid))) === start;
}

async function holder(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}
