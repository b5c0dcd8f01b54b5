import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';

import { freePort, repoRoot } from '@carillon/testing';

import { writeKeyedCopy } from './keyed-copy.ts';

/** A server under measurement: a process of its own, whose CPU and memory the kernel accounts for. */
export interface Subject {
  readonly name: string;
  readonly port: number;
  readonly path: string;
  cpuSeconds(): number;
  rssBytes(): number;
  anonymousBytes(): number;
  stop(): Promise<void>;
}

const CLOCK_TICKS_PER_SECOND = 100;

/** User and system time of a process so far (proc(5), fields 14 and 15). */
export function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
}

export function rssBytesOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1_024;
}

/** Memory that is the process's own: pages of files that it maps belong to the kernel, which takes them back when it likes. */
export function anonymousBytesOf(pid: number): number {
  return Number(/RssAnon:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1_024;
}

/** Ended with this process, however it ends. */
const CHILDREN = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of CHILDREN) child.kill('SIGKILL');
});

const NODE_ARGS = ['--conditions=@carillon/source', '--import', 'tsx'];

async function start(name: string, script: string, env: Readonly<Record<string, string>>, nodeArgs: readonly string[] = []): Promise<{ child: ChildProcess; output: () => string }> {
  const child = spawn(process.execPath, [...nodeArgs, ...NODE_ARGS, script], { cwd: repoRoot(), env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output = (output + chunk.toString()).slice(-65_536)));
  CHILDREN.add(child);
  child.once('exit', () => CHILDREN.delete(child));
  await new Promise<void>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code} before it listened: ${output}`)));
    child.stdout.on('data', () => {
      if (/"port"|hub listens/.test(output)) resolve();
    });
  });
  return { child, output: () => output };
}

function subjectOf(name: string, child: ChildProcess, port: number, path: string): Subject {
  const pid = child.pid as number;
  return {
    name, port, path,
    cpuSeconds: () => cpuSecondsOf(pid),
    rssBytes: () => rssBytesOf(pid),
    anonymousBytes: () => anonymousBytesOf(pid),
    stop: async () => {
      if (child.exitCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

export interface HubSubjectOptions {
  readonly nodeArgs?: readonly string[];
  /** Its peers present no key. */
  readonly keyless?: boolean;
}

/** A hub that takes nobody without a key; its peers carry theirs in the path. */
export async function startHubSubject(env: Readonly<Record<string, string>> = {}, { nodeArgs = [], keyless = false }: HubSubjectOptions = {}): Promise<Subject & { readonly adminPort: number }> {
  const port = await freePort();
  const adminPort = await freePort();
  const { dataDir, accessKey, remove } = await writeKeyedCopy();
  const { child } = await start('hub', 'apps/hub/src/main.ts', {
    CARILLON_HUB_LISTEN: `127.0.0.1:${port}`, CARILLON_HUB_ADMIN_LISTEN: `127.0.0.1:${adminPort}`, CARILLON_DATA_DIR: dataDir, CARILLON_HUB_LOG: 'off', ...env,
  }, nodeArgs);
  const subject = subjectOf('hub', child, port, `${keyless ? '' : `/k/${accessKey}`}/connect/messenger`);
  return {
    ...subject, adminPort,
    stop: async () => {
      await subject.stop();
      await remove();
    },
  };
}

export async function startPlainSubject(): Promise<Subject> {
  const { child, output } = await start('plain', 'tools/bench/src/plain-server.ts', {});
  const { port } = JSON.parse(output()) as { port: number };
  return subjectOf('plain ws.send', child, port, '/');
}

/** A server that somebody else has started, e.g. an original hub: `name=pid@port/path`. */
export function externalSubject(spec: string): Subject {
  const match = /^([^=]+)=(\d+)@(\d+)(\/.*)$/.exec(spec);
  if (match === null) throw new Error(`--against wants name=pid@port/path, not ${spec}`);
  const [, name = '', pid = '', port = '', path = ''] = match;
  return { name, port: Number(port), path, cpuSeconds: () => cpuSecondsOf(Number(pid)), rssBytes: () => rssBytesOf(Number(pid)), anonymousBytes: () => anonymousBytesOf(Number(pid)), stop: async () => undefined };
}
