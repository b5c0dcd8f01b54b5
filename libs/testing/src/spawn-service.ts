import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { stopEmbeddedPostgres } from './embedded-postgres.ts';
import { ownStoppable } from './owned-by-test.ts';
import { startProcess, type OwnedProcess, type ProcessExit } from './owned-process.ts';
import { repoRoot } from './repo-root.ts';

// A start takes 1–3 s; a machine that has other things to do takes ten times that.
const READY_TIMEOUT_MS = 90_000;
const POLL_INTERVAL_MS = 25;
const POLL_TIMEOUT_MS = 2_000;
const STOP_TIMEOUT_MS = 15_000;
const TAIL_CHARACTERS = 2_000;
// USER_HZ: what the kernel counts CPU time in towards user space, on every architecture that Node supports.
const CLOCK_TICKS_PER_SECOND = 100;

export interface SpawnServiceOptions {
  /** A program and its first arguments; or a script's path from the repository's root, run from its TypeScript source. */
  readonly command: readonly string[] | string;
  readonly args?: readonly string[];
  /**
   * Added to the environment of this process, of which `CARILLON_*` and vitest's own are left out; `undefined` removes a name.
   * Without a CARILLON_DATA_DIR among them it gets a folder of its own, which goes when it ends.
   */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Ready when the output matches, or when this URL answers 200; without it as soon as the process runs. */
  readonly readyWhen?: RegExp | string;
  /** 90,000 by default. */
  readonly readyTimeoutMs?: number;
}

export interface SpawnedService {
  readonly pid: number;
  /** Standard output, the last 4 MiB. */
  stdout(): string;
  /** Standard error, the last 4 MiB. */
  stderr(): string;
  /** The lines of both that are JSON objects, standard output's first. */
  logs(): readonly Readonly<Record<string, unknown>>[];
  /** Sends a signal to the process itself (not to its children) and does not wait; `exited` tells the end. */
  kill(signal?: NodeJS.Signals): void;
  /** SIGTERM, then SIGKILL after 15 s (seen in the result), then what is left of its process group is killed. */
  stop(): Promise<ProcessExit>;
  readonly exited: Promise<ProcessExit>;
  /** Resident memory; 0 once the process has ended. Linux only. */
  rssBytes(): number;
  /** CPU time of all its threads, user and system; 0 once the process has ended. Linux only. */
  cpuSeconds(): number;
}

/** Starts a service and waits until it is ready; throws with the end of its output if it ends or dallies. It dies with the test process. */
export async function spawnService(options: SpawnServiceOptions): Promise<SpawnedService> {
  const ownFolder = options.env !== undefined && 'CARILLON_DATA_DIR' in options.env ? undefined : await mkdtemp(join(tmpdir(), 'carillon-data-'));
  const owned = await startProcess(commandLine(options), { cwd: repoRoot(), env: environment({ ...(ownFolder === undefined ? {} : { CARILLON_DATA_DIR: ownFolder }), ...options.env }) });
  const disown = ownStoppable(stop);
  const gone = owned.exited.then(async (exit) => {
    disown();
    if (ownFolder !== undefined) await removeFolder(ownFolder);
    return exit;
  });

  async function stop(): Promise<ProcessExit> {
    disown();
    owned.kill('SIGTERM');
    owned.kill('SIGCONT');
    const timer = setTimeout(() => owned.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await owned.exited;
    clearTimeout(timer);
    owned.killGroup();
    return gone;
  }

  try {
    await untilReady(owned, options);
  } catch (error) {
    disown();
    owned.killGroup();
    await gone;
    throw error;
  }
  return {
    pid: owned.pid,
    stdout: () => owned.stdout(),
    stderr: () => owned.stderr(),
    logs: () => [...jsonLines(owned.stdout()), ...jsonLines(owned.stderr())],
    kill: (signal = 'SIGKILL') => owned.kill(signal),
    stop,
    exited: gone,
    rssBytes: () => (owned.hasExited ? 0 : rssBytes(owned.pid)),
    cpuSeconds: () => (owned.hasExited ? 0 : cpuSeconds(owned.pid)),
  };
}

/** Also a PostgreSQL that the service had started there and, killed, could not stop. */
async function removeFolder(folder: string): Promise<void> {
  await stopEmbeddedPostgres(folder);
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}

function commandLine({ command, args = [] }: SpawnServiceOptions): readonly string[] {
  if (typeof command !== 'string') return [...command, ...args];
  return [process.execPath, '--conditions=@carillon/source', '--import', 'tsx', resolve(repoRoot(), command), ...args];
}

function environment(added: SpawnServiceOptions['env']): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^(CARILLON_|VITEST|NODE_ENV$|NODE_OPTIONS$)/.test(name));
  return { ...Object.fromEntries(own), ...added };
}

async function untilReady(owned: OwnedProcess, { readyWhen, readyTimeoutMs = READY_TIMEOUT_MS }: SpawnServiceOptions): Promise<void> {
  if (readyWhen === undefined) return;
  const over = new AbortController();
  const ended = owned.exited.then((exit) => {
    throw new Error(`The service ended (${exit.signal ?? exit.code ?? 'unknown'}) before it was ready.${tail(owned)}`);
  });
  const late = sleep(readyTimeoutMs, undefined, { signal: over.signal }).then(() => {
    throw new Error(`The service was not ready within ${readyTimeoutMs} ms (waiting for ${String(readyWhen)}).${tail(owned)}`);
  });
  ended.catch(() => undefined);
  late.catch(() => undefined);
  try {
    await Promise.race([typeof readyWhen === 'string' ? answers(readyWhen, over.signal) : prints(owned, readyWhen), ended, late]);
  } finally {
    over.abort();
  }
}

function prints(owned: OwnedProcess, pattern: RegExp): Promise<void> {
  return new Promise((done) => {
    const look = () => {
      // A pattern with the g or y flag would begin where it last matched.
      const fresh = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''));
      if (!fresh.test(owned.stdout()) && !fresh.test(owned.stderr())) return;
      end();
      done();
    };
    const end = owned.onOutput(look);
    look();
  });
}

async function answers(url: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(POLL_TIMEOUT_MS)]) }).catch(() => undefined);
    await response?.body?.cancel();
    if (response?.status === 200) return;
    await sleep(POLL_INTERVAL_MS);
  }
}

function tail(owned: OwnedProcess): string {
  const output = `${owned.stdout()}${owned.stderr()}`.trim().slice(-TAIL_CHARACTERS);
  return output === '' ? ' It printed nothing.' : ` It printed last:\n${output}`;
}

function jsonLines(text: string): readonly Readonly<Record<string, unknown>>[] {
  return text.split('\n').flatMap((line) => {
    if (!line.startsWith('{')) return [];
    try {
      return [JSON.parse(line) as Readonly<Record<string, unknown>>];
    } catch {
      return [];
    }
  });
}

function rssBytes(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kibibytes ?? 0) * 1024;
}

function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // Field 2, the name, may hold blanks and brackets; after it come fields 3 on: 14 is user time, 15 system time (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
}
