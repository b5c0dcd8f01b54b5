import { randomBytes } from 'node:crypto';
import { closeSync, constants, openSync, renameSync, statSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { LogError } from './event-log.ts';

/*
 * Whoever has a directory listens on a socket in it. The kernel ends that with the process, however it ends, and numbers of
 * processes that are given anew (or that mean another process in another container) do not matter.
 */
const LOCK_FILE = 'owner.sock';
// Two that find a dead owner at once both take its place; the later one stays, and the other sees it within this time.
const TAKEOVER_MS = 30;

export interface DirectoryLock {
  release(): Promise<void>;
}

/** Makes this process the owner of a directory. Rejects LOG_UNAVAILABLE when another one is. */
export async function lockDirectory(dir: string): Promise<DirectoryLock> {
  const folder = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    // The path of a socket has 108 bytes at most; by the descriptor it is short, wherever the directory is.
    const base = process.platform === 'linux' ? `/proc/self/fd/${folder}` : dir;
    return await lockAt(dir, base);
  } finally {
    closeSync(folder);
  }
}

async function lockAt(dir: string, base: string): Promise<DirectoryLock> {
  if (await isOwned(join(base, LOCK_FILE))) throw owned(dir);
  const ownName = `owner-${randomBytes(6).toString('hex')}.sock`;
  const server = await listenAt(join(base, ownName));
  try {
    const { ino } = statSync(join(dir, ownName));
    renameSync(join(dir, ownName), join(dir, LOCK_FILE));
    await sleep(TAKEOVER_MS);
    if (statSync(join(dir, LOCK_FILE)).ino !== ino) throw owned(dir);
    return { release: () => closed(server) };
  } catch (error) {
    await closed(server);
    throw error instanceof LogError ? error : new LogError('LOG_UNAVAILABLE', `The directory ${dir} cannot be locked.`, { cause: error });
  }
}

const owned = (dir: string): LogError => new LogError('LOG_UNAVAILABLE', `The log in ${dir} is open in another process; one at a time may have it.`);

function isOwned(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    // Whatever else is wrong with it (its owner has no time to answer) does not say that nobody has it.
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT'));
  });
}

function listenAt(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (cause) => reject(new LogError('LOG_UNAVAILABLE', 'The log\'s directory cannot be locked.', { cause })));
    server.listen(path, () => resolve(server.unref()));
  });
}

// The file stays: who comes next finds nobody behind it and takes its place. To delete it could delete a successor's.
const closed = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()));

