import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

import { eventually, freePort } from '@carillon/testing';

import { createSite, firstPeer, type Peer, type TestRepeater } from './site.fixture.ts';

let site: ReturnType<typeof createSite>;
let folder: string;
const servers: Server[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'carillon-repeater-'));
  site = createSite({ WebSocket, WebSocketServer });
});

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
  await site.close();
  await rm(folder, { recursive: true });
});

async function writeList(list: object): Promise<string> {
  const path = join(folder, 'send-list.json');
  await writeFile(path, JSON.stringify(list));
  return path;
}

/** A repeater with a send list, joined to a stub hub. */
async function listed(list: object, env: Readonly<Record<string, string>> = {}): Promise<{ readonly repeater: TestRepeater; readonly hub: Peer }> {
  const hub = await site.stub();
  const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: `ws://127.0.0.1:${hub.port}`, CARILLON_REPEATER_SEND_LIST_FILE: await writeList(list), CARILLON_REPEATER_SEND_LIST_CHECK_MS: '20', ...env });
  return { repeater, hub: await firstPeer(hub) };
}

/** An HTTP target. */
async function webhook(answer: (request: IncomingMessage, response: ServerResponse, body: string) => void): Promise<{ readonly url: string; readonly bodies: string[] }> {
  const bodies: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (piece) => (body += String(piece)));
    request.on('end', () => {
      bodies.push(body);
      answer(request, response, body);
    });
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`, bodies };
}

const delivered = 'carillon_repeater_target_deliveries_total';
const failed = 'carillon_repeater_target_failures_total';
const dropped = 'carillon_repeater_dropped_events_total';

describe('a frame of the hub goes to a joined device', () => {
  test('that the list names, once, as it came', async () => {
    const { repeater, hub } = await listed({ rooms: { 'ITB-1101': ['D1', 'D1', 'ITB-1101-CP1'], '*': ['D1', 'D2'] } });
    const [first, second, unlisted] = [await site.device(repeater, '/connect/X/D1'), await site.device(repeater, '/connect/X/D2'), await site.device(repeater, '/connect/ITB-1101/D3')];
    hub.send('ITB-1101\n\n{"a":1}\n');
    hub.send('ITB-1102\n2');
    await eventually(() => second.frames.length === 2);
    expect(first.texts()).toEqual(['ITB-1101\n\n{"a":1}\n', 'ITB-1102\n2']);
    expect(second.texts()).toEqual(first.texts());
    expect(unlisted.frames).toEqual([]);
    expect(hub.frames).toEqual([]);
    expect(await repeater.metric(delivered, 'device')).toBe(4);
  });

  test('once when it has subscribed as well', async () => {
    const { repeater, hub } = await listed({ rooms: { '*': ['D1'] } });
    const device = await site.device(repeater, '/connect/X/D1');
    device.socket.send('{"rooms":["ITB-*"],"create":true}');
    device.send('R\nsubscribed');
    await eventually(() => hub.frames.length === 1);
    hub.send('ITB-1101\n1');
    hub.send('R\n2');
    await eventually(() => device.frames.length === 2);
    expect(device.texts()).toEqual(['ITB-1101\n1', 'R\n2']);
  });
});

describe('a frame of the hub goes to a target that is dialled', () => {
  test('at /connect/<room>/<own id>, over one connection, and what comes back goes up', async () => {
    const target = await site.stub();
    const address = `127.0.0.1:${target.port}`;
    const { repeater, hub } = await listed({ rooms: { 'ITB 1': ['CP2', `ws://${address}`], '*': ['CP2'] }, addresses: { CP2: address } });
    hub.send('ITB 1\n1');
    hub.send('ITB-1102\n2');
    const link = await firstPeer(target);
    await eventually(() => link.frames.length === 2);
    expect([link.path, link.headers['carillon-repeater']]).toEqual(['/connect/ITB%201/ITB-1101-CP1', 'ITB-1101-CP1']);
    expect(link.texts()).toEqual(['ITB 1\n1', 'ITB-1102\n2']);
    const device = await site.device(repeater, '/connect/ITB-1101/D1');
    link.send('ITB-1101\n\nback');
    link.send('malformed');
    await eventually(() => hub.frames.length === 1 && device.frames.length === 1);
    expect([hub.texts(), device.texts()]).toEqual([['ITB-1101\n\nback'], ['ITB-1101\n\nback']]);
    await eventually(async () => (await repeater.metric('carillon_repeater_refused_total', 'FRAME_LINE_FEED_MISSING')) === 1);
    expect(target.peers).toHaveLength(1);
    expect(await repeater.metric(delivered, 'socket')).toBe(2);
  });

  test('from one repeater of ours to another, whose hub and devices get it', async () => {
    const farHub = await site.stub();
    const far = await site.repeater({ CARILLON_REPEATER_ID: 'CENTRAL', CARILLON_REPEATER_HUB_URL: `ws://127.0.0.1:${farHub.port}` });
    const farLink = await firstPeer(farHub);
    const farDevice = await site.device(far, '/connect/ITB-1101/D9');
    const { hub, repeater } = await listed({}, { CENTRAL_REPEATER_ADDRESSES: far.host });
    const device = await site.device(repeater, '/connect/ITB-1101/D1');
    hub.send('ITB-1101\n{"n":1}');
    await eventually(() => farLink.frames.length === 1 && farDevice.frames.length === 1);
    farDevice.send('ITB-1101\n{"n":2}');
    await eventually(() => farLink.frames.length === 2);
    // The far repeater keeps its room to itself: ours is there for the hub's frames.
    expect([farLink.texts(), hub.frames, device.frames]).toEqual([['ITB-1101\n{"n":1}', 'ITB-1101\n{"n":2}'], [], []]);
  });

  test('and is closed with 1001 when nothing was read or written for the idle time, then dialled again', async () => {
    const target = await site.stub();
    const { repeater, hub } = await listed({ rooms: { '*': [`ws://127.0.0.1:${target.port}`] } }, { CARILLON_REPEATER_TARGET_IDLE_MS: '1000' });
    hub.send('R\n1');
    const link = await firstPeer(target);
    const busy = setInterval(() => link.send('R\nbusy'), 20);
    await eventually(() => hub.frames.length > 100); // far longer than the idle time
    expect(link.closed()).toBeUndefined();
    clearInterval(busy);
    await eventually(() => link.closed()?.code === 1001);
    hub.send('R\n2');
    const again = await firstPeer(target, 1);
    await eventually(() => again.texts().includes('R\n2'));
    expect(await repeater.metric(dropped, 'target-failed')).toBe(0);
  });

  test('when it is back; meanwhile its frames wait in a bounded queue', async () => {
    const port = await freePort();
    const { repeater, hub } = await listed({ rooms: { '*': [`ws://127.0.0.1:${port}`] } }, { CARILLON_REPEATER_TARGET_QUEUE_MAX_BYTES: '4KiB', CARILLON_REPEATER_FRAME_MAX_BYTES: '1KiB' });
    for (let n = 0; n < 100; n += 1) hub.send(`R\n${n}`);
    await eventually(async () => (await repeater.metric('carillon_repeater_received_frames_total', 'hub')) === 100);
    const lost = await repeater.metric(dropped, 'target-overflow');
    expect(lost).toBeGreaterThan(50);
    expect(await repeater.metric(failed, 'socket')).toBe(lost);
    const target = await site.stub(port);
    const link = await firstPeer(target);
    await eventually(() => link.frames.length === 100 - lost);
    expect(link.texts()[0]).toBe(`R\n${lost}`);
  });

  test('never over the repeater itself, whatever its address', async () => {
    const port = await freePort();
    const { repeater, hub } = await listed({ rooms: { '*': [`ws://127.0.0.1:${port}`] } }, { CARILLON_REPEATER_LISTEN: `127.0.0.1:${port}` });
    hub.send('R\n1');
    await eventually(async () => (await repeater.metric('carillon_repeater_refused_total', 'LINK_TO_SELF')) > 0);
    expect(hub.frames).toEqual([]);
  });

  test('unless its id is no address', async () => {
    const { repeater, hub } = await listed({ rooms: { '*': ['Sensor 5'] } });
    hub.send('R\n1');
    await eventually(async () => (await repeater.metric(failed, 'device')) === 1);
    expect(await repeater.metric(dropped, 'target-failed')).toBe(1);
  });
});

describe('a frame of the hub goes to an HTTP target', () => {
  test('as its JSON alone', async () => {
    const types: (string | undefined)[] = [];
    const hook = await webhook((request, response) => {
      types.push(`${request.method} ${request.headers['content-type']}`);
      response.writeHead(204).end();
    });
    const { repeater, hub } = await listed({ rooms: { 'ITB-1101': [hook.url] } });
    hub.send('ITB-1101\n\n\n{"a":1}\n');
    await eventually(async () => (await repeater.metric(delivered, 'http')) === 1);
    expect([hook.bodies, types]).toEqual([['{"a":1}'], ['POST application/json']]);
  });

  test('for at most the limit, and one that hangs delays nobody else', async () => {
    const quick = await webhook((_request, response) => response.end('ok'));
    const hanging = await webhook((_request, response) => void response.writeHead(200).write('never whole'));
    const { repeater, hub } = await listed({ rooms: { '*': [hanging.url, quick.url] } }, { CARILLON_REPEATER_HTTP_TARGET_TIMEOUT_MS: '2000', CARILLON_REPEATER_HTTP_TARGET_CONCURRENCY: '2' });
    for (let n = 0; n < 20; n += 1) hub.send(`R\n{"n":${n}}`);
    await eventually(() => quick.bodies.length === 20);
    expect(await repeater.metric(failed, 'http')).toBe(0);
    await eventually(async () => (await repeater.metric(failed, 'http')) >= 2);
    expect(hanging.bodies.length).toBeLessThanOrEqual(4);
  });

  test.each([[500, {}], [302, { location: '/elsewhere' }]])('%i is a failure', async (status, headers) => {
    const hook = await webhook((_request, response) => response.writeHead(status, headers).end());
    const { repeater, hub } = await listed({ rooms: { '*': [hook.url] } });
    hub.send('R\n{}');
    await eventually(async () => (await repeater.metric(failed, 'http')) === 1);
    expect(await repeater.metric(dropped, 'target-failed')).toBe(1);
    expect(hook.bodies).toHaveLength(1);
  });

  test('from a bounded queue', async () => {
    const hook = await webhook(() => undefined);
    const { repeater, hub } = await listed({ rooms: { '*': [hook.url] } }, { CARILLON_REPEATER_TARGET_QUEUE_MAX_BYTES: '1KiB', CARILLON_REPEATER_FRAME_MAX_BYTES: '1KiB', CARILLON_REPEATER_HTTP_TARGET_CONCURRENCY: '1' });
    for (let n = 0; n < 50; n += 1) hub.send(`R\n{"n":${n}}`);
    await eventually(async () => (await repeater.metric(dropped, 'target-overflow')) > 40);
    expect(await repeater.metric('carillon_repeater_target_queue_bytes')).toBeLessThanOrEqual(1_024);
  });
});

describe('the send list\'s file', () => {
  test('is read again when it changes; a wrong one leaves the old list in force', async () => {
    const { repeater, hub } = await listed({ rooms: { '*': ['D1'] } });
    const [first, second] = [await site.device(repeater, '/connect/X/D1'), await site.device(repeater, '/connect/X/D2')];
    await writeList({ rooms: { '*': ['ftp://x'] } });
    await eventually(() => repeater.logs.some((line) => line.includes('the old one stays')));
    hub.send('R\n1');
    await eventually(() => first.frames.length === 1);
    await writeList({ rooms: { '*': ['D2'] } });
    await eventually(() => repeater.logs.some((line) => line.includes('the send list changed')));
    hub.send('R\n2');
    await eventually(() => second.frames.length === 1);
    expect([first.texts(), second.texts()]).toEqual([['R\n1'], ['R\n2']]);
  });

  test('that is wrong at the start keeps the repeater from starting, with every problem told', async () => {
    const path = await writeList({ rooms: { 'a*': [], 'b': ['ftp://x'] } });
    await expect(site.repeater({ CARILLON_REPEATER_SEND_LIST_FILE: path })).rejects.toThrow(/a\*: [^]*rooms\.b\.0: /);
  });
});
