import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

export interface Child {
  /** Whole lines of its standard output so far. */
  lines(): readonly string[];
  /** Resolves once it has printed this line. */
  prints(line: string): Promise<void>;
  kill(): Promise<void>;
  ended(): Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null; readonly errors: string }>;
}

/** Runs a fixture of this folder as a process of its own. */
export function startChild(fixture: string, args: readonly string[]): Child {
  const path = fileURLToPath(new URL(fixture, import.meta.url));
  const child: ChildProcessByStdio<null, Readable, Readable> = spawn(process.execPath, ['--conditions=@carillon/source', '--import', 'tsx', path, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout.on('data', (chunk) => (output += String(chunk)));
  child.stderr.on('data', (chunk) => (errors += String(chunk)));
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  const lines = (): readonly string[] => output.split('\n').slice(0, -1);
  return {
    lines,
    prints: async (line) => {
      while (!lines().includes(line)) await Promise.race([once(child.stdout, 'data'), closed.then(([code]) => Promise.reject(new Error(`it ended with ${code}: ${errors.slice(-2_000)}`)))]);
    },
    kill: async () => {
      child.kill('SIGKILL');
      await closed;
    },
    ended: async () => {
      const [code, signal] = await closed;
      return { code, signal, errors };
    },
  };
}
