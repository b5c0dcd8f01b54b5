import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import { eventually, freePort } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

import { configuredDevices } from './configured-devices.ts';
import { device, workspace, type StubHub } from './hub-stub.fixture.ts';
import { createSite, firstPeer, type Peer, type TestRepeater } from './site.fixture.ts';

let site: ReturnType<typeof createSite>;
beforeEach(() => void (site = createSite({ WebSocket, WebSocketServer })));
afterEach(() => site.close());

test('of the devices of a configuration, those are targets that are enabled, this repeater\'s, and reachable', () => {
  const { targets, unusable } = configuredDevices([
    device({ id: 'a', address: 'ws://10.0.0.5:7101/connect/ITB-1101/CP1' }), device({ id: 'b', address: 'https://10.0.0.6/events' }), device({ id: 'c', address: 'wss://far:7101', room: 'ITB-1102' }),
    device({ id: 'd', address: 'ws://off', enabled: false }), device({ id: 'e', address: 'ws://theirs', repeater: 'ITB-1102-CP1' }),
    device({ id: 'f', address: 'CP2' }), device({ id: 'g', address: 'ftp://x' }), device({ id: 'h', address: 'ws://x#y' }), device({ id: 'i', address: 'ws://x', room: 'ITB-*' }),
  ], 'ITB-1101-CP1');
  expect([...targets]).toEqual([
    ['ITB-1101', [{ kind: 'socket', url: 'ws://10.0.0.5:7101/connect/ITB-1101/CP1' }, { kind: 'http', url: 'https://10.0.0.6/events' }]],
    ['ITB-1102', [{ kind: 'socket', url: 'wss://far:7101/' }]],
  ]);
  expect(unusable.map(({ device: id }) => id)).toEqual(['f', 'g', 'h', 'i']);
});

async function started(hub: StubHub, env: Readonly<Record<string, string>> = {}): Promise<{ readonly repeater: TestRepeater; readonly link: Peer }> {
  const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: hub.url, ...env });
  await eventually(async () => (await repeater.metric('carillon_repeater_access_feed_connected')) === 1);
  return { repeater, link: await firstPeer(hub) };
}

const told = (repeater: TestRepeater): number => repeater.logs.filter((line) => line.includes('devices of the configuration changed')).length;

describe('a device of the configuration', () => {
  test('gets its room\'s events from the hub, in whatever way its address says', async () => {
    const target = await site.stub();
    const bodies: string[] = [];
    const server = createServer((request, response) => {
      request.on('data', (piece) => bodies.push(String(piece)));
      request.on('end', () => response.end());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const key = site.issue();
    const hub = await site.hub([workspace(), device({ id: 'a', address: `ws://127.0.0.1:${target.port}/k/${key.secret}/` }), device({ id: 'b', address: `http://127.0.0.1:${(server.address() as AddressInfo).port}/events?key=${key.secret}` })]);
    const { link, repeater } = await started(hub);
    link.send('ITB-1102\n{"n":1}');
    link.send('ITB-1101\n{"n":2}');
    const dialled = await firstPeer(target);
    await eventually(() => dialled.frames.length === 1 && bodies.length === 1);
    expect([dialled.path, dialled.texts(), bodies]).toEqual([`/k/${key.secret}/connect/ITB-1101/ITB-1101-CP1`, ['ITB-1101\n{"n":2}'], ['{"n":2}']]);
    const status = await site.call(repeater, '/status');
    expect(status.text).toContain(`ws://127.0.0.1:${target.port}/k/[redacted]/`);
    server.close();
    server.closeAllConnections();
    link.send('ITB-1101\n{"n":3}');
    await eventually(() => repeater.logs.some((line) => line.includes('a target did not take an event') && line.includes('?key=[redacted]')));
  });

  test('comes and goes while the repeater runs; what waits for others stays', async () => {
    const [awayPort, here] = [await freePort(), await site.stub()];
    const away = device({ id: 'away', address: `ws://127.0.0.1:${awayPort}` });
    const added = device({ id: 'added', address: `ws://127.0.0.1:${here.port}` });
    const hub = await site.hub([workspace(), away]);
    const { link, repeater } = await started(hub);
    for (let n = 0; n < 10; n += 1) link.send(`ITB-1101\n${n}`);
    await eventually(async () => (await repeater.metric('carillon_repeater_received_frames_total', 'hub')) === 10);
    hub.put(added);
    await eventually(() => told(repeater) === 2);
    link.send('ITB-1101\n10');
    const peer = await firstPeer(here);
    await eventually(() => peer.frames.length === 1);
    hub.put({ ...added, enabled: false });
    await eventually(() => peer.closed() !== undefined);
    link.send('ITB-1101\n11');
    const back = await site.stub(awayPort);
    const late = await firstPeer(back);
    await eventually(() => late.frames.length === 12);
    expect([late.texts()[0], peer.texts()]).toEqual(['ITB-1101\n0', ['ITB-1101\n10']]);
    hub.take(away);
    await eventually(() => late.closed() !== undefined);
  });

  test('that the file names too gets an event once, also when the file changes', async () => {
    const target = await site.stub();
    const address = `ws://127.0.0.1:${target.port}`;
    const path = join(await site.folder(), 'send-list.json');
    await writeFile(path, JSON.stringify({ rooms: { 'ITB-1101': [address] } }));
    const hub = await site.hub([workspace(), device({ id: 'a', address })]);
    const { link, repeater } = await started(hub, { CARILLON_REPEATER_SEND_LIST_FILE: path, CARILLON_REPEATER_SEND_LIST_CHECK_MS: '20' });
    link.send('ITB-1101\n1');
    link.send('ITB-1101\n2');
    const peer = await firstPeer(target);
    await eventually(() => peer.frames.length === 2);
    await writeFile(path, JSON.stringify({ rooms: { 'ITB-1102': [address] } }));
    await eventually(() => repeater.logs.some((line) => line.includes('the send list changed')));
    link.send('ITB-1101\n3');
    link.send('ITB-1102\n4');
    await eventually(() => peer.frames.length === 4);
    expect([peer.texts(), target.peers.length]).toEqual([['ITB-1101\n1', 'ITB-1101\n2', 'ITB-1101\n3', 'ITB-1102\n4'], 1]);
  });

  test('is served from the copy while the hub\'s feed is away, and one that cannot be is told of', async () => {
    const target = await site.stub();
    const dataDir = await site.folder();
    const hub = await site.hub([workspace(), device({ id: 'a', address: `ws://127.0.0.1:${target.port}` }), device({ id: 'b', address: 'nowhere' })]);
    const { repeater } = await started(hub, { CARILLON_DATA_DIR: dataDir });
    await eventually(() => repeater.logs.some((line) => line.includes('cannot be a target') && line.includes('"device":"b"')));
    await repeater.stop();
    // An original hub: it takes repeaters, and has no feed.
    const original = await site.stub();
    await site.repeater({ CARILLON_DATA_DIR: dataDir, CARILLON_REPEATER_HUB_URL: `ws://127.0.0.1:${original.port}` });
    (await firstPeer(original)).send('ITB-1101\n1');
    const peer = await firstPeer(target);
    await eventually(() => peer.texts().length === 1);
  });
});
