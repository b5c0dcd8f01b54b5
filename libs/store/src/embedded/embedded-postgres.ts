import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, open, readFile, realpath, rename, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { askOnce } from '../ask-once.ts';
import { postgresBinaries, type PostgresBinaries } from './binaries.ts';
import { clusterFiles, EMBEDDED_NAME, ensureCluster, type ClusterFiles } from './cluster.ts';
import { embeddedFault, faultOfOutput } from './fault.ts';
import { becomeOwner } from './owner.ts';
import { disownStalePidFile, isPostgresOn, runningPostmaster, type Postmaster } from './postmaster.ts';
import { runProgram, unprivileged, type RunAs } from './run-as.ts';
import { withStartLock } from './start-lock.ts';

/*
 * lock ─▶ a server runs on the data? ── yes ─▶ wait until it is ready ─▶ adopt it
 *                │ no
 *                └▶ make the cluster unless it is there ─▶ spawn it, in a session of its own ─▶ wait until it is ready
 *
 * A server outlives the process that started it, unless that one stops it: whoever comes next adopts it, and owns it then.
 */

/** Recovery after a crash reads up to a gigabyte of log before the server is ready. */
const READY_TIMEOUT_MS = 120_000;
/** As long as the two longest things that a holder may do. */
const LOCK_TIMEOUT_MS = 2 * READY_TIMEOUT_MS;
/** After this a fast stop becomes an immediate one, which costs the next start a recovery and no data. */
const STOP_TIMEOUT_MS = 30_000;
const POLL_MS = 20;
/** What is left of a killed server lets go of the data within moments. */
const REMAINS_TIMEOUT_MS = 15_000;
const REMAINS_POLL_MS = 200;
const GONE_TIMEOUT_MS = 2_000;
const LOG_MAX_BYTES = 8 * 1024 * 1024;
/** Below what Linux and macOS hand out to outgoing connections, so that nobody takes the port while the server restarts. */
const PORT_LOWEST = 10_240;
const PORT_COUNT = 22_000;

export interface EmbeddedOptions {
  /** Made with mode 0700 unless it is there; holds the data, the password and the server's log. */
  readonly dir: string;
  /** Server settings over ours, e.g. `{ fsync: 'off' }` for tests. They count only when the server is started, not adopted. */
  readonly settings?: Readonly<Record<string, string>> | undefined;
}

export interface EmbeddedPostgres {
  /** Holds the password: not for logs. */
  readonly url: string;
  readonly pid: number;
  readonly port: number;
  /** It ran already. */
  readonly adopted: boolean;
  /** Whether this handle is the one whose end is the server's: it started it, or who did is gone. */
  readonly owned: boolean;
  /** Ends all connections and stops the server in order; resolves when it is gone. Does nothing once another server runs on the data. */
  stop(): Promise<void>;
  /** SIGKILL, as the kernel does it when memory is short. */
  kill(): void;
}

/**
 * Starts PostgreSQL on loopback, or adopts the one that runs on the directory. Several at once, of any processes, end up on one
 * server. Survives that it or its starter was killed at any moment. `STORE_UNAVAILABLE` says what is in the way and what to do.
 */
export async function startEmbeddedPostgres({ dir, settings = {} }: EmbeddedOptions): Promise<EmbeddedPostgres> {
  await mkdir(dir, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    throw embeddedFault(`${dir} cannot be made for the embedded PostgreSQL`, 'Choose another CARILLON_DATA_DIR', error);
  });
  const files = clusterFiles(await realpath(dir));
  const binaries = await postgresBinaries();
  return withStartLock(join(files.dir, 'start.lock'), { waitMs: LOCK_TIMEOUT_MS, work: async () => startOrAdopt(files, { binaries, settings }) }).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EACCES' || code === 'EPERM' || code === 'EROFS') throw faultOfErrno(code, files);
    throw error;
  });
}

async function startOrAdopt(files: ClusterFiles, { binaries, settings }: { readonly binaries: PostgresBinaries; readonly settings: Readonly<Record<string, string>> }): Promise<EmbeddedPostgres> {
  const as = await unprivileged();
  await as.own(files.dir);
  const password = await ensureCluster(files, { binaries, as, sync: settings['fsync'] !== 'off' });
  const url = (database: string, port: number) => `postgresql://${EMBEDDED_NAME}:${password}@127.0.0.1:${port}/${database}`;
  const { running, pid, port } = await reachable(files, { binaries, as, settings, url: (of) => url('postgres', of) });
  const owned = await becomeOwner(files.dir, { isStarter: !running });
  return { url: url(EMBEDDED_NAME, port), pid, port, adopted: running, owned, stop: async () => stop(files, { pid, binaries, as }), kill: () => void process.kill(pid, 'SIGKILL') };
}

/** A server that lets this program in. One that runs already may be on its way out: what comes after it is started. */
async function reachable(files: ClusterFiles, { url, ...options }: StartOptions & { readonly url: (port: number) => string }): Promise<{ readonly running: boolean; readonly pid: number; readonly port: number }> {
  for (;;) {
    const adopted = await adoptable(files);
    const { pid, port } = adopted ?? (await start(files, options));
    try {
      await ensureDatabase(url(port));
      return { running: adopted !== undefined, pid, port };
    } catch (error) {
      if (adopted === undefined) await stop(files, { pid, binaries: options.binaries, as: options.as });
      if (adopted === undefined || !(await isGoneSoon(files, pid))) throw error;
    }
  }
}

/** A killed process is there for a moment longer. */
async function isGoneSoon({ data }: ClusterFiles, pid: number): Promise<boolean> {
  const deadline = performance.now() + GONE_TIMEOUT_MS;
  while (performance.now() < deadline) {
    if (!(await isPostgresOn(data, pid))) return true;
    await sleep(POLL_MS);
  }
  return false;
}

/** The server that runs already, once it is ready; undefined when there is none, or none any more. */
async function adoptable({ data, log }: ClusterFiles): Promise<Postmaster | undefined> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    const running = await runningPostmaster(data);
    if (running === undefined || running.status === 'ready') return running;
    if (performance.now() > deadline) throw embeddedFault(`The embedded PostgreSQL (process ${running.pid}) has been ${running.status} for ${READY_TIMEOUT_MS / 1_000} s`, `See ${log}`);
    await sleep(POLL_MS);
  }
}

interface StartOptions {
  readonly binaries: PostgresBinaries;
  readonly as: RunAs;
  readonly settings: Readonly<Record<string, string>>;
}

async function start(files: ClusterFiles, options: StartOptions): Promise<Postmaster> {
  const deadline = performance.now() + REMAINS_TIMEOUT_MS;
  for (;;) {
    await disownStalePidFile(files.data);
    const port = await choosePort(files);
    const outcome = await spawnServer(files, { ...options, port });
    if ('pid' in outcome) return outcome;
    const remains = /pre-existing shared memory block|lock file .* already exists|could not bind|Address already in use/i.test(outcome.output);
    if (!remains || performance.now() > deadline) throw faultOfOutput(outcome.output, files);
    await sleep(REMAINS_POLL_MS);
  }
}

/** Spawns the server and waits until it is ready or has given up. In a session of its own: a Ctrl-C in this terminal is not for it. */
async function spawnServer(files: ClusterFiles, { binaries, as, settings, port }: StartOptions & { readonly port: number }): Promise<Postmaster | { readonly output: string }> {
  const log = await openLog(files.log);
  const { size: logBefore } = await log.stat();
  const all = { ...SETTINGS, ...settings, listen_addresses: '127.0.0.1', port: String(port), unix_socket_directories: '' };
  const [command, args] = as.command(binaries.postgres, ['-D', files.data, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])]);
  const child = spawn(command, args, { ...as.options, cwd: files.dir, detached: true, windowsHide: true, stdio: ['ignore', log.fd, log.fd] });
  const ended = endOf(child);
  await log.close();
  child.unref();
  const deadline = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    const failure = await Promise.race([ended, sleep(POLL_MS)]);
    if (failure !== undefined) return { output: `${failure}\n${(await readFile(files.log)).subarray(logBefore).toString('utf8')}` };
    const running = await runningPostmaster(files.data);
    if (running?.pid === child.pid && running?.status === 'ready') return running;
    if (performance.now() > deadline) {
      child.kill('SIGQUIT');
      throw embeddedFault(`The embedded PostgreSQL was not ready after ${READY_TIMEOUT_MS / 1_000} s`, `See ${files.log}`);
    }
  }
}

/** Statements that fail are the store's to report; the server's log is kept to what concerns the server. */
const SETTINGS: Readonly<Record<string, string>> = { log_min_messages: 'log', log_min_error_statement: 'panic', log_checkpoints: 'off', log_parameter_max_length_on_error: '0', jit: 'off' };

function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ENOENT' ? 'The program cannot be run on this machine (it needs glibc)' : error.message));
    child.once('exit', () => resolve(''));
  });
}

async function openLog(path: string): Promise<Awaited<ReturnType<typeof open>>> {
  const size = await stat(path).then((found) => found.size, () => 0);
  if (size > LOG_MAX_BYTES) await rename(path, `${path}.1`);
  return open(path, 'a', 0o600);
}

/** The port of the last time if nobody else has it, so that other processes' connections find the server again. */
async function choosePort({ dir }: ClusterFiles): Promise<number> {
  const path = join(dir, 'port');
  const last = Number(await readFile(path, 'utf8').catch(() => ''));
  if (last > 0 && (await isFree(last))) return last;
  for (;;) {
    const port = PORT_LOWEST + Math.floor(Math.random() * PORT_COUNT);
    if (!(await isFree(port))) continue;
    await writeFile(path, `${port}\n`, { mode: 0o600 });
    return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
  });
}

/** Also the proof that the server takes our password. */
async function ensureDatabase(url: string): Promise<void> {
  try {
    const found = await askOnce(url, 'SELECT 1 FROM pg_database WHERE datname = $1', [EMBEDDED_NAME]);
    if (found.length === 0) await askOnce(url, `CREATE DATABASE ${EMBEDDED_NAME}`);
  } catch (error) {
    throw embeddedFault(`The embedded PostgreSQL does not let this program in: ${(error as Error).message}`, 'Look whether its password file belongs to its data', error);
  }
}

async function stop({ data, log }: ClusterFiles, { pid, binaries, as }: { readonly pid: number; readonly binaries: PostgresBinaries; readonly as: RunAs }): Promise<void> {
  if (!(await isPostgresOn(data, pid))) return;
  if (process.platform === 'win32') return runProgram(as, { file: binaries.pgCtl, args: ['-D', data, '-w', '-m', 'fast', 'stop'] });
  // SIGINT is a fast stop, SIGQUIT an immediate one (https://www.postgresql.org/docs/18/server-shutdown.html).
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) {
    process.kill(pid, signal);
    const deadline = performance.now() + STOP_TIMEOUT_MS;
    while (performance.now() < deadline) {
      if (!(await isPostgresOn(data, pid))) return;
      await sleep(POLL_MS);
    }
  }
  throw embeddedFault(`The embedded PostgreSQL (process ${pid}) does not stop`, `See ${log}`);
}

function faultOfErrno(code: string, { dir, log }: ClusterFiles): Error {
  return faultOfOutput(code === 'ENOSPC' || code === 'EDQUOT' ? 'No space left on device' : 'Permission denied', { dir, log });
}
