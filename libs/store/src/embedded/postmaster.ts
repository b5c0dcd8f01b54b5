import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { commandLineOf, isAlive } from './process-of.ts';

/** What `postmaster.pid` says of the server of a data directory (https://www.postgresql.org/docs/18/storage-file-layout.html). */
export interface Postmaster {
  readonly pid: number;
  readonly port: number;
  readonly status: 'starting' | 'stopping' | 'ready';
}

const LINE = { pid: 0, port: 3, status: 7 } as const;

/** The server that runs on `data`; undefined when none does, also when a file says so that nobody took away. */
export async function runningPostmaster(data: string): Promise<Postmaster | undefined> {
  const lines = await pidFile(data);
  if (lines === undefined) return undefined;
  const pid = Number(lines[LINE.pid]);
  if (!(pid > 0) || !(await isPostgresOn(data, pid))) return undefined;
  const said = lines[LINE.status]?.trim();
  return { pid, port: Number(lines[LINE.port]), status: said === 'ready' || said === 'stopping' ? said : 'starting' };
}

/**
 * PostgreSQL does not start where the file names a process that is alive, although another program may have got that id since
 * (in a container that starts anew it nearly always has). It overlooks the id of the process that starts it, so that one is written
 * in; what is left of the file lets it find out whether remains of the old server still use the data.
 */
export async function disownStalePidFile(data: string): Promise<void> {
  const lines = await pidFile(data);
  if (lines === undefined || !isAlive(Number(lines[LINE.pid]))) return;
  await writeFile(join(data, 'postmaster.pid'), [process.pid, ...lines.slice(1)].join('\n'));
}

/** Whether the process is a PostgreSQL server of this data directory; where command lines cannot be read: whether it is alive. */
export async function isPostgresOn(data: string, pid: number): Promise<boolean> {
  if (!isAlive(pid)) return false;
  const line = await commandLineOf(pid);
  return line === undefined ? process.platform !== 'linux' : line.includes('postgres') && line.replaceAll('\0', ' ').includes(`-D ${data} `);
}

async function pidFile(data: string): Promise<readonly string[] | undefined> {
  const text = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => undefined);
  return text === undefined || text.trim() === '' ? undefined : text.split('\n');
}
