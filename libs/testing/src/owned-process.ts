import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

import { OutputTail } from './output-tail.ts';
import { ownProcessGroup } from './owned-by-test.ts';

// Enough to see how a long chaos run ended, little enough to hold for every process of it.
const OUTPUT_MAX_BYTES = 4 * 1024 * 1024;
// A grandchild may hold the pipes open after the process itself has ended.
const OUTPUT_AFTER_EXIT_MS = 250;
const PAUSE_TIMEOUT_MS = 1_000;

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface OwnedProcess {
  readonly pid: number;
  /** What the process printed; of each stream the last 4 MiB are kept. */
  stdout(): string;
  stderr(): string;
  /** Calls `listener` after each piece of output; gives a function that ends it. */
  onOutput(listener: () => void): () => void;
  /** Sends a signal to this process alone; does nothing once it has ended. */
  kill(signal: NodeJS.Signals): void;
  /** SIGSTOP, and does not return before every thread of it stands still (on Linux; elsewhere it does not wait). */
  pause(): void;
  /** Kills whatever of its process group is left. */
  killGroup(): void;
  readonly hasExited: boolean;
  readonly exited: Promise<ProcessExit>;
}

/** Starts a program in a process group of its own that does not outlive the test process. */
export async function startProcess(command: readonly string[], options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv }): Promise<OwnedProcess> {
  const [file, ...args] = command;
  if (file === undefined) throw new Error('A command needs at least the name of a program.');
  const child = spawn(file, args, { ...options, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const pid = await spawned(child);
  const group = ownProcessGroup(pid);

  const stdout = new OutputTail(OUTPUT_MAX_BYTES);
  const stderr = new OutputTail(OUTPUT_MAX_BYTES);
  const listeners = new Set<() => void>();
  const collect = (tail: OutputTail) => (chunk: Buffer) => {
    tail.push(chunk);
    for (const listener of listeners) listener();
  };
  child.stdout.on('data', collect(stdout));
  child.stderr.on('data', collect(stderr));

  return {
    pid,
    stdout: () => stdout.text(),
    stderr: () => stderr.text(),
    onOutput: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    kill: (signal) => {
      if (!hasEnded(child)) child.kill(signal);
    },
    pause: () => {
      if (hasEnded(child)) return;
      child.kill('SIGSTOP');
      const deadline = performance.now() + PAUSE_TIMEOUT_MS;
      while (!standsStill(pid) && performance.now() < deadline);
    },
    killGroup: () => group.end(),
    get hasExited() {
      return hasEnded(child);
    },
    exited: exitOf(child),
  };
}

function spawned(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('spawn', () => {
      child.off('error', reject);
      child.on('error', () => undefined);
      resolve(child.pid ?? 0);
    });
  });
}

function exitOf(child: ChildProcess): Promise<ProcessExit> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      const done = () => {
        clearTimeout(timer);
        child.stdout?.destroy();
        child.stderr?.destroy();
        resolve({ code, signal });
      };
      const timer = setTimeout(done, OUTPUT_AFTER_EXIT_MS);
      child.once('close', done);
    });
  });
}

// A thread on another core runs on for a moment after the signal was sent; state T is "stopped" (proc(5)).
function standsStill(pid: number): boolean {
  if (process.platform !== 'linux') return true;
  try {
    return readdirSync(`/proc/${pid}/task`).every((thread) => {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      return /^[TZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
    });
  } catch {
    return false;
  }
}

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null;
