import { afterEach, describe, expect, it } from 'vitest';

import { detachedHost, listen, processMetricDefinitions, runProcess, type DetachedHost, type ProcessContext, type ProcessHost, type ProcessOptions, type RunningProcess } from './index.ts';

type Line = Readonly<Record<string, unknown>>;
const never = () => new Promise<void>(() => undefined);
const quiet = async () => undefined;
const ANY_PORT = { host: '127.0.0.1', port: 0 };

describe('runProcess', () => {
  let lines: Line[] = [];
  let host: DetachedHost;
  let running: RunningProcess | undefined;

  afterEach(async () => {
    await running?.stop('the test is over');
    running = undefined;
    lines = [];
  });

  async function run(start: ProcessOptions['start'], options: Partial<ProcessOptions> = {}): Promise<RunningProcess> {
    host = detachedHost({ write: (line) => lines.push(JSON.parse(line) as Line) });
    running = await runProcess({ name: 'hub', version: '1.0.0', adminListen: ANY_PORT, logLevel: 'info', drainTimeoutMs: 5_000, host, start, ...options });
    return running;
  }

  const states = () => lines.flatMap((line) => (line['state'] === undefined ? [] : [line['state']]));
  const admin = (path: string) => fetch(`http://127.0.0.1:${running?.adminAddress.port}${path}`, { headers: { connection: 'close' } });

  it('goes through its states with one line each, and stops once however often it is asked', async () => {
    let stops = 0;
    const { stop, stopped } = await run(async ({ add }) => add({ name: 'a', stop: async () => void (stops += 1) }));
    await Promise.all([stop('first'), stop('second'), stopped]);
    await stop('after the end');
    expect(states()).toEqual(['created', 'starting', 'running', 'draining', 'stopped']);
    expect(lines.find((line) => line['state'] === 'draining')).toMatchObject({ reason: 'first' });
    expect(stops).toBe(1);
    expect(host.exitCode()).toBe(0);
  });

  it('is ready only while it runs, and says so to the end of draining', async () => {
    const seen: number[] = [];
    const probe = async (address: { readonly port: number }) => {
      const response = await fetch(`http://127.0.0.1:${address.port}/readyz`, { headers: { connection: 'close' } });
      seen.push(response.status);
      await response.body?.cancel();
    };
    const adminListen = await freePort();
    const { stop } = await run(async ({ add }) => {
      await probe(adminListen);
      add({ name: 'a', drain: () => probe(adminListen), stop: () => probe(adminListen) });
    }, { adminListen });
    await probe(adminListen);
    await stop('enough');
    expect(seen).toEqual([503, 200, 503, 503]);
  });

  it('shows the app\'s checks and metrics beside those of the process', async () => {
    await run(async ({ health, metrics }) => {
      health.addCheck('bus', () => ({ ok: false, reason: 'NATS is away' }));
      metrics.observe({ name: 'carillon_hub_sessions', kind: 'gauge', help: 'Sessions.' }, () => 7);
      metrics.observe({ name: 'carillon_hub_broken', kind: 'gauge', help: 'Broken.' }, () => { throw new Error('no'); });
    });
    const ready = await admin('/readyz');
    expect(ready.status).toBe(503);
    expect(await ready.json()).toEqual({ status: 'not ready', checks: { lifecycle: { ok: true }, bus: { ok: false, reason: 'NATS is away' } } });
    const text = await (await admin('/metrics')).text();
    expect(text).toContain('carillon_hub_sessions 7');
    for (const { name, kind } of Object.values(processMetricDefinitions)) {
      expect(text).toContain(`# TYPE ${name} ${kind}`);
      expect(text).toMatch(new RegExp(`^${name} [\\d.e-]+$`, 'm'));
    }
    expect(lines.some((line) => line['metric'] === 'carillon_hub_broken')).toBe(true);
  });

  it('aborts the signal when draining begins, drains within the deadline and goes on without the late', async () => {
    let signal: AbortSignal | undefined;
    const { stop } = await run(async (context) => {
      signal = context.signal;
      context.add({ name: 'stuck', drain: never, stop: quiet });
    }, { drainTimeoutMs: 5 });
    expect(signal?.aborted).toBe(false);
    const done = stop('enough');
    expect(signal?.aborted).toBe(true);
    await done;
    expect(lines.find((line) => line['unfinished'] !== undefined)).toMatchObject({ level: 'warn', unfinished: ['stuck'] });
    expect(host.exitCode()).toBe(0);
  });

  it('gathers failures to drain and to stop in one line, and fails', async () => {
    const { stop } = await run(async ({ add }) => {
      add({ name: 'a', drain: () => Promise.reject(new Error('no drain')), stop: quiet });
      add({ name: 'b', stop: () => Promise.reject(new Error('no stop')) });
    });
    await stop('enough');
    const errors = lines.filter((line) => line['error'] !== undefined);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatchObject({ error: { type: 'AggregateError', aggregateErrors: [{ message: 'a could not drain: no drain' }, { message: 'b could not stop: no stop' }] } });
    expect(states().at(-1)).toBe('failed');
    expect(host.exitCode()).toBe(1);
  });

  it('stops what was started when the start fails, without draining it, and rejects with the reason', async () => {
    const seen: string[] = [];
    const starting = run(async ({ add }) => {
      add({ name: 'a', drain: async () => void seen.push('drained'), stop: async () => void seen.push('stopped') });
      throw new Error('no store');
    });
    await expect(starting).rejects.toThrow('no store');
    expect(seen).toEqual(['stopped']);
    expect(lines.find((line) => line['level'] === 'fatal')).toMatchObject({ msg: 'could not start: no store' });
    expect(states()).toEqual(['created', 'starting', 'draining', 'failed']);
    expect(host.exitCode()).toBe(1);
  });

  it('says in a sentence that the admin port is taken', async () => {
    const first = await run(quiet);
    const { adminAddress } = first;
    await expect(run(quiet, { adminListen: adminAddress })).rejects.toMatchObject({ code: 'LISTEN_ADDRESS_IN_USE' });
    expect(lines.find((line) => line['level'] === 'fatal')?.['msg']).toBe(
      `could not start: Cannot listen on 127.0.0.1:${adminAddress.port}: another process already listens there. Stop it, or choose another address.`);
    await first.stop('the test is over');
  });

  describe('with signals and faults', () => {
    let signalled: (name: 'SIGTERM' | 'SIGINT') => void;
    let faulted: (error: unknown) => void;
    let nowMs = 0;
    const exits: number[] = [];

    async function runHeard(start: ProcessOptions['start'], options: Partial<ProcessOptions> = {}): Promise<RunningProcess> {
      const quietHost = detachedHost({ write: (line) => lines.push(JSON.parse(line) as Line) });
      const heard: ProcessHost = {
        ...quietHost,
        onSignal: (listener) => { signalled = listener; },
        onFault: (listener) => { faulted = listener; },
        nowMs: () => nowMs,
        exit: (code) => void exits.push(code),
      };
      const result = await run(start, { host: heard, ...options });
      host = quietHost;
      return result;
    }

    it('drains on the first signal, takes its echo for the same, and exits on the second', async () => {
      let finish = () => undefined as void;
      const held = new Promise<void>((resolve) => { finish = resolve; });
      const { stopped } = await runHeard(async ({ add }) => add({ name: 'a', drain: () => held, stop: quiet }));
      signalled('SIGINT');
      nowMs += 299;
      signalled('SIGINT');
      expect(exits).toEqual([]);
      nowMs += 1;
      signalled('SIGTERM');
      expect(exits).toEqual([1]);
      expect(lines.at(-1)).toMatchObject({ level: 'fatal', msg: 'a second signal (SIGTERM) forces the exit' });
      finish();
      await stopped;
    });

    it('drains and fails on an error that nobody caught, and logs each once', async () => {
      const error = new Error('nobody');
      const { stopped } = await runHeard(quiet);
      faulted(error);
      faulted(error);
      await stopped;
      expect(lines.filter((line) => line['level'] === 'fatal')).toMatchObject([{ error: { message: 'nobody' } }]);
      expect(states().at(-1)).toBe('failed');
      expect(host.exitCode()).toBe(1);
    });

    it.each([
      ['ends quietly', (context: ProcessContext, resolve: () => void) => context.signal.addEventListener('abort', resolve)],
      ['is cut short', (context: ProcessContext, _: () => void, reject: (error: Error) => void) => context.signal.addEventListener('abort', () => reject(new Error('cut')))],
    ])('stops cleanly when the signal comes during a start that %s', async (_, onContext) => {
      const { stopped } = await runHeard((context) => new Promise((resolve, reject) => {
        onContext(context, resolve, reject);
        signalled('SIGTERM');
      }));
      await stopped;
      expect(states()).toEqual(['created', 'starting', 'draining', 'stopped']);
      expect(host.exitCode()).toBe(0);
    });
  });
});

async function freePort() {
  const { createServer } = await import('node:http');
  const server = createServer();
  const address = await listen(server, ANY_PORT);
  await new Promise((resolve) => server.close(resolve));
  return address;
}
