import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { eventually } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

import { workspace } from './hub-stub.fixture.ts';
import { createSite, firstPeer, type TestRepeater } from './site.fixture.ts';

let site: ReturnType<typeof createSite>;
beforeEach(() => void (site = createSite({ WebSocket, WebSocketServer })));
afterEach(() => site.close());

const connected = (repeater: TestRepeater) => eventually(async () => (await repeater.metric('carillon_repeater_access_feed_connected')) === 1);

describe('a repeater that starts with its hub away', () => {
  test('knows from its copy who may join, and keeps rooms alive', async () => {
    const [good, gone] = [site.issue(), site.issue()];
    const dataDir = await site.folder();
    const env = { CARILLON_DATA_DIR: dataDir, CARILLON_REPEATER_ACCESS: 'keys' };
    const hub = await site.hub([workspace(), good.entry, gone.entry]);
    const first = await site.repeater({ ...env, CARILLON_REPEATER_HUB_URL: hub.url });
    await connected(first);
    const device = await site.device(first, `/k/${gone.secret}/connect/ITB-1101/D`);
    hub.take(gone.entry);
    await eventually(() => device.closed()?.code === 4513);
    await first.stop();
    await hub.stop();

    const second = await site.repeater({ ...env, CARILLON_REPEATER_HUB_URL: hub.url });
    expect(await second.metric('carillon_repeater_access_records')).toBe(3);
    expect(await second.metric('carillon_repeater_access_seq')).toBe(4);
    expect(await second.metric('carillon_repeater_access_feed_connected')).toBe(0);
    expect(await site.refusedJoin(second, `/k/${gone.secret}/connect/ITB-1101/D`)).toEqual([401, 'ACCESS_KEY_INVALID']);
    const [speaker, listener] = [await site.device(second, `/k/${good.secret}/connect/ITB-1101/D1`), await site.device(second, `/k/${good.secret}/connect/ITB-1101/D2`)];
    speaker.send('ITB-1101\n{}');
    await eventually(() => listener.frames.length === 1);
    expect((await fetch(`http://127.0.0.1:${second.running.adminAddress.port}/readyz`, { headers: { connection: 'close' } })).status).toBe(200);

    // The hub comes back at its place, with what changed meanwhile.
    const late = site.issue();
    const again = await site.hub([workspace(), good.entry, gone.entry, workspace(), late.entry], hub.port);
    await connected(second);
    await site.device(second, `/k/${late.secret}/connect/ITB-1101/D3`);
    await firstPeer(again);
    expect([speaker.closed(), listener.closed()]).toEqual([undefined, undefined]);
  });

  test('forgets its copy when the hub is of an installation that was made later', async () => {
    const [former, key] = [site.issue(), site.issue()];
    const env = { CARILLON_DATA_DIR: await site.folder(), CARILLON_REPEATER_ACCESS: 'keys' };
    const hub = await site.hub([workspace({ createdAtMs: 1_000 }), former.entry, former.entry, former.entry]);
    const repeater = await site.repeater({ ...env, CARILLON_REPEATER_HUB_URL: hub.url });
    await connected(repeater);
    const device = await site.device(repeater, `/k/${former.secret}/connect/ITB-1101/D`);
    await hub.stop();
    const other = await site.hub([key.entry, workspace({ createdAtMs: 2_000 })], hub.port);
    await eventually(() => device.closed()?.code === 4513);
    await eventually(async () => (await repeater.metric('carillon_repeater_access_seq')) === 2 && (await repeater.metric('carillon_repeater_access_records')) === 2);
    await site.device(repeater, `/k/${key.secret}/connect/ITB-1101/D`);
    expect(await site.refusedJoin(repeater, `/k/${former.secret}/connect/ITB-1101/D`)).toEqual([401, 'ACCESS_KEY_INVALID']);
    await other.stop();
  });

  test('and with a damaged copy sets it aside and lets nobody in by a key', async () => {
    const key = site.issue();
    const dataDir = await site.folder();
    await mkdir(join(dataDir, 'access'));
    await writeFile(join(dataDir, 'access', 'repeater.json'), '{"format":"carillon-access-copy","version":1,"records":1}\n{"key":"w1.');
    const repeater = await site.repeater({ CARILLON_DATA_DIR: dataDir, CARILLON_REPEATER_ACCESS: 'keys' });
    expect(await readdir(join(dataDir, 'access'))).toEqual(['repeater.json.bad']);
    expect(repeater.logs.some((line) => line.includes('"level":"error"') && line.includes('set aside'))).toBe(true);
    expect(await site.refusedJoin(repeater, `/k/${key.secret}/connect/ITB-1101/D`)).toEqual([401, 'ACCESS_KEY_INVALID']);
  });
});

describe('the copy\'s file', () => {
  test('is its owner\'s alone and holds no key', async () => {
    const key = site.issue();
    const dataDir = await site.folder();
    const hub = await site.hub([workspace(), key.entry]);
    const repeater = await site.repeater({ CARILLON_DATA_DIR: dataDir, CARILLON_REPEATER_HUB_URL: hub.url });
    await connected(repeater);
    await repeater.stop();
    const path = join(dataDir, 'access', 'repeater.json');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const text = await readFile(path, 'utf8');
    expect([text.includes(key.entry.id), text.includes(key.secret)]).toEqual([true, false]);
  });

  test('binds the repeater to its workspace: a feed of another changes nothing', async () => {
    const dataDir = await site.folder();
    const [mine, theirs] = [site.issue(), site.issue({ workspaceId: 'w2' })];
    const hub = await site.hub([workspace(), mine.entry]);
    const first = await site.repeater({ CARILLON_DATA_DIR: dataDir, CARILLON_REPEATER_HUB_URL: hub.url });
    await connected(first);
    await first.stop();
    const other = await site.hub([workspace({ id: 'w2', workspaceId: 'w2' }), theirs.entry]);
    const second = await site.repeater({ CARILLON_DATA_DIR: dataDir, CARILLON_REPEATER_HUB_URL: other.url, CARILLON_REPEATER_ACCESS: 'keys' });
    await connected(second);
    expect(await second.metric('carillon_repeater_access_feed_refused_total', 'stranger')).toBe(2);
    await site.device(second, `/k/${mine.secret}/connect/ITB-1101/D`);
    expect(await site.refusedJoin(second, `/k/${theirs.secret}/connect/ITB-1101/D`)).toEqual([401, 'ACCESS_KEY_INVALID']);
  });
});

describe('the repeater\'s own key', () => {
  test.each(['setting', 'file', 'path', 'query'])('from the %s goes to the hub\'s door and to its feed, and nowhere else', async (from) => {
    const key = site.issue({ kind: 'repeater' });
    const hub = await site.hub([workspace(), key.entry]);
    const path = join(await site.folder(), 'key');
    await writeFile(path, `${key.secret}\n`);
    const env = {
      setting: { CARILLON_REPEATER_HUB_URL: hub.url, CARILLON_REPEATER_KEY: key.secret },
      file: { CARILLON_REPEATER_HUB_URL: hub.url, CARILLON_REPEATER_KEY_FILE: path },
      path: { CARILLON_REPEATER_HUB_URL: `${hub.url}/k/${key.secret}` },
      query: { CARILLON_REPEATER_HUB_URL: `${hub.url}/?key=${key.secret}` },
    }[from] as Record<string, string>;
    const repeater = await site.repeater(env);
    await connected(repeater);
    const link = await firstPeer(hub);
    const [feed] = hub.feeds;
    const inHeader = from === 'setting' || from === 'file';
    expect([link.headers.authorization, feed?.headers.authorization]).toEqual(inHeader ? [`Bearer ${key.secret}`, `Bearer ${key.secret}`] : [undefined, undefined]);
    const place = { setting: '/connect/repeater', file: '/connect/repeater', path: `/k/${key.secret}/connect/repeater`, query: `/connect/repeater?key=${key.secret}` }[from] as string;
    expect([link.path, feed?.url]).toEqual([place, place.replace('/connect/repeater', '/access/feed')]);
    const status = await site.call(repeater, '/status');
    expect(status.text.includes('[redacted]')).toBe(!inHeader);
    await hub.stop();
    await eventually(() => repeater.logs.some((line) => line.includes('the hub is away')) && repeater.logs.some((line) => line.includes('the access feed is away')));
  });

  test.each(['', 'ck_mistyped', 'two words'])('file with %j in it keeps the repeater from starting, and is not quoted', async (text) => {
    const path = join(await site.folder(), 'key');
    await writeFile(path, text);
    const started = site.repeater({ CARILLON_REPEATER_KEY_FILE: path });
    await expect(started).rejects.toThrow(/^CARILLON_REPEATER_KEY_FILE: .*does not hold an access key/);
    if (text !== '') await expect(started).rejects.not.toThrow(text);
  });

  test('file that cannot be read keeps the repeater from starting', async () => {
    await expect(site.repeater({ CARILLON_REPEATER_KEY_FILE: join(await site.folder(), 'none') })).rejects.toThrow(/ENOENT/);
  });
});

test('a folder that cannot be written is told of, and the repeater runs on', async () => {
  const key = site.issue();
  const dataDir = await site.folder();
  await writeFile(join(dataDir, 'access'), 'a file where the folder should be');
  const hub = await site.hub([workspace(), key.entry]);
  const repeater = await site.repeater({ CARILLON_DATA_DIR: dataDir, CARILLON_REPEATER_HUB_URL: hub.url, CARILLON_REPEATER_ACCESS: 'keys' });
  await connected(repeater);
  await site.device(repeater, `/k/${key.secret}/connect/ITB-1101/D`);
  await eventually(() => repeater.logs.some((line) => line.includes('could not be written')));
});
