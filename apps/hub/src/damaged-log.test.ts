import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { freePort, spawnService, stopAll, type SpawnedService } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

interface Page {
  readonly events: readonly { readonly seq: number; readonly body: { readonly n: number } }[];
  readonly gaps: readonly { readonly reason: string }[];
  readonly next: string;
  readonly epoch: string;
}

const EVENTS = 20;

// Real hubs on a data folder of the test, one after the other.
describe('a hub whose log cannot be read', { timeout: 240_000 }, () => {
  let dataDir: string;
  let port: number;
  let adminPort: number;
  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'carillon-hub-damaged-'));
    [port, adminPort] = [await freePort(), await freePort()];
  });
  afterEach(async () => {
    await stopAll();
    await rm(dataDir, { recursive: true, force: true });
  });

  const spawn = (env: Readonly<Record<string, string>>, readyWhen?: string): Promise<SpawnedService> => spawnService({
    command: 'apps/hub/src/main.ts',
    env: { CARILLON_HUB_LISTEN: `127.0.0.1:${port}`, CARILLON_HUB_ADMIN_LISTEN: `127.0.0.1:${adminPort}`, CARILLON_HUB_ACCESS: 'open', CARILLON_DATA_DIR: dataDir, ...env },
    ...(readyWhen === undefined ? {} : { readyWhen }),
  });
  const start = (env: Readonly<Record<string, string>> = {}): Promise<SpawnedService> => spawn(env, `http://127.0.0.1:${adminPort}/readyz`);
  /** The exit code and the last words of a hub that does not start. */
  const refusal = async (env: Readonly<Record<string, string>> = {}): Promise<{ readonly code: number | null; readonly said: unknown }> => {
    const hub = await spawn(env);
    const { code } = await hub.exited;
    return { code, said: hub.logs().find(({ level }) => level === 'fatal')?.['msg'] };
  };
  const history = async (after = '0'): Promise<Page> => {
    const answer = await fetch(`http://127.0.0.1:${port}/rooms/A/history?after=${after}`, { headers: { connection: 'close' } });
    expect(answer.status).toBe(200);
    return (await answer.json()) as Page;
  };
  const publish = async (count: number): Promise<void> => {
    const body = Array.from({ length: count }, (_, n) => JSON.stringify({ 'affected-room': { roomID: 'A' }, 'n': n })).join('\n');
    const answer = await fetch(`http://127.0.0.1:${port}/events`, { method: 'POST', headers: { 'connection': 'close', 'content-type': 'application/x-ndjson' }, body });
    expect(answer.status).toBe(200);
  };
  const file = (): string => join(dataDir, 'log', 'data.mdb');
  /** Fills a log, ends its hub, and has the fixture do something to the file. */
  const filledThen = async (what: string): Promise<Page> => {
    const hub = await start();
    await publish(EVENTS);
    const page = await history();
    await hub.stop();
    const fixture = await spawnService({ command: 'libs/log/src/damage-file.fixture.ts', args: [what, join(dataDir, 'log')] });
    expect(await fixture.exited).toMatchObject({ code: 0 });
    return page;
  };

  it('because it is of a later version ends, says which versions can, and leaves it as it is, whatever it is told of damage', async () => {
    await filledThen('later-format');
    const before = await readFile(file());
    for (const CARILLON_HUB_LOG_WHEN_DAMAGED of ['refuse', 'set-aside']) {
      expect(await refusal({ CARILLON_HUB_LOG_WHEN_DAMAGED })).toEqual({ code: 1, said: expect.stringMatching(/The log in .*log is of format 2; this version reads up to 1\. Run the version that wrote it, or a later one\.$/) as unknown });
    }
    expect(before.equals(await readFile(file()))).toBe(true);
    expect((await readdir(dataDir)).filter((name) => name.includes('.bad-'))).toEqual([]);
  });

  it.each(['meta-page', 'tree-page'])('because of its %s ends and says what to do, or sets it aside where that is asked for, and readers are told', async (what) => {
    const old = await filledThen(what);
    expect(old.events.map(({ body }) => body.n)).toEqual(Array.from({ length: EVENTS }, (_, n) => n));
    const before = await readFile(file());
    const { code, said } = await refusal();
    expect({ code, said }).toEqual({ code: 1, said: expect.stringMatching(/The log in .*log is damaged: .*\. Restore it, or start once with CARILLON_HUB_LOG_WHEN_DAMAGED=set-aside: it is moved aside, and an empty log begins\.$/) as unknown });
    expect(before.equals(await readFile(file()))).toBe(true);

    const hub = await start({ CARILLON_HUB_LOG_WHEN_DAMAGED: 'set-aside' });
    expect(hub.logs().map(({ msg }) => msg)).toContain('a damaged log was set aside; another epoch begins');
    const aside = (await readdir(dataDir)).filter((name) => name.startsWith('log.bad-'));
    expect(aside).toHaveLength(1);
    expect(before.equals(await readFile(join(dataDir, aside[0] ?? '', 'data.mdb')))).toBe(true);
    await publish(2);
    const page = await history(old.next);
    expect(page).toMatchObject({ events: [{ seq: 1, body: { n: 0 } }, { seq: 2, body: { n: 1 } }], gaps: [{ reason: 'epoch' }] });
    expect(page.epoch).not.toBe(old.epoch);

    // It stays set when the setting stays: a log that is sound is kept.
    await hub.stop();
    await start({ CARILLON_HUB_LOG_WHEN_DAMAGED: 'set-aside' });
    expect((await history(page.next)).gaps).toEqual([]);
    expect((await history()).events).toHaveLength(2);
    expect((await stat(join(dataDir, aside[0] ?? ''))).isDirectory()).toBe(true);
  });
});
