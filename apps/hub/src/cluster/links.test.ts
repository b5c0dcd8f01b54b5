import { createServer } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net';

import { eventually, freePort, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { closeAll, connectPeer, joinRooms, onClose, startTestHub, type TestHub } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

interface LinkLine { readonly address: string; readonly state: string; readonly version?: number; readonly hub?: string; readonly lastError?: string }

const linksOf = async (hub: TestHub): Promise<readonly LinkLine[]> => (JSON.parse((await hub.call('GET', '/interconnect')).text) as { links: LinkLine[] }).links;
const linkedHubs = async (hub: TestHub): Promise<readonly string[]> => (await hub.status()).info.nexus.hubs.map(({ id }) => id);
const unlink = (hub: TestHub, address: string) => hub.call('DELETE', `/interconnect/${encodeURIComponent(address)}`);

async function serve(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onClose(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

/** Proves that a link carries events, whatever was lost while it was down. */
async function carries(from: TestHub, to: TestHub): Promise<void> {
  const [writer, listener] = [await connectPeer(from, 'messenger'), await joinRooms(to, 'PROBE')];
  await eventually(() => {
    writer.send('PROBE\n');
    return listener.frames.length > 0;
  }, { what: 'the link to carry an event' });
  await Promise.all([writer.leave(), listener.leave()]);
}

describe('POST /interconnect', () => {
  it.each([
    ['host:port', ({ port }: TestHub) => `localhost:${port}`],
    ['a URL', ({ url }: TestHub) => url],
    ['a URL with its path', ({ url }: TestHub) => `${url}/connect/hub`],
  ])('answers once the link is up (%s)', async (_, address) => {
    const [near, far] = [await startTestHub(), await startTestHub()];
    const answer = await near.link(address(far));
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.text)).toMatchObject({ state: 'up', version: 2, hub: far.id });
    expect(await linksOf(near)).toEqual([JSON.parse(answer.text)]);
    expect([await linkedHubs(near), await linkedHubs(far)]).toEqual([[far.id], [near.id]]);
    expect(await linksOf(far)).toEqual([]);
    await carries(near, far);
    await carries(far, near);
  });

  it('takes a URL that is not percent-encoded too', async () => {
    const [near, far] = [await startTestHub(), await startTestHub()];
    expect((await near.call('POST', `/interconnect/${far.url}`)).status).toBe(200);
    expect((await near.call('DELETE', `/interconnect/${far.url}`)).status).toBe(204);
  });

  it.each(['http%3A%2F%2Fhub-2', 'hub-2%3A0', 'hub-2%3A70000', 'me%40hub-2', 'ws%3A%2F%2Fhub-2%3Fx%3D1', 'hub%202', '%00', 'hub-2/connect/hub'])('refuses %s with LINK_ADDRESS_INVALID', async (path) => {
    const hub = await startTestHub();
    const answer = await hub.call('POST', `/interconnect/${path}`);
    expect([answer.status, answer.code]).toEqual([400, 'LINK_ADDRESS_INVALID']);
    expect(await linksOf(hub)).toEqual([]);
  });

  it('refuses a link that exists: the same address, the hub by another name, the other direction', async () => {
    const [near, far] = [await startTestHub(), await startTestHub()];
    expect((await near.link(far.host)).status).toBe(200);
    for (const [hub, address] of [[near, far.host], [near, far.url], [near, `localhost:${far.port}`], [far, near.host]] as const) {
      const answer = await hub.link(address);
      expect([answer.status, answer.code]).toEqual([409, 'LINK_EXISTS']);
    }
    expect(await linksOf(near)).toMatchObject([{ state: 'up' }]);
    expect(await linksOf(far)).toEqual([]);
    await eventually(async () => expect([await linkedHubs(near), await linkedHubs(far)]).toEqual([[far.id], [near.id]]));
    await carries(near, far);
  });

  it('makes one link when the same hub is asked for by two names at once', async () => {
    const [near, far] = [await startTestHub(), await startTestHub()];
    const answers = await Promise.all([near.link(far.host), near.link(`localhost:${far.port}`), near.link(`${far.url}/connect/hub/`)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409]);
    await eventually(async () => expect(await linkedHubs(far)).toEqual([near.id]));
    await carries(near, far);
  });

  it('makes at least one link when both sides ask at once', async () => {
    for (let round = 0; round < 10; round += 1) {
      const [near, far] = [await startTestHub(), await startTestHub()];
      const answers = await Promise.all([near.link(far.host), far.link(near.host)]);
      expect(answers.map(({ status }) => status)).toContain(200);
      await carries(near, far);
      await carries(far, near);
      await closeAll();
    }
  });

  it('refuses a link to itself, by any name', async () => {
    const hub = await startTestHub();
    for (const address of [hub.host, `localhost:${hub.port}`]) {
      const answer = await hub.link(address);
      expect([answer.status, answer.code]).toEqual([409, 'LINK_TO_SELF']);
    }
    expect(await linksOf(hub)).toEqual([]);
    expect((await hub.status()).info.nexus.hubs).toEqual([]);
  });

  it('refuses more links than the hub takes', async () => {
    const near = await startTestHub({ env: { CARILLON_HUB_LINKS_MAX: '1' } });
    const [one, two] = [await startTestHub(), await startTestHub()];
    expect((await near.link(one.host)).status).toBe(200);
    const answer = await near.link(two.host);
    expect([answer.status, answer.code]).toEqual([429, 'LINKS_EXCEEDED']);
    expect((await unlink(near, one.host)).status).toBe(204);
    expect((await near.link(two.host)).status).toBe(200);
  });

  it.each<[string, () => Server | undefined]>([
    ['nobody listens', () => undefined],
    ['no HTTP is spoken', () => createTcpServer((socket) => socket.on('error', () => undefined).resume().end('220 mail.example ESMTP\r\n'))],
    ['the other side hangs up', () => createTcpServer((socket) => socket.destroy())],
    ['nothing is ever said', () => createTcpServer((socket) => socket.on('error', () => undefined).resume())],
    ['a web server knows nothing of it', () => createServer((_req, res) => res.writeHead(404).end('<h1>Not found</h1>'))],
    ['a web server says OK', () => createServer((_req, res) => res.end('hello'))],
    ['a web server never finishes its answer', () => createServer((_req, res) => void res.writeHead(500).write('...'))],
  ])('answers 502 LINK_UNREACHABLE with the reason where %s, and keeps nothing', async (_, server) => {
    const hub = await startTestHub({ env: { CARILLON_HUB_HANDSHAKE_TIMEOUT_MS: '200' } });
    const there = server();
    const port = there === undefined ? await freePort() : await serve(there);
    const answer = await hub.link(`127.0.0.1:${port}`);
    expect([answer.status, answer.code]).toEqual([502, 'LINK_UNREACHABLE']);
    expect(JSON.parse(answer.text)).toMatchObject({ detail: expect.stringMatching(new RegExp(`^ws://127\\.0\\.0\\.1:${port}/connect/hub: .{5,}`)) as string });
    expect(await linksOf(hub)).toEqual([]);
  });
});

describe('DELETE /interconnect', () => {
  it('ends a link for good, by any form of its address', async () => {
    const [near, far] = [await startTestHub(), await startTestHub()];
    await near.link(far.host);
    expect((await unlink(near, `${far.url}/connect/hub`)).status).toBe(204);
    await eventually(async () => expect([await linkedHubs(near), await linkedHubs(far), await linksOf(near)]).toEqual([[], [], []]));
    const again = await unlink(near, far.host);
    expect([again.status, again.code]).toEqual([404, 'LINK_NOT_FOUND']);
    const bad = await unlink(near, 'x y');
    expect([bad.status, bad.code]).toEqual([400, 'LINK_ADDRESS_INVALID']);
    expect((await near.link(far.host)).status).toBe(200);
  });

  it('ends the wait of whoever asked for a link that is still on its way', async () => {
    let dialled = false;
    const port = await serve(createTcpServer((socket) => {
      dialled = true;
      socket.on('error', () => undefined).resume();
    }));
    const hub = await startTestHub();
    const asked = hub.link(`127.0.0.1:${port}`);
    await eventually(() => dialled);
    expect((await unlink(hub, `127.0.0.1:${port}`)).status).toBe(204);
    expect((await asked).code).toBe('LINK_UNREACHABLE');
    expect(await linksOf(hub)).toEqual([]);
  });
});

describe('a link', () => {
  it('comes back when the other hub was restarted', async () => {
    const near = await startTestHub();
    const far = await startTestHub();
    await near.link(far.host);
    await far.stop();
    await eventually(async () => expect(await linksOf(near)).toMatchObject([{ state: 'down', lastError: expect.any(String) as string }]));
    expect(await near.metric('carillon_hub_links', 'down')).toBe(1);
    await near.post('A');
    await near.post('A');
    expect(await near.metric('carillon_hub_events_dropped_total', 'link-down')).toBe(2);
    const again = await startTestHub({ port: far.port });
    await eventually(async () => expect(await linksOf(near)).toMatchObject([{ state: 'up', hub: again.id }]));
    await carries(near, again);
    await carries(again, near);
    expect(await near.metric('carillon_hub_events_dropped_total', 'link-down')).toBe(2);
  });

  it('of the configuration comes up when its hub appears, and both ways at once do no harm', async () => {
    const port = await freePort();
    const near = await startTestHub({ env: { CARILLON_HUB_LINKS: `127.0.0.1:${port}` } });
    await eventually(async () => expect(await linksOf(near)).toMatchObject([{ state: 'down', lastError: expect.stringContaining('ECONNREFUSED') as string }]));
    expect((await near.link(`127.0.0.1:${port}`)).code).toBe('LINK_EXISTS');
    const far = await startTestHub({ port, env: { CARILLON_HUB_LINKS: near.host } });
    for (const hub of [near, far]) await eventually(async () => expect(await linksOf(hub)).toMatchObject([{ state: 'up' }]));
    const listener = await joinRooms(far, '*');
    const writer = await connectPeer(near, 'messenger');
    const sent = Array.from({ length: 200 }, (_, n) => `A\n${n}`);
    for (const frame of sent) writer.send(frame);
    await listener.got('A\n199');
    await carries(near, far);
    expect(listener.frames.filter((frame) => frame.startsWith('A\n'))).toEqual(sent);
  });

  it('to an original hub carries v1 frames both ways', async () => {
    const hub = await startTestHub();
    const { WebSocketServer } = await import('ws');
    // The original neither knows subprotocols nor sends pings at once.
    const original = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => false });
    onClose(() => new Promise((resolve) => {
      for (const socket of original.clients) socket.terminate();
      original.close(resolve);
    }));
    const got: string[] = [];
    original.on('connection', (socket) => {
      socket.on('message', (data) => got.push((data as Buffer).toString()));
      socket.send(Buffer.from('A\n\n{"from":"original"}'));
    });
    const listener = await joinRooms(hub, 'A');
    const answer = await hub.link(`127.0.0.1:${(original.address() as AddressInfo).port}`);
    expect(JSON.parse(answer.text)).toMatchObject({ state: 'up', version: 1 });
    await listener.got('A\n\n{"from":"original"}');
    (await connectPeer(hub, 'messenger')).send('A\n{"to":"original"}');
    await eventually(() => expect(got).toEqual(['A\n{"to":"original"}']));
  });
});
