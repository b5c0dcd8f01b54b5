import { once } from 'node:events';
import type { AddressInfo } from 'node:net';

import { connectNats, createInProcessExchange } from '@carillon/bus';
import { eventually, startNatsServer, stopAll, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

import { createTestFeed, type TestFeed, type TestKey } from './access/access.fixture.ts';
import { closeAll, connectPeer, joinRoomsWith, onClose, openTail, startTestHub, type TestHub, type TestPeer } from './hub.fixture.ts';

const noLeaks = trackResources();
afterEach(async () => {
  await closeAll();
  await stopAll();
});
afterAll(() => noLeaks());

const KEYS = { CARILLON_HUB_ACCESS: 'keys' };
const WORKSPACES = ['teamA', 'teamB'] as const;

interface Team {
  readonly id: string;
  readonly messenger: TestKey;
  readonly repeater: TestKey;
  readonly link: TestKey;
}

async function createTeams(feed: TestFeed): Promise<readonly [Team, Team]> {
  const teams = [];
  for (const workspaceId of WORKSPACES) teams.push({ id: workspaceId, messenger: await feed.key('messenger', { workspaceId }), repeater: await feed.key('repeater', { workspaceId }), link: await feed.key('hub-link', { workspaceId }) });
  return teams as unknown as [Team, Team];
}

/** Sends from one team over every way, and a mark from the other over each, and looks who has heard what. */
async function expectIsolated(from: TestHub, to: TestHub, teams: readonly [Team, Team]): Promise<void> {
  const sites = await Promise.all(teams.map(async (team) => ({
    team, writer: await connectPeer(from, 'messenger', { headers: team.messenger.bearer }), edge: await connectPeer(from, 'repeater', { headers: team.repeater.bearer }),
    far: await joinRoomsWith(team.messenger.bearer, to, 'A', '*'), near: await joinRoomsWith(team.messenger.bearer, from, 'A'),
    tail: await openTail(to, '/rooms/A/events', team.messenger.bearer),
  })));
  await eventually(async () => {
    for (const { writer, team } of sites) writer.send(`A\nprobe ${team.id}`);
    return sites.every(({ team, far, near, tail, edge }) => [far, near, edge].every(({ frames }) => frames.includes(`A\nprobe ${team.id}`)) && tail.text().includes(`probe ${team.id}`));
  }, { what: 'both teams to hear themselves' });
  for (const { team, writer, edge } of sites) {
    writer.send(`A\n{"by":"messenger","of":"${team.id}"}`);
    edge.send(`A\n{"by":"repeater","of":"${team.id}"}`);
    await from.call('POST', '/event', { body: { 'affected-room': { roomID: 'A' }, by: 'http', of: team.id }, headers: team.messenger.bearer });
  }
  for (const { team, far, near } of sites) {
    for (const peer of [far, near]) await eventually(() => ['messenger', 'repeater', 'http'].every((by) => peer.frames.some((frame) => frame.includes(`"by":"${by}"`) && frame.includes(team.id))), { what: `${team.id} to hear all` });
  }
  for (const [at, { team, far, near, edge, tail }] of sites.entries()) {
    const other = teams[1 - at]?.id ?? '';
    const heard = [...[far, near, edge].flatMap(({ frames }) => frames), tail.text()].join('\n');
    expect([heard.includes(team.id), heard.includes(other)]).toEqual([true, false]);
  }
  for (const { writer, edge, far, near, tail } of sites) {
    for (const peer of [writer, edge, far, near]) await peer.leave();
    tail.abort();
  }
}

describe('workspaces with rooms of equal names', () => {
  it('hear nothing of each other on one hub, over any door', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ feedBus: feed.connect(), env: KEYS });
    const teams = await createTeams(feed);
    await feed.reached(hub);
    await expectIsolated(hub, hub, teams);
    expect(await hub.metric('carillon_hub_workspaces')).toBe(3);
  });

  it('hear nothing of each other in a cluster', async () => {
    const exchange = createInProcessExchange();
    const feed = createTestFeed({ exchange });
    const [a, b] = [await startTestHub({ bus: exchange.connect(), env: KEYS }), await startTestHub({ bus: exchange.connect(), env: KEYS })];
    const teams = await createTeams(feed);
    await feed.reached(a, b);
    await expectIsolated(a, b, teams);
  });

  it('hear nothing of each other in a cluster over NATS', async () => {
    const nats = await startNatsServer({ jetstream: true });
    const bus = (name: string) => connectNats({ servers: [nats.url], name });
    const feed = createTestFeed({ bus: bus('config-manager') });
    const teams = await createTeams(feed);
    const [a, b] = [await startTestHub({ bus: bus('a'), env: KEYS }), await startTestHub({ bus: bus('b'), env: KEYS })];
    await feed.reached(a, b);
    await expectIsolated(a, b, teams);
  });

  it('use their links to one original apart, each in the cluster once', async () => {
    const exchange = createInProcessExchange();
    const feed = createTestFeed({ exchange });
    const hubs = [await startTestHub({ bus: exchange.connect(), env: KEYS }), await startTestHub({ bus: exchange.connect(), env: KEYS })] as const;
    const [a, b] = await createTeams(feed);
    await feed.reached(...hubs);
    const original = await startOriginal();
    const states = async () => Promise.all([[0, a], [1, a], [1, b]].map(async ([at, team]) => {
      const { text } = await (hubs[at as 0 | 1]).call('GET', '/interconnect', { headers: (team as Team).link.bearer });
      return (JSON.parse(text) as { readonly links: readonly { readonly state: string }[] }).links[0]?.state;
    }));
    for (const [hub, team] of [[hubs[0], a], [hubs[1], a], [hubs[1], b]] as const) expect((await hub.call('POST', `/interconnect/${encodeURIComponent(original)}`, { headers: team.link.bearer })).status).toBe(200);
    await eventually(async () => {
      const [near, far, other] = await states();
      expect([[near, far].sort(), other]).toEqual([['standby', 'up'], 'up']);
    });
  });

  it('owe their repeaters apart: one team\'s repeater gets nothing of the other\'s', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ feedBus: feed.connect(), env: KEYS });
    const [a, b] = await createTeams(feed);
    await feed.reached(hub);
    const edges = [await connectPeer(hub, 'repeater', { headers: a.repeater.bearer }), await connectPeer(hub, 'repeater', { headers: b.repeater.bearer })];
    const writers = [await connectPeer(hub, 'messenger', { headers: a.messenger.bearer }), await connectPeer(hub, 'messenger', { headers: b.messenger.bearer })];
    for (let n = 0; n < 20; n += 1) for (const [at, writer] of writers.entries()) writer.send(`A\n${at} ${n}`);
    for (const [at, edge] of edges.entries()) {
      await edge.got(`A\n${at} 19`);
      expect(edge.frames).toEqual(Array.from({ length: 20 }, (_, n) => `A\n${at} ${n}`));
    }
  });

  it('see their own peers in the status, their own links, and nobody else\'s', async () => {
    const feed = createTestFeed();
    const [hub, other] = [await startTestHub({ feedBus: feed.connect(), env: KEYS }), await startTestHub()];
    const [a, b] = await createTeams(feed);
    await feed.reached(hub);
    await joinRoomsWith(a.messenger.bearer, hub, 'SECRET-A');
    await connectPeer(hub, 'repeater', { headers: a.repeater.bearer });
    const address = `/interconnect/${encodeURIComponent(other.host)}`;
    expect((await hub.call('POST', address, { headers: a.link.bearer })).status).toBe(200);
    const seen = async ({ link }: Team) => {
      const { info } = JSON.parse((await hub.call('GET', '/status', { headers: link.bearer })).text) as Awaited<ReturnType<TestHub['status']>>;
      const { links } = JSON.parse((await hub.call('GET', '/interconnect', { headers: link.bearer })).text) as { readonly links: readonly unknown[] };
      return [Object.keys(info.nexus['messenger-mapping']), info.nexus.messengers.length, info.nexus.repeaters.length, info.nexus.hubs.length, info.nexus['registration-buffer']['buffer-utilization'], links.length];
    };
    expect(await seen(a)).toEqual([['SECRET-A'], 1, 1, 1, 3, 1]);
    expect(await seen(b)).toEqual([[], 0, 0, 0, 0, 0]);
    expect(await hub.call('DELETE', address, { headers: b.link.bearer })).toMatchObject({ status: 404, code: 'LINK_NOT_FOUND' });
    expect(await hub.call('POST', address, { headers: a.link.bearer })).toMatchObject({ status: 409, code: 'LINK_EXISTS' });
    expect((await hub.call('POST', address, { headers: b.link.bearer })).status).toBe(200);
    expect(await hub.metric('carillon_hub_links', 'up')).toBe(2);
    expect((await hub.call('DELETE', address, { headers: a.link.bearer })).status).toBe(204);
    expect(await seen(b)).toMatchObject([[], 0, 0, 1, 1, 1]);
  });
});

/** An original hub: it knows neither subprotocols nor keys. */
async function startOriginal(): Promise<string> {
  const original = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => false });
  onClose(() => new Promise((resolve) => {
    for (const socket of original.clients) socket.terminate();
    original.close(resolve);
  }));
  await once(original, 'listening');
  return `127.0.0.1:${(original.address() as AddressInfo).port}`;
}

/** A hub of ours that has read nothing of this one. */
async function dialAsHub(hub: TestHub, headers: Readonly<Record<string, string>>): Promise<{ send(frame: string): void }> {
  const socket = new WebSocket(`${hub.url}/connect/hub`, 'carillon.2', { perMessageDeflate: false, headers: { ...headers, 'carillon-hub': 'third' } });
  onClose(() => socket.terminate());
  await once(socket, 'open');
  return { send: (frame) => socket.send(Buffer.from(frame), { binary: true }) };
}

describe('links of two workspaces between the same two hubs', () => {
  async function linkBoth(): Promise<{ readonly near: TestHub; readonly far: TestHub; readonly teams: readonly [Team, Team] }> {
    const [nearFeed, farFeed] = [createTestFeed(), createTestFeed()];
    const [near, far] = [await startTestHub({ feedBus: nearFeed.connect(), env: KEYS }), await startTestHub({ feedBus: farFeed.connect(), env: KEYS })];
    const teams = await createTeams(nearFeed);
    for (const { link, messenger } of teams) for (const { entry } of [link, messenger]) await farFeed.put(entry);
    for (const id of WORKSPACES) await farFeed.workspace(id);
    await Promise.all([nearFeed.reached(near), farFeed.reached(far)]);
    for (const { link } of teams) expect((await near.call('POST', `/interconnect/${encodeURIComponent(far.host)}`, { headers: link.bearer, body: { accessKey: link.key } })).status).toBe(200);
    return { near, far, teams };
  }

  it('carry each its own, also events with one id, and are closed one by one', async () => {
    const { near, far, teams: [a, b] } = await linkBoth();
    const peers: TestPeer[] = [];
    for (const { messenger } of [a, b]) peers.push(await joinRoomsWith(messenger.bearer, far, '*'));
    for (const [at, { messenger }] of [a, b].entries()) (await connectPeer(near, 'messenger', { headers: messenger.bearer })).send(`A\nof ${at}`);
    for (const [at, peer] of peers.entries()) {
      await peer.got(`A\nof ${at}`);
      expect(peer.frames).toEqual([`A\nof ${at}`]);
    }
    // Two hubs that know each other's links do not take one team's for the other's.
    for (const { link } of [a, b]) expect(await far.call('POST', `/interconnect/${encodeURIComponent(near.host)}`, { headers: link.bearer, body: { accessKey: link.key } })).toMatchObject({ status: 409, code: 'LINK_EXISTS' });
    for (const [at, { link }] of [a, b].entries()) {
      const direct = await dialAsHub(far, link.bearer);
      for (let copies = 0; copies < 2; copies += 1) direct.send(`B\tid=01ARZ3NDEKTSV4RRFFQ69G5FAV\nsame id ${at}`);
    }
    for (const [at, peer] of peers.entries()) {
      await peer.got(`B\nsame id ${at}`);
      expect(peer.frames).toEqual([`A\nof ${at}`, `B\nsame id ${at}`]);
    }
  });
});
