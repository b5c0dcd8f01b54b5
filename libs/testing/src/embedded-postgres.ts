import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { eventually } from './eventually.ts';

/** Ends a PostgreSQL that runs on the files of a data folder, at once, as a power cut would; nothing when none does. */
export async function stopEmbeddedPostgres(dataDir: string): Promise<void> {
  const pid = embeddedPostgresPid(dataDir);
  if (pid === undefined) return;
  try {
    // SIGQUIT: the postmaster takes its children along, which SIGKILL would leave behind.
    process.kill(pid, 'SIGQUIT');
  } catch {
    return;
  }
  await eventually(() => !isAlive(pid), { what: `PostgreSQL ${pid} to end` });
}

/** The postmaster that runs on the files of a data folder (its pid file's first line). */
export function embeddedPostgresPid(dataDir: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(dataDir, 'postgres', 'data', 'postmaster.pid'), 'utf8').split('\n', 1)[0]);
    return Number.isSafeInteger(pid) && pid > 1 && isAlive(pid) ? pid : undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
