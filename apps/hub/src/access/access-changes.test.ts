import { connect, createServer, type AddressInfo } from 'node:net';

import { createAccessKey, hashAccessKey } from '@carillon/access';
import { connectNats, createInProcessExchange, type Bus } from '@carillon/bus';
import { FEED_APPLIED_SUBJECT, KEYS_USED_SUBJECT } from '@carillon/schemas';
import { eventually, startNatsServer, stopAll, trackResources, type NatsServer } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed, knock, type TestFeed, type TestKey } from './access.fixture.ts';
import { closeAll, codeOf, connectPeer, connectRaw, joinRooms, joinRoomsWith, keepSecret, onClose, openTail, startTestHub, type TestHub, type TestPeer } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(async () => {
  await closeAll();
  await stopAll();
});
afterAll(() => noLeaks());

const KEYS = { CARILLON_HUB_ACCESS: 'keys' };

interface NatsSite {
  readonly nats: NatsServer;
  readonly feed: TestFeed;
  readonly bus: Bus;
  readonly hubs: readonly [TestHub, TestHub];
}

/** Two hubs and a config-manager that only talk over a real nats-server. */
async function startOnNats(env: Readonly<Record<string, string>> = KEYS): Promise<NatsSite> {
  const nats = await startNatsServer({ jetstream: true });
  const connect = (name: string): Bus => connectNats({ servers: [nats.url], name });
  const bus = connect('config-manager');
  const feed = createTestFeed({ bus });
  const hubs = [await startTestHub({ bus: connect('a'), env }), await startTestHub({ bus: connect('b'), env })] as const;
  return { nats, feed, bus, hubs };
}

/** Everything that a key can hold open at a hub; each resolves with how it ended. */
async function openAll(hub: TestHub, { messenger, repeater, link }: { readonly messenger: TestKey; readonly repeater: TestKey; readonly link: TestKey }): Promise<readonly (() => Promise<string>)[]> {
  const peers = [await joinRoomsWith(messenger.bearer, hub, 'A'), await connectPeer(hub, 'repeater', { headers: repeater.bearer }), await connectPeer(hub, 'hub', { headers: link.bearer })];
  const streams = [await openTail(hub, '/rooms/*/events', messenger.bearer), await openTail(hub, '/access/feed', repeater.bearer)];
  return [
    ...peers.map((peer) => async () => (await peer.ended).reason.split(' ')[0] ?? ''),
    ...streams.map((stream) => async () => {
      await stream.ended;
      return /event: error\ndata: \{"code":"([A-Z_]+)"/.exec(stream.text())?.[1] ?? stream.text().slice(-200);
    }),
  ];
}

async function createKeys(feed: TestFeed): Promise<{ readonly messenger: TestKey; readonly repeater: TestKey; readonly link: TestKey }> {
  return { messenger: await feed.key('messenger'), repeater: await feed.key('repeater'), link: await feed.key('hub-link') };
}

describe('a key that is revoked', () => {
  it('ends all it holds at every hub of the cluster within two seconds', async () => {
    const { feed, hubs } = await startOnNats();
    const keys = await createKeys(feed);
    const bystander = await feed.key('messenger');
    await feed.reached(...hubs);
    const held = [...(await openAll(hubs[0], keys)), ...(await openAll(hubs[1], keys))];
    const stays = await joinRoomsWith(bystander.bearer, hubs[1], 'A');
    const beganMs = performance.now();
    await Promise.all(Object.values(keys).map(({ entry }) => feed.remove(entry)));
    expect(await Promise.all(held.map((ended) => ended()))).toEqual(held.map(() => 'ACCESS_KEY_REVOKED'));
    expect(performance.now() - beganMs).toBeLessThan(2_000);
    for (const hub of hubs) expect(await knock(hub, '/connect/messenger', keys.messenger.bearer)).toBe('ACCESS_KEY_INVALID');
    await stays.heard();
    expect(stays.isOpen()).toBe(true);
    for (const hub of hubs) expect(await hub.metric('carillon_hub_connections_closed_total', 'ACCESS_KEY_REVOKED')).toBe(5);
  });

  it('says nothing more: what it sends is not taken, what waits for it is not given', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ feedBus: feed.connect(), env: KEYS });
    const [gone, stays] = [await feed.key('messenger'), await feed.key('messenger')];
    await feed.reached(hub);
    const [sender, listener] = [await joinRoomsWith(gone.bearer, hub, 'A'), await joinRoomsWith(stays.bearer, hub, 'A')];
    sender.socket.pause();
    await feed.remove(gone.entry);
    await feed.reached(hub);
    sender.send('A\ntoo late');
    listener.send('A\nfor nobody');
    sender.socket.resume();
    await sender.ended;
    expect([sender.frames, listener.frames]).toEqual([[], []]);
  });

  it('is not let through by a body that was still on its way', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ feedBus: feed.connect(), env: KEYS });
    const key = await feed.key('messenger');
    await feed.reached(hub);
    let begin!: () => void;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    let end!: () => void;
    const body = new ReadableStream({
      start: (controller) => {
        end = () => {
          controller.enqueue(Buffer.from('{"affected-room":{"roomID":"A"}}'));
          controller.close();
        };
      },
      pull: () => begin(),
    });
    const answer = fetch(`http://${hub.host}/event`, { method: 'POST', headers: key.bearer, body, duplex: 'half' } as RequestInit);
    await begun;
    await feed.remove(key.entry);
    await feed.reached(hub);
    end();
    expect((await answer).status).toBe(401);
  });
});

describe('an anonymous key that is no longer the workspace\'s', () => {
  it('lets no body through that was still on its way', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ feedBus: feed.connect(), env: KEYS });
    const anonymous = await feed.key('messenger');
    await feed.workspace('default', { anonymousKeyId: anonymous.id });
    await feed.reached(hub);
    const body = '{"affected-room":{"roomID":"A"}}';
    const posting = await connectRaw(hub.port);
    posting.socket.write(`POST /event HTTP/1.1\r\nHost: hub\r\nExpect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n`);
    await eventually(() => posting.text().includes('100 Continue'));
    await feed.workspace('default', { anonymousKeyId: null });
    await feed.reached(hub);
    posting.socket.write(body);
    await eventually(() => codeOf(posting.text()) === 'ACCESS_KEY_REQUIRED');
    expect(await hub.metric('carillon_hub_events_received_total', 'http')).toBe(0);
  });
});

describe('a key whose time is over', () => {
  it('ends all it holds', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ feedBus: feed.connect(), env: KEYS });
    const key = await feed.key('messenger');
    await feed.reached(hub);
    const [peer, tail] = [await joinRoomsWith(key.bearer, hub, 'A'), await openTail(hub, '/rooms/A/events', key.bearer)];
    await feed.change(key, { expiresAtMs: Date.now() + 300 });
    expect(await peer.ended).toEqual({ code: 4512, reason: 'ACCESS_KEY_EXPIRED' });
    await tail.ended;
    expect(tail.text()).toContain('"ACCESS_KEY_EXPIRED"');
    expect(await knock(hub, '/connect/messenger', key.bearer)).toBe('ACCESS_KEY_EXPIRED');
    await feed.change(key, { expiresAtMs: null });
    await feed.reached(hub);
    expect(await knock(hub, '/connect/messenger', key.bearer)).toBe('joined');
  });
});

describe('a secret that was rotated out', () => {
  it('ends what was opened with it when its time is over, and nothing else', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ feedBus: feed.connect(), env: KEYS });
    const key = await feed.key('messenger');
    await feed.reached(hub);
    const next = `ck_${key.id}_${createAccessKey().key.slice(-43)}`;
    keepSecret(next);
    const [before] = key.entry.secrets;
    if (before === undefined) throw new Error('a key has a secret');
    const old = await joinRoomsWith(key.bearer, hub, 'A');
    await feed.change(key, { secrets: [{ hash: hashAccessKey(next), expiresAtMs: null }, { ...before, expiresAtMs: Date.now() + 1_500 }] });
    await feed.reached(hub);
    const fresh = await joinRoomsWith({ authorization: `Bearer ${next}` }, hub, 'A');
    expect(old.isOpen()).toBe(true);
    expect(await old.ended).toEqual({ code: 4511, reason: 'ACCESS_KEY_INVALID' });
    expect(fresh.isOpen()).toBe(true);
    expect(await knock(hub, '/connect/messenger', key.bearer)).toBe('ACCESS_KEY_INVALID');
    await feed.change(key, { secrets: [before] });
    expect((await fresh.ended).code).toBe(4511);
  });
});

/** What has been said on a subject, as JSON. */
function collect(bus: Bus, subject: string): Record<string, unknown>[] {
  const said: Record<string, unknown>[] = [];
  bus.subscribe(subject, { deliver: ({ payload }) => said.push(JSON.parse(Buffer.from(payload).toString('utf8')) as Record<string, unknown>) });
  return said;
}

describe('what a hub says back', () => {
  it('is what it has applied, soon after a change and every two seconds', async () => {
    const feed = createTestFeed();
    const ear = feed.connect();
    const applied = collect(ear, FEED_APPLIED_SUBJECT);
    const hub = await startTestHub({ feedBus: feed.connect(), env: { ...KEYS, CARILLON_HUB_NAME: 'desk' } });
    for (let n = 0; n < 100; n += 1) await feed.workspace(`w${n}`);
    await eventually(() => applied.some(({ seq }) => seq === 100), { intervalMs: 5 });
    expect(applied.at(-1)).toEqual({ hub: hub.id, name: 'desk', seq: 100 });
    expect(applied.length).toBeLessThan(20);
    const before = applied.length;
    await eventually(() => applied.length > before, { timeoutMs: 4_000 });
    await ear.close();
  });

  it('is which keys were used, and are in use', async () => {
    const feed = createTestFeed();
    const ear = feed.connect();
    const said = collect(ear, KEYS_USED_SUBJECT);
    const hub = await startTestHub({ feedBus: feed.connect(), env: KEYS });
    const [used, inUse, unused] = [await feed.key('messenger'), await feed.key('messenger'), await feed.key('messenger')];
    await feed.reached(hub);
    const beganMs = Date.now();
    await hub.call('GET', '/status', { headers: used.bearer });
    await connectPeer(hub, 'messenger', { headers: inUse.bearer });
    await hub.stop();
    await eventually(() => said.length > 0);
    const ids = said.flatMap((report) => report['used'] as { readonly id: string; readonly atMs: number }[]);
    expect(new Set(ids.map(({ id }) => id))).toEqual(new Set([used.id, inUse.id]));
    expect(ids.every(({ id, atMs }) => id !== unused.id && atMs >= beganMs)).toBe(true);
    await ear.close();
  });
});

describe('a hub that cannot hear of changes', () => {
  it('trusts no key from 1.5 s on, lets the others go on, and takes everybody back when it hears again', async () => {
    const { nats, feed, hubs: [hub] } = await startOnNats({ CARILLON_HUB_ACCESS: 'open' });
    const keys = await createKeys(feed);
    await feed.reached(hub);
    const held = await openAll(hub, keys);
    const keyless: TestPeer = await joinRooms(hub, 'A');
    const beganMs = performance.now();
    nats.pause();
    expect(await Promise.all(held.map((ended) => ended()))).toEqual(held.map(() => 'ACCESS_STALE'));
    const tookMs = performance.now() - beganMs;
    expect(tookMs).toBeGreaterThan(900);
    expect(tookMs).toBeLessThan(2_000);
    expect(await hub.metric('carillon_hub_access_stale')).toBe(1);
    expect(await knock(hub, '/connect/messenger', keys.messenger.bearer)).toBe('ACCESS_STALE');
    const answer = await hub.call('POST', '/event', { body: { 'affected-room': { roomID: 'A' } }, headers: keys.messenger.bearer });
    expect([answer.status, answer.code, Number(answer.headers.get('retry-after')) > 0]).toEqual([503, 'ACCESS_STALE', true]);
    expect((await hub.post('A', { by: 'nobody' })).status).toBe(200);
    await eventually(() => keyless.frames.some((frame) => frame.includes('nobody')));
    nats.resume();
    await eventually(async () => (await hub.metric('carillon_hub_access_stale')) === 0, { timeoutMs: 15_000 });
    expect(await knock(hub, '/connect/messenger', keys.messenger.bearer)).toBe('joined');
    for (const text of ['access is stale', 'access is current again']) expect(hub.logs.filter((line) => line.includes(text))).toHaveLength(1);
  });

  it('is not ready, closes keyed peers with a hint, and hears of what it has missed before it trusts again', async () => {
    const { nats, feed, hubs: [hub] } = await startOnNats();
    const [stays, goes] = [await feed.key('messenger'), await feed.key('messenger')];
    await feed.reached(hub);
    const peer = await joinRoomsWith(stays.bearer, hub, 'A');
    await nats.kill();
    expect((await peer.ended).reason).toMatch(/^ACCESS_STALE retry-after-ms=\d+$/);
    expect((await peer.ended).code).toBe(4004);
    expect((await hub.readiness()).text).toContain('access is stale');
    await nats.restart();
    await eventually(() => feed.remove(goes.entry).then(() => true), { timeoutMs: 15_000 });
    await eventually(async () => (await knock(hub, '/connect/messenger', stays.bearer)) === 'joined', { timeoutMs: 15_000, intervalMs: 10 });
    await feed.reached(hub);
    expect(await knock(hub, '/connect/messenger', goes.bearer)).toBe('ACCESS_KEY_INVALID');
  });

  it('is one whose feed stays behind what config-manager says it has handed over', async () => {
    const { feed, hubs: [hub] } = await startOnNats();
    const key = await feed.key('messenger');
    await feed.reached(hub);
    const peer = await joinRoomsWith(key.bearer, hub, 'A');
    feed.beat();
    const beganMs = performance.now();
    await eventually(() => {
      feed.beat(feed.seq + 1);
      return !peer.isOpen();
    }, { intervalMs: 100 });
    expect((await peer.ended).reason).toContain('ACCESS_STALE');
    expect(performance.now() - beganMs).toBeGreaterThan(1_400);
    await feed.workspace('another');
    await eventually(async () => (await hub.metric('carillon_hub_access_stale')) === 0);
  });

  it('is one that has a record it cannot read, until that is mended', async () => {
    const { feed, hubs: [hub] } = await startOnNats();
    const key = await feed.key('messenger');
    await feed.reached(hub);
    const peer = await joinRoomsWith(key.bearer, hub, 'A');
    for (const text of ['{', '{"seq":0,"entry":null}', '{"seq":99,"entry":{"type":"later"}}', JSON.stringify({ seq: 99, entry: { ...key.entry, id: 'other' } })]) await feed.putRaw(`default.key.${key.id}x`, text);
    expect((await peer.ended).reason).toContain('ACCESS_STALE');
    await eventually(async () => (await hub.metric('carillon_hub_access_records_malformed_total')) === 4);
    expect(hub.logs.filter((line) => line.includes('cannot be read; it is ignored'))).toHaveLength(1);
    await feed.putRaw(`default.key.${key.id}x`, JSON.stringify({ seq: 100, entry: null }));
    await eventually(async () => (await knock(hub, '/connect/messenger', key.bearer)) === 'joined');
  });

  it('opens no link whose other hub answers meanwhile', async () => {
    const exchange = createInProcessExchange();
    const feed = createTestFeed({ exchange });
    const [hub, other] = [await startTestHub({ bus: exchange.connect(), env: KEYS }), await startTestHub()];
    const key = await feed.key('hub-link');
    await feed.reached(hub);
    let answer = (): void => undefined;
    let asked = 0;
    const slow = createServer((socket) => {
      asked += 1;
      socket.on('error', () => undefined);
      answer = () => {
        const onward = connect(other.port, '127.0.0.1');
        onward.on('error', () => undefined);
        socket.on('close', () => onward.destroy());
        onward.on('close', () => socket.destroy());
        socket.pipe(onward).pipe(socket);
      };
    });
    await new Promise<void>((resolve) => slow.listen(0, '127.0.0.1', resolve));
    onClose(() => new Promise((resolve) => slow.close(resolve)));
    const link = hub.call('POST', `/interconnect/127.0.0.1:${(slow.address() as AddressInfo).port}`, { headers: key.bearer });
    await eventually(() => asked === 1);
    await feed.putRaw('default.key.x', '{');
    await eventually(async () => (await hub.metric('carillon_hub_access_stale')) === 1);
    answer();
    expect(await link).toMatchObject({ status: 502, code: 'LINK_UNREACHABLE' });
    expect(await hub.metric('carillon_hub_links', 'up')).toBe(0);
  });

  it('trusts on with CARILLON_HUB_ACCESS_STALE_AFTER_MS=0', async () => {
    const { nats, feed, hubs: [hub] } = await startOnNats({ ...KEYS, CARILLON_HUB_ACCESS_STALE_AFTER_MS: '0' });
    const key = await feed.key('messenger');
    await feed.reached(hub);
    await nats.kill();
    await eventually(async () => (await hub.readiness()).text.includes('the bus is away'));
    expect(await knock(hub, '/connect/messenger', key.bearer)).toBe('joined');
    expect(await hub.metric('carillon_hub_access_stale')).toBe(0);
  });
});

describe('the copy on disk', () => {
  it('lets a hub start without its feed, and hear of what has changed when it has one again', async () => {
    const feed = createTestFeed();
    const first = await startTestHub({ feedBus: feed.connect(), env: KEYS });
    const [stays, goes] = [await feed.key('messenger'), await feed.key('messenger')];
    await feed.reached(first);
    await first.stop();
    const env = { ...KEYS, CARILLON_DATA_DIR: first.dataDir };
    const alone = await startTestHub({ env });
    expect((await alone.readiness()).status).toBe(200);
    for (const key of [stays, goes]) expect(await knock(alone, '/connect/messenger', key.bearer)).toBe('joined');
    await alone.stop();
    await feed.remove(goes.entry);
    const again = await startTestHub({ feedBus: feed.connect(), env });
    await feed.reached(again);
    expect([await knock(again, '/connect/messenger', stays.bearer), await knock(again, '/connect/messenger', goes.bearer)]).toEqual(['joined', 'ACCESS_KEY_INVALID']);
  });

  it('is forgotten when the feed is of an installation that was made later', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ feedBus: feed.connect(), env: KEYS });
    await feed.workspace('default', { createdAtMs: 1_000 });
    for (let count = 0; count < 5; count += 1) await feed.key('messenger');
    const former = await feed.key('messenger');
    await feed.reached(hub);
    const peer = await joinRoomsWith(former.bearer, hub, 'A');
    await hub.stop();
    await peer.ended;

    const other = createTestFeed();
    const key = await other.key('messenger');
    await other.workspace('default', { createdAtMs: 2_000 });
    const again = await startTestHub({ feedBus: other.connect(), env: { ...KEYS, CARILLON_DATA_DIR: hub.dataDir } });
    await eventually(async () => expect(await knock(again, '/connect/messenger', key.bearer)).toBe('joined'));
    expect(await knock(again, '/connect/messenger', former.bearer)).toBe('ACCESS_KEY_INVALID');
    expect(await again.metric('carillon_hub_access_seq')).toBe(other.seq);
  });
});
