import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import type { Readable } from 'node:stream';

import { afterEach, describe, expect, it } from 'vitest';

import { listen } from './index.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const FIXTURE = 'libs/runtime/src/run-process.fixture.ts';
/** Longer than the window in which a signal counts as the echo of the first. */
const SIGNAL_EVERY_MS = 50;

class Child {
  readonly process: ChildProcessByStdio<null, Readable, Readable>;
  output = '';
  errors = '';

  constructor(args: readonly string[]) {
    this.process = spawn(process.execPath, ['--conditions=@carillon/source', '--import', 'tsx', FIXTURE, ...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    this.process.stdout.on('data', (chunk) => { this.output += String(chunk); });
    this.process.stderr.on('data', (chunk) => { this.errors += String(chunk); });
  }

  async reaches(state: string): Promise<void> {
    while (!this.output.includes(`"state":"${state}"`)) await once(this.process.stdout, 'data');
  }

  async ends(): Promise<{ readonly code: number | null; readonly signal: string | null }> {
    if (this.process.stdout.closed) return { code: this.process.exitCode, signal: this.process.signalCode };
    const [code, signal] = (await once(this.process, 'close')) as [number | null, string | null];
    return { code, signal };
  }

  texts(): readonly unknown[] {
    return this.output.trim().split('\n').map((line) => (JSON.parse(line) as { readonly msg: string }).msg);
  }
}

describe('a real process', () => {
  let child: Child;
  const start = (...args: readonly string[]) => {
    child = new Child(args);
    return child;
  };

  afterEach(() => void child.process.kill('SIGKILL'));

  it.each(['SIGTERM', 'SIGINT'] as const)('drains, stops in reverse and exits with 0 on %s', async (signal) => {
    start('run');
    await child.reaches('running');
    child.process.kill(signal);
    expect(await child.ends()).toEqual({ code: 0, signal: null });
    expect(child.texts().slice(3)).toEqual(['fixture is draining', 'store drained', 'door drained', 'door stopped', 'store stopped', 'fixture is stopped']);
    expect(child.errors).toBe('');
  });

  it('is forced by a second signal', async () => {
    start('hang');
    await child.reaches('running');
    child.process.kill('SIGTERM');
    await child.reaches('draining');
    const again = setInterval(() => child.process.kill('SIGTERM'), SIGNAL_EVERY_MS);
    expect(await child.ends()).toEqual({ code: 1, signal: null });
    clearInterval(again);
    expect(child.texts().at(-1)).toBe('a second signal (SIGTERM) forces the exit');
  });

  it.each([['throw', 'nobody caught this'], ['reject', 'nobody awaited this']])('stops with 1 on an uncaught error (%s)', async (mode, message) => {
    start(mode);
    expect(await child.ends()).toEqual({ code: 1, signal: null });
    expect(child.output).toContain(message);
    expect(child.texts().at(-1)).toBe('fixture is failed');
    expect(child.errors).toBe('');
  });

  it('exits with 1 when a part fails to stop', async () => {
    start('stop-fails');
    await child.reaches('running');
    child.process.kill('SIGTERM');
    expect(await child.ends()).toEqual({ code: 1, signal: null });
    expect(child.output).toContain('it is broken');
  });

  it('exits with 1 when it cannot start, with the log as the only word about it', async () => {
    start('start-fails');
    expect(await child.ends()).toEqual({ code: 1, signal: null });
    expect(child.texts()).toContain('could not start: the second thing is missing');
    expect(child.texts()).toContain('first stopped');
    expect(child.errors).toBe('');
  });

  it('exits with 1 and a sentence when the admin port is taken', async () => {
    const server = createServer();
    const { port } = await listen(server, { host: '127.0.0.1', port: 0 });
    start('run', String(port));
    expect(await child.ends()).toEqual({ code: 1, signal: null });
    expect(child.output).toContain(`Cannot listen on 127.0.0.1:${port}: another process already listens there.`);
    await new Promise((resolve) => server.close(resolve));
  });

  it('is made to exit when something still holds it, and says so', async () => {
    start('leak');
    await child.reaches('running');
    child.process.kill('SIGTERM');
    expect(await child.ends()).toEqual({ code: 0, signal: null });
    expect(child.errors).toContain('Something still holds the process');
  });

  it('prints every problem of its configuration and exits with 78', async () => {
    start('config');
    expect(await child.ends()).toEqual({ code: 78, signal: null });
    expect(child.errors).toBe(
      'CONFIG_INVALID: 2 problems in the environment; nothing was started.\n'
      + '  CARILLON_FIXTURE_LISTEN: is required: Where it listens.\n'
      + '  CARILLON_FIXTURE_LISEN: is not a setting of this program; did you mean CARILLON_FIXTURE_LISTEN?\n');
    expect(child.output).toBe('');
  });
});
