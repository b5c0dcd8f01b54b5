import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Whether a process of this id is there, whoever's it is; a zombie is. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The command line of a process, its arguments parted by U+0000 or spaces; '' of a zombie, undefined when it cannot be known. */
export async function commandLineOf(pid: number): Promise<string | undefined> {
  if (process.platform === 'linux') return readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined);
  if (process.platform === 'win32') return undefined;
  return run('ps', ['-o', 'command=', '-p', String(pid)]).then(({ stdout }) => stdout, () => undefined);
}

/** Tells a process from a later one of the same id: its start, in clock ticks since boot. Linux only, elsewhere ''. */
export async function startOf(pid: number): Promise<string> {
  if (process.platform !== 'linux') return '';
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The name in parentheses may hold anything; the start is the 22nd field, the 20th after it (proc(5)).
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}
