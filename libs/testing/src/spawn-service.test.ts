import { afterEach, describe, expect, it } from 'vitest';

import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { stopAll } from './owned-by-test.ts';
import { spawnService } from './spawn-service.ts';

const NODE = [process.execPath, '-e'];
const STAY = 'setInterval(() => {}, 1000);';

afterEach(() => stopAll());

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('spawnService', () => {
  it('is ready when the output matches, and keeps what was printed', async () => {
    const service = await spawnService({
      command: [...NODE, `console.log('{"level":30,"text":"started"}'); console.log('plain'); console.error('{"level":50}'); console.log('ready'); ${STAY}`],
      readyWhen: /^ready$/m,
    });

    expect(service.stdout()).toContain('plain\n');
    await eventually(() => expect(service.logs()).toEqual([{ level: 30, text: 'started' }, { level: 50 }]));
  });

  it('is ready when the address answers 200', async () => {
    const port = await freePort();
    const script = `let n = 0; require('node:http').createServer((q, s) => { s.statusCode = (n += 1) < 3 ? 503 : 200; s.end(String(n)); }).listen(${port}, '127.0.0.1');`;
    await spawnService({ command: [...NODE, script], readyWhen: `http://127.0.0.1:${port}/readyz` });

    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('4');
  });

  it('runs a script of the repository from its TypeScript source', async () => {
    const service = await spawnService({ command: 'libs/testing/src/repo-root.ts' });

    expect(await service.exited).toEqual({ code: 0, signal: null });
    expect(service.stderr()).toBe('');
  });

  it('gives the process its own settings only', async () => {
    process.env['CARILLON_STRAY'] = 'x';
    const service = await spawnService({ command: [...NODE, 'console.log(JSON.stringify(process.env))'], env: { CARILLON_OWN: 'y', HOME: undefined } });
    delete process.env['CARILLON_STRAY'];
    await service.exited;

    const [environment] = service.logs();
    expect(environment).toMatchObject({ CARILLON_OWN: 'y' });
    expect(Object.keys(environment ?? {})).not.toEqual(expect.arrayContaining(['CARILLON_STRAY']));
    expect(environment).not.toHaveProperty('HOME');
    expect(environment).not.toHaveProperty('VITEST');
  });

  it('stops with SIGTERM and tells the exit', async () => {
    const service = await spawnService({ command: [...NODE, `process.on('SIGTERM', () => process.exit(7)); console.log('up'); ${STAY}`], readyWhen: /up/ });

    expect(await service.stop()).toEqual({ code: 7, signal: null });
    expect(isAlive(service.pid)).toBe(false);
  });

  it('kills at once when told to', async () => {
    const service = await spawnService({ command: [...NODE, STAY] });
    service.kill('SIGKILL');

    expect(await service.exited).toEqual({ code: null, signal: 'SIGKILL' });
    expect(service.rssBytes()).toBe(0);
  });

  it('fails with the last output when the process ends before it is ready', async () => {
    const starting = spawnService({ command: [...NODE, 'console.error("no port"); process.exit(3)'], readyWhen: /never/ });

    await expect(starting).rejects.toThrow(/ended \(3\) before it was ready\. It printed last:\nno port/);
  });

  it('fails and leaves nothing behind when it is not ready in time', async () => {
    const starting = spawnService({ command: [...NODE, `console.log(process.pid); ${STAY}`], readyWhen: /never/, readyTimeoutMs: 500 });
    const error: unknown = await starting.catch((caught: unknown) => caught);

    expect(String(error)).toMatch(/not ready within 500 ms/);
    expect(isAlive(Number(/(\d+)$/.exec(String(error))?.[1]))).toBe(false);
  });

  it('fails for a program that does not exist', async () => {
    await expect(spawnService({ command: ['carillon-no-such-program'] })).rejects.toThrow(/ENOENT/);
  });

  it('measures memory and CPU time', async () => {
    const service = await spawnService({ command: [...NODE, `const end = Date.now() + 300; while (Date.now() < end); console.log('done'); ${STAY}`], readyWhen: /done/ });

    expect(service.rssBytes()).toBeGreaterThan(10_000_000);
    expect(service.cpuSeconds()).toBeGreaterThan(0.1);
    expect(service.cpuSeconds()).toBeLessThan(30);
  });

  it('keeps the last 4 MiB of the output', async () => {
    const service = await spawnService({ command: [...NODE, `for (let i = 0; i < 100; i += 1) console.log(String(i).padEnd(100_000, '.')); console.log('end')`] });
    await service.exited;

    expect(service.stdout().length).toBeLessThanOrEqual(4 * 1024 * 1024);
    expect(service.stdout().length).toBeGreaterThan(3 * 1024 * 1024);
    expect(service.stdout()).toMatch(/end\n$/);
  });
});

describe('the end of the test process', () => {
  it.each(['SIGTERM', 'exit'] as const)('takes what it spawned along (%s)', async (ending) => {
    const script = `
      import { spawnService } from ${JSON.stringify(new URL('./spawn-service.ts', import.meta.url).href)};
      const service = await spawnService({ command: ['sleep', '600'] });
      console.log('child ' + service.pid);
      ${ending === 'exit' ? 'process.exit(0);' : STAY}`;
    const parent = await spawnService({ command: [process.execPath, '--import', 'tsx', '--input-type=module', '-e', script], readyWhen: /child \d+/ });
    const childPid = Number(/child (\d+)/.exec(parent.stdout())?.[1]);
    if (ending === 'SIGTERM') parent.kill('SIGTERM');

    const exit = await parent.exited;

    expect(exit.signal).toBe(ending === 'exit' ? null : 'SIGTERM');
    await eventually(() => !isAlive(childPid), { what: 'the grandchild to end' });
  });
});

describe('stopAll', () => {
  it('stops every service that still runs', async () => {
    const services = await Promise.all([spawnService({ command: [...NODE, STAY] }), spawnService({ command: [...NODE, STAY] })]);
    await stopAll();

    expect(services.map(({ pid }) => isAlive(pid))).toEqual([false, false]);
  });
});
