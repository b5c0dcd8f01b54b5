import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { isAlive, startOf } from './process-of.ts';

/**
 * Who is to stop the server of a directory: the process that started it or, when that one is gone, the first that comes
 * after. To be called under the start lock. True: this process, by this call.
 */
export async function becomeOwner(dir: string, { isStarter }: { readonly isStarter: boolean }): Promise<boolean> {
  const path = join(dir, 'owner');
  if (!isStarter && (await isOwned(path))) return false;
  await writeFile(path, `${process.pid} ${await startOf(process.pid)}\n`, { mode: 0o600 });
  return true;
}

async function isOwned(path: string): Promise<boolean> {
  const [pid = '', start = ''] = (await readFile(path, 'utf8').catch(() => '')).trim().split(' ');
  return Number(pid) > 0 && isAlive(Number(pid)) && (await startOf(Number(pid))) === start;
}
