import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { eventually, freePort, spawnService, stopAll, type SpawnedService } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

import { createSite, eventOf } from './site.fixture.ts';

const EVENTS = 50;

// Real repeaters on a data folder of the test, one after the other.
describe('a repeater whose outbox cannot be read', { timeout: 240_000 }, () => {
  let site: ReturnType<typeof createSite>;
  let dataDir: string;
  let port: number;
  let adminPort: number;
  beforeEach(async () => {
    site = createSite({ WebSocket, WebSocketServer });
    dataDir = await site.folder();
    [port, adminPort] = [await freePort(), await freePort()];
  });
  afterEach(async () => {
    await stopAll();
    await site.close();
  });

  const spawn = (env: Readonly<Record<string, string>>, readyWhen?: string): Promise<SpawnedService> => spawnService({
    command: 'apps/repeater/src/main.ts',
    env: {
      CARILLON_REPEATER_LISTEN: `127.0.0.1:${port}`, CARILLON_REPEATER_ADMIN_LISTEN: `127.0.0.1:${adminPort}`, CARILLON_REPEATER_ACCESS: 'open', CARILLON_DATA_DIR: dataDir,
      // No hub: a port that nothing listens on.
      CARILLON_REPEATER_HUB_URL: 'ws://127.0.0.1:1', CARILLON_REPEATER_HUB_RETRY_FIRST_MS: '50', CARILLON_REPEATER_HUB_RETRY_CAP_MS: '100', ...env,
    },
    ...(readyWhen === undefined ? {} : { readyWhen }),
  });
  const start = (env: Readonly<Record<string, string>> = {}): Promise<SpawnedService> => spawn(env, `http://127.0.0.1:${adminPort}/readyz`);
  const outboxDir = (): string => join(dataDir, 'outbox');
  const file = (): Promise<Buffer> => readFile(join(outboxDir(), 'data.mdb'));
  /** Fills an outbox, ends its repeater, and has the fixture do something to the file; gives the events. */
  const filledThen = async (what: string): Promise<readonly string[]> => {
    const repeater = await start();
    const bodies = Array.from({ length: EVENTS }, (_, n) => eventOf('R', `${n}`));
    for (const body of bodies) expect((await fetch(`http://127.0.0.1:${port}/send`, { method: 'POST', headers: { connection: 'close' }, body })).status).toBe(200);
    await repeater.stop();
    const fixture = await spawnService({ command: 'libs/log/src/damage-file.fixture.ts', args: [what, outboxDir()] });
    expect(await fixture.exited).toMatchObject({ code: 0 });
    return bodies;
  };

  test('because it is of a later version ends, says which versions can, and leaves it as it is', async () => {
    await filledThen('later-format');
    const before = await file();
    const repeater = await spawn({});
    expect((await repeater.exited).code).toBe(1);
    expect(repeater.logs().find(({ level }) => level === 'fatal')?.['msg']).toMatch(/The outbox in .*outbox is of format 2; this version reads up to 1\. Run the version that wrote it, or a later one\.$/);
    expect(before.equals(await file())).toBe(true);
    expect((await readdir(outboxDir())).filter((name) => name.includes('.bad-'))).toEqual([]);
  });

  test.each(['meta-page', 'tree-page'])('because of its %s sets it aside, says so, and sends what can be read of it', async (what) => {
    const bodies = await filledThen(what);
    const before = await file();
    const hub = await site.ackingHub();
    const repeater = await start({ CARILLON_REPEATER_HUB_URL: hub.url });
    const said = repeater.logs().filter(({ level, msg }) => level === 'warn' && String(msg).includes('damaged outbox'));
    expect(said).toMatchObject([{ msg: 'a damaged outbox was set aside; what can be read of it is taken over', fault: expect.any(String) as unknown }, { msg: 'events of a damaged outbox were taken over', events: EVENTS, lost: 0 }]);
    await eventually(() => expect(hub.log.bodies('R')).toEqual(bodies));
    const aside = (await readdir(outboxDir())).filter((name) => name.startsWith('data.mdb.bad-'));
    expect(aside).toHaveLength(1);
    expect(before.equals(await readFile(join(outboxDir(), aside[0] ?? '')))).toBe(true);
    await repeater.stop();
  });
});
