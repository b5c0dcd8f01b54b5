import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { embeddedPostgresPid, eventually, freePort, spawnService, stopAll, trackResources, type ProcessExit, type SpawnedService } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { readCurl, type CurlCall } from './curl-command.ts';

/** What a newcomer does: `npm start`, the two commands it prints, Ctrl-C. */
let released: ReturnType<typeof trackResources>;

beforeEach(() => {
  released = trackResources();
});

afterEach(async () => {
  await stopAll();
  await released();
});

interface Ports {
  readonly hub: number;
  readonly manager: number;
  readonly env: Readonly<Record<string, string>>;
}

async function freePorts(): Promise<Ports> {
  const [hub, repeater, admin, manager] = [await freePort(), await freePort(), await freePort(), await freePort()];
  return {
    hub,
    manager,
    env: { CARILLON_HUB_LISTEN: `127.0.0.1:${hub}`, CARILLON_REPEATER_LISTEN: `127.0.0.1:${repeater}`, CARILLON_STANDALONE_ADMIN_LISTEN: `127.0.0.1:${admin}`, CARILLON_CONFIG_MANAGER_LISTEN: `127.0.0.1:${manager}` },
  };
}

const npmStart = (env: Readonly<Record<string, string>>, readyWhen?: RegExp): Promise<SpawnedService> =>
  spawnService({ command: ['npm', 'start'], env, ...(readyWhen === undefined ? {} : { readyWhen }) });

/** A Ctrl-C reaches every process of the terminal's foreground group: npm, its shell and the program. */
function pressCtrlC(service: SpawnedService): Promise<ProcessExit> {
  process.kill(-service.pid, 'SIGINT');
  return service.exited;
}

async function endsOnCtrlC(service: SpawnedService): Promise<void> {
  expect(await pressCtrlC(service)).toEqual({ code: 0, signal: null });
  const states = service.logs().flatMap(({ state }) => (typeof state === 'string' ? [state] : []));
  expect(states.slice(-2)).toEqual(['draining', 'stopped']);
}

function perform({ url, method, headers, body }: CurlCall, signal?: AbortSignal): Promise<Response> {
  return fetch(url, { method, headers, ...(body === undefined ? {} : { body }), ...(signal === undefined ? {} : { signal }) });
}

describe('npm start', () => {
  it('prints what to try, and what it prints works; Ctrl-C ends it in order', async () => {
    const ports = await freePorts();
    const service = await npmStart(ports.env, /Stop it with Ctrl-C/);
    const commands = service.stdout().replaceAll('\\\n', ' ').split('\n').filter((line) => line.trim().startsWith('curl ')).map(readCurl);
    expect(commands).toHaveLength(2);
    const [hear, send] = commands as [CurlCall, CurlCall];
    expect(new URL(hear.url).port).toBe(`${ports.hub}`);

    const ended = new AbortController();
    const tail = await perform(hear, ended.signal);
    expect(tail.status).toBe(200);
    let heard = '';
    const reading = (async () => {
      for await (const piece of tail.body?.pipeThrough(new TextDecoderStream()) ?? []) heard += piece;
    })().catch((error: unknown) => {
      if (!ended.signal.aborted) throw error;
    });
    const answer = await perform(send);
    expect([answer.status, await answer.text()]).toEqual([200, 'Processing event']);
    await eventually(() => heard.includes('"power"') && heard.includes('"on"'), { what: 'the event to arrive at the tail' });
    const page = await fetch(`http://127.0.0.1:${ports.hub}/`);
    expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
    await page.body?.cancel();

    ended.abort();
    await reading;
    await endsOnCtrlC(service);
  });

  it('has an example that gets its first event', async () => {
    const ports = await freePorts();
    await npmStart(ports.env, /Stop it with Ctrl-C/);
    // The hub confirms no subscription in this protocol: the panel's is in force before the controller's event when both are on one machine.
    await spawnService({ command: ['npm', 'run', 'example', `ws://127.0.0.1:${ports.hub}`], readyWhen: /ITB-1101 power on/ });
  });

  it('has an example of access: a workspace, a key, a permission, and being refused', async () => {
    const ports = await freePorts();
    const folder = await mkdtemp(join(tmpdir(), 'carillon-start-'));
    const service = await npmStart({ ...ports.env, CARILLON_DATA_DIR: folder }, /Stop it with Ctrl-C/);
    const example = await spawnService({
      command: ['npm', 'run', '--silent', 'example:access'],
      env: { API: `http://127.0.0.1:${ports.manager}/api/v1`, HUB: `http://127.0.0.1:${ports.hub}`, CARILLON_DATA_DIR: folder },
    });
    expect(await example.exited, example.stderr()).toEqual({ code: 0, signal: null });
    const [allowed, denied] = example.stdout().trim().split('\n');
    expect(allowed).toBe('Processing event');
    expect(JSON.parse(denied ?? '')).toMatchObject({ status: 403, code: 'SEND_DENIED' });
    const shown = service.stdout();
    const password = (await readFile(join(folder, 'admin-password'), 'utf8')).trim();
    expect(shown).toContain(`administrator   admin   password  ${password}`);
    expect(service.logs().some((line) => JSON.stringify(line).includes(password))).toBe(false);
    await endsOnCtrlC(service);
    expect(embeddedPostgresPid(folder)).toBeUndefined();
    await rm(folder, { recursive: true });
  });

  it('ends in order on Ctrl-C while somebody still listens', async () => {
    const ports = await freePorts();
    const service = await npmStart(ports.env, /Stop it with Ctrl-C/);
    const tail = await fetch(`http://127.0.0.1:${ports.hub}/rooms/ITB-1101/events`);
    const reading = tail.text().catch(() => 'cut');

    await endsOnCtrlC(service);
    await reading;
  });

  it('runs a program that ends with 0 on Ctrl-C', async () => {
    const service = await spawnService({ command: 'apps/standalone/src/main.ts', env: (await freePorts()).env, readyWhen: /Stop it with Ctrl-C/ });

    expect(await pressCtrlC(service)).toEqual({ code: 0, signal: null });
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('ends in order when a supervisor sends %s to npm alone', async (signal) => {
    const ports = await freePorts();
    const service = await npmStart(ports.env, /Stop it with Ctrl-C/);

    process.kill(service.pid, signal);

    // The program is npm's own child (`exec` in the script), so npm hands the signal on and waits.
    await service.exited;
    await expect(fetch(`http://127.0.0.1:${ports.hub}/health`)).rejects.toThrow();
    expect(service.logs().some(({ state }) => state === 'stopped')).toBe(true);
  });

  it('says in a sentence that its port is taken', async () => {
    const ports = await freePorts();
    await npmStart(ports.env, /Stop it with Ctrl-C/);

    const second = await npmStart({ ...(await freePorts()).env, CARILLON_HUB_LISTEN: `127.0.0.1:${ports.hub}` });

    expect((await second.exited).code).toBe(1);
    expect(`${second.stdout()}${second.stderr()}`).toContain(`Cannot listen on 127.0.0.1:${ports.hub}: another process already listens there. Stop it, or choose another address.`);
    expect(second.stdout()).not.toContain('Carillon is running');
  });

  it('tells every wrong setting at once and exits with 78', async () => {
    const ports = await freePorts();
    const service = await npmStart({ ...ports.env, CARILLON_HUB_LISTEN: 'nowhere', CARILLON_HUB_LANE_MAX_BYTES: 'plenty', CARILLON_REPEATER_HUB_RETRY_FIRST_MS: '-1', CARILLON_HUB_LISTNE: 'typo' });

    expect((await service.exited).code).toBe(78);
    const output = service.stderr();
    expect(output).toContain('CONFIG_INVALID: 4 problems');
    for (const name of ['CARILLON_HUB_LISTEN', 'CARILLON_HUB_LANE_MAX_BYTES', 'CARILLON_REPEATER_HUB_RETRY_FIRST_MS', 'CARILLON_HUB_LISTNE']) expect(output).toContain(`  ${name}: `);
  });
});
