import { hostname } from 'node:os';

import { trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { closeAll, connectPeer, joinRooms, startTestHub } from '../hub.fixture.ts';
import { formatUptime } from './status.ts';
import { VERSION } from '../version.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

describe('an uptime', () => {
  it.each([
    [0, '0s'], [999, '0s'], [1_000, '1s'], [59_999, '59s'], [60_000, '1m0s'], [61_500, '1m1s'], [3_600_000, '1h0m0s'], [3_723_000, '1h2m3s'], [360_000_000, '100h0m0s'],
  ])('of %i ms is printed as Go does: %s', (ms, text) => {
    expect(formatUptime(ms)).toBe(text);
  });
});

describe('GET /status', () => {
  it('has the shape of the original', async () => {
    const hub = await startTestHub({ env: { CARILLON_HUB_NAME: 'ITB-HUB', CARILLON_HUB_CONNECTIONS_MAX: '9' } });
    await joinRooms(hub, 'ITB-1101', '*');
    await joinRooms(hub, 'ITB-1101');
    await connectPeer(hub, 'repeater');
    await connectPeer(hub, 'hub', { headers: { 'carillon-hub': 'other-hub' } });
    const status = await hub.status();
    expect(status).toMatchObject({ bin: 'carillon-hub', statuscode: 'healthy', version: VERSION, uptime: expect.stringMatching(/^\d+s$/) as string });
    expect(Object.keys(status).sort()).toEqual(['bin', 'info', 'statuscode', 'uptime', 'version']);
    const { nexus } = status.info;
    const [first = '', second = ''] = nexus.messengers;
    expect(first).toMatch(/^127\.0\.0\.1#\d+$/);
    const lane = (id: string) => ({ id, 'buffer-capacity': 4_194_304, 'buffer-utilization': 0 });
    expect(nexus).toEqual({
      hubs: [lane('other-hub')],
      messengers: [first, second],
      repeaters: [lane('127.0.0.1#3')],
      'messenger-mapping': { 'ITB-1101': [lane(first), lane(second)], '*': [lane(first)] },
      'registration-buffer': { id: 'registration', 'buffer-capacity': 9, 'buffer-utilization': 4 },
      'distribution-buffer': { id: 'distribution', 'buffer-capacity': 268_435_456, 'buffer-utilization': 0 },
    });
    expect(status.info.hub).toEqual({ id: hub.id, name: 'ITB-HUB', cluster: 'alone', 'live-tails': 0 });
  });

  it('names the machine when the hub has no name, forgets who left, and survives rooms named like properties', async () => {
    const hub = await startTestHub();
    const peer = await joinRooms(hub, '__proto__', 'constructor', 'toString');
    const status = await hub.status();
    expect(status.info.hub.name).toBe(hostname());
    expect(Object.keys(status.info.nexus['messenger-mapping']).sort()).toEqual(['__proto__', 'constructor', 'toString']);
    await peer.leave();
    expect((await hub.status()).info.nexus).toMatchObject({ messengers: [], 'messenger-mapping': {} });
  });

  it('stays small when peers want very many rooms', async () => {
    const hub = await startTestHub();
    const rooms = Array.from({ length: 2_000 }, (_, at) => `ROOM-${at}`);
    for (let peer = 0; peer < 5; peer += 1) await joinRooms(hub, ...rooms.map((room) => `${room}-${peer}`));
    const mapping = (await hub.status()).info.nexus['messenger-mapping'];
    expect(Object.keys(mapping)).toHaveLength(1_000);
  });
});
