import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { closeAll, connectPeer, joinRooms, startTestHub, type TestHub, type TestPeer } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';
const BODY = 'x'.repeat(90_000);

/** Publishes, at the pace of a listener that reads, until so many peers were behind and nobody is any more: they were cut. */
async function floodUntilCut(hub: TestHub, listener: TestPeer, peers: number): Promise<string[]> {
  const writer = await connectPeer(hub, 'messenger');
  const sent: string[] = [];
  let behind = 0;
  await eventually(async () => {
    for (let n = 0; n < 3; n += 1) {
      sent.push(`${ROOM}\n${sent.length} ${BODY}`);
      writer.send(sent.at(-1) ?? '');
    }
    await listener.got(sent.at(-1) ?? '');
    const now = await hub.metric('carillon_hub_lanes_backlogged');
    behind = Math.max(behind, now);
    return behind >= peers && now === 0;
  }, { intervalMs: 1 });
  return sent;
}

describe('a peer that never reads', () => {
  it.each(['messenger', 'repeater', 'hub'] as const)('is closed with 4000 PEER_SLOW and counted, as a %s; the others get everything', async (kind) => {
    const hub = await startTestHub({ env: { CARILLON_HUB_LANE_MAX_BYTES: '1MiB' } });
    const [listener, other] = [await joinRooms(hub, ROOM), await joinRooms(hub, '*')];
    const slow = kind === 'messenger' ? await joinRooms(hub, ROOM) : await connectPeer(hub, kind);
    slow.socket.pause();
    const sent = await floodUntilCut(hub, listener, 1);
    // It wakes up within the grace that a closed peer has: it finds whole events, then the close.
    slow.socket.resume();
    expect(await slow.ended).toEqual({ code: 4000, reason: 'PEER_SLOW' });
    expect(slow.frames).toEqual(sent.slice(0, slow.frames.length));
    await other.got(sent.at(-1) ?? '');
    expect(listener.frames).toEqual(sent);
    expect(other.frames).toEqual(sent);
    await eventually(async () => expect(await hub.metric('carillon_hub_connections_closed_total', 'PEER_SLOW')).toBe(1));
    expect(await hub.metric('carillon_hub_events_dropped_total', 'peer-slow')).toBeGreaterThan(0);
    expect(await hub.metric('carillon_hub_lane_queued_bytes')).toBe(0);
  });

  it('and never wakes up is gone after the grace all the same', async () => {
    const hub = await startTestHub({ env: { CARILLON_HUB_LANE_MAX_BYTES: '1MiB' } });
    const listener = await joinRooms(hub, ROOM);
    const slow = await joinRooms(hub, ROOM);
    slow.socket.pause();
    await floodUntilCut(hub, listener, 1);
    await eventually(async () => expect((await hub.status()).info.nexus.messengers).toHaveLength(2), { what: 'the hub to hang up' });
  });

  it('that holds the most is closed with MEMORY_PRESSURE when all lanes together are over their bound', async () => {
    const hub = await startTestHub({ env: { CARILLON_HUB_LANE_MAX_BYTES: '64MiB', CARILLON_HUB_LANES_TOTAL_MAX_BYTES: '2MiB' } });
    const listener = await joinRooms(hub, ROOM);
    const slow = [await joinRooms(hub, ROOM), await joinRooms(hub, '*')];
    for (const peer of slow) peer.socket.pause();
    const sent = await floodUntilCut(hub, listener, 2);
    for (const peer of slow) peer.socket.resume();
    for (const peer of slow) expect(await peer.ended).toEqual({ code: 4003, reason: 'MEMORY_PRESSURE' });
    expect(listener.frames).toEqual(sent);
    await eventually(async () => expect(await hub.metric('carillon_hub_connections_closed_total', 'MEMORY_PRESSURE')).toBe(2));
    expect(await hub.metric('carillon_hub_events_dropped_total', 'memory-pressure')).toBeGreaterThan(0);
    expect(await hub.metric('carillon_hub_connections_closed_total', 'PEER_SLOW')).toBe(0);
  });
});
