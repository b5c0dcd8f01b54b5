import { createInProcessExchange } from '@carillon/bus';
import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { ALL, createTestFeed, type KeyOptions, type TestFeed, type TestKey } from './access.fixture.ts';
import { closeAll, codeOf, connectPeer, joinRoomsWith, openTail, startTestHub, type TestHub, type TestPeer } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const KEYS = { CARILLON_HUB_ACCESS: 'keys' };
type Allowed = NonNullable<KeyOptions['permissions']>;

interface Site {
  readonly feed: TestFeed;
  readonly hub: TestHub;
  /** Sends whatever it likes. */
  readonly writer: TestPeer;
  messenger(permissions: Allowed, ...rooms: readonly string[]): Promise<TestPeer & { readonly key: TestKey }>;
  /** Resolves when each has got something that was sent after everything before; rooms that all of them hear must be named. */
  settle(...peers: readonly TestPeer[]): Promise<void>;
}

async function startSite(): Promise<Site> {
  const feed = createTestFeed();
  const hub = await startTestHub({ feedBus: feed.connect(), env: KEYS });
  const all = await feed.key('service');
  await feed.reached(hub);
  const writer = await connectPeer(hub, 'messenger', { headers: all.bearer });
  let marks = 0;
  return {
    feed, hub, writer,
    messenger: async (permissions, ...rooms) => {
      const key = await feed.key('messenger', { permissions });
      await feed.reached(hub);
      return { ...(await joinRoomsWith(key.bearer, hub, ...rooms)), key };
    },
    settle: async (...peers) => {
      marks += 1;
      writer.send(`MARK\n${marks}`);
      for (const peer of peers) {
        await peer.got(`MARK\n${marks}`);
        peer.frames.splice(0, peer.frames.length, ...peer.frames.filter((frame) => !frame.startsWith('MARK')));
      }
    },
  };
}

const named = (room: string, key: string): string => `${room}\n{"key":"${key}"}`;
const codesOf = ({ texts }: TestPeer): (string | undefined)[] => texts.map(codeOf).filter((code) => code !== 'CONTROL_INVALID');

describe('what a messenger receives', () => {
  it('is asked at subscribe: what no rule covers is refused one by one, the rest is taken', async () => {
    const { hub, messenger, settle, writer } = await startSite();
    const peer = await messenger({ receive: ['ITB-*', 'MARK'], deny: { receive: ['ITB-9'] } });
    peer.say('{"rooms":["ITB-1","JKB-1","MARK","*","ITB-9","ITB-**"],"create":true}');
    await peer.heard();
    expect(codesOf(peer)).toEqual(['RECEIVE_DENIED', 'RECEIVE_DENIED', 'RECEIVE_DENIED', 'RECEIVE_DENIED']);
    expect(peer.texts.filter((text) => text.includes('RECEIVE_DENIED')).map((text) => (JSON.parse(text) as { detail: string }).detail)).toEqual(['JKB-1', '*', 'ITB-9', 'ITB-**']);
    for (const room of ['ITB-1', 'JKB-1', 'ITB-9', 'ITB-2']) writer.send(`${room}\n`);
    await settle(peer);
    expect(peer.frames).toEqual(['ITB-1\n']);
    expect(await hub.metric('carillon_hub_refused_total', 'RECEIVE_DENIED')).toBe(4);
  });

  it('is filtered at delivery, also where a pattern selects more than may be had', async () => {
    const { messenger, settle, writer } = await startSite();
    const peer = await messenger({ receive: ['ITB-*', 'MARK'], deny: { receive: ['ITB-9*'] } }, 'ITB-*', 'MARK');
    for (const room of ['ITB-1', 'ITB-9', 'ITB-91', 'ITB-2']) writer.send(`${room}\n`);
    await settle(peer);
    expect(peer.frames).toEqual(['ITB-1\n', 'ITB-2\n']);
  });

  it('changes with the permissions of its key, while its subscriptions stay', async () => {
    const { feed, hub, messenger, settle, writer } = await startSite();
    const [peer, other] = [await messenger(ALL, 'A', 'B', 'MARK'), await messenger(ALL, 'A', 'B', 'MARK')];
    const say = async (): Promise<readonly (readonly string[])[]> => {
      for (const room of ['A', 'B']) writer.send(`${room}\n`);
      await settle(peer, other);
      return [peer, other].map(({ frames }) => frames.splice(0));
    };
    expect(await say()).toEqual([['A\n', 'B\n'], ['A\n', 'B\n']]);
    await feed.change(peer.key, { permissions: { send: [], receive: [{ room: 'A' }, { room: 'MARK' }], deny: { send: [], receive: [] } } });
    await feed.reached(hub);
    expect(await say()).toEqual([['A\n'], ['A\n', 'B\n']]);
    peer.send('A\n');
    await peer.heard();
    expect(codesOf(peer)).toEqual(['SEND_DENIED']);
    await feed.change(peer.key, {});
    await feed.reached(hub);
    expect(await say()).toEqual([['A\n', 'B\n'], ['A\n', 'B\n']]);
    expect(peer.isOpen()).toBe(true);
  });

  it('goes by the name of the event where a rule does', async () => {
    const { feed, hub, messenger, settle, writer } = await startSite();
    const only = await messenger({ receive: [{ room: 'A', event: 'power' }, 'MARK'] }, 'A', 'MARK');
    const allBut = await messenger({ receive: ['*'], deny: { receive: [{ room: 'A', event: 'secret/**' }] } }, '*');
    const all = await messenger(ALL, '*');
    const frames = [named('A', 'power'), named('A', 'input'), named('A', 'secret/x'), named('B', 'secret/x'), 'A\nnot json', 'A\n{"specversion":"1.0","type":"power"}'];
    for (const frame of frames) writer.send(frame);
    await settle(only, allBut, all);
    expect(all.frames).toEqual(frames);
    expect(only.frames).toEqual([frames[0], frames[5]]);
    expect(allBut.frames).toEqual([frames[0], frames[1], frames[3], frames[5]]);
    await feed.change(only.key, { permissions: { send: [], receive: [{ room: 'A', event: 'input' }, { room: 'MARK' }], deny: { send: [], receive: [] } } });
    await feed.reached(hub);
    only.frames.length = 0;
    for (const frame of frames) writer.send(frame);
    await settle(only);
    expect(only.frames).toEqual([frames[1]]);
  });

  it('is the same over a live tail, and one that may not be is refused', async () => {
    const { feed, hub, writer } = await startSite();
    const key = await feed.key('messenger', { permissions: { receive: ['ITB-*'], deny: { receive: [{ room: 'ITB-1', event: 'secret' }] } } });
    await feed.reached(hub);
    expect(await hub.call('GET', '/rooms/JKB-1/events', { headers: key.bearer })).toMatchObject({ status: 403, code: 'RECEIVE_DENIED' });
    const tail = await openTail(hub, '/rooms/ITB-*/events', key.bearer);
    for (const frame of [named('ITB-1', 'secret'), named('JKB-1', 'power'), named('ITB-1', 'power'), named('ITB-2', 'last')]) writer.send(frame);
    await eventually(() => tail.text().includes('last'));
    expect(tail.text().match(/"key":"[a-z]+"/g)).toEqual(['"key":"power"', '"key":"last"']);
    await feed.change(key, { permissions: { send: [], receive: [{ room: 'ITB-2' }], deny: { send: [], receive: [] } } });
    await feed.reached(hub);
    for (const frame of [named('ITB-1', 'power'), named('ITB-2', 'again')]) writer.send(frame);
    await eventually(() => tail.text().includes('again'));
    expect(tail.text().match(/"key":"[a-z]+"/g)).toEqual(['"key":"power"', '"key":"last"', '"key":"again"']);
  });
});

describe('what may be sent', () => {
  it('is asked of every event of a messenger, which lives on', async () => {
    const { hub, messenger, settle } = await startSite();
    const listener = await messenger(ALL, '*');
    const peer = await messenger({ send: ['ITB-*', { room: 'JKB-1', event: 'power' }], deny: { send: ['ITB-9', { room: 'ITB-1', event: 'fire' }] } });
    const good = [named('ITB-1', 'x'), named('JKB-1', 'power')];
    for (const frame of [named('ITB-9', 'x'), ...good, named('ITB-1', 'fire'), 'ITB-1\nnot json', named('JKB-1', 'input'), named('X', 'x')]) peer.send(frame);
    await peer.heard();
    await settle(listener);
    expect(listener.frames).toEqual(good);
    expect(codesOf(peer)).toEqual(Array.from({ length: 5 }, () => 'SEND_DENIED'));
    expect([await hub.metric('carillon_hub_refused_total', 'SEND_DENIED'), await hub.metric('carillon_hub_events_received_total', 'messenger')]).toEqual([5, 3]);
  });

  it('is asked of POST /event', async () => {
    const { feed, hub } = await startSite();
    const { bearer } = await feed.key('messenger', { permissions: { send: [{ room: 'A', event: 'power' }] } });
    await feed.reached(hub);
    const post = async (room: string, key: string) => (await hub.call('POST', '/event', { body: { 'affected-room': { roomID: room }, key }, headers: bearer })).status;
    expect([await post('A', 'power'), await post('A', 'input'), await post('B', 'power')]).toEqual([200, 403, 403]);
  });

  it('is asked of repeaters', async () => {
    const { feed, hub, messenger, settle } = await startSite();
    const listener = await messenger(ALL, '*');
    const { bearer } = await feed.key('repeater', { permissions: { send: ['ITB-*'] } });
    await feed.reached(hub);
    const repeater = await connectPeer(hub, 'repeater', { headers: bearer });
    for (const room of ['JKB-1', 'ITB-1']) repeater.send(`${room}\n`);
    await repeater.heard();
    await settle(listener);
    expect(listener.frames).toEqual(['ITB-1\n']);
    expect(repeater.texts.map(codeOf)).toEqual(['SEND_DENIED', 'FRAME_LINE_FEED_MISSING']);
  });
});

describe('an event that a repeater is owed', () => {
  it('goes to the next one that may receive its room', async () => {
    const { feed, hub, writer } = await startSite();
    const [itb, jkb, power] = [await feed.key('repeater', { permissions: { receive: ['ITB-*'] } }), await feed.key('repeater', { permissions: { receive: ['JKB-*'] } }), await feed.key('repeater', { permissions: { receive: [{ room: 'JKB-1', event: 'power' }] } })];
    await feed.reached(hub);
    const repeaters: TestPeer[] = [];
    for (const { bearer } of [itb, jkb, power]) repeaters.push(await connectPeer(hub, 'repeater', { headers: bearer }));
    const sent = Array.from({ length: 12 }, (_, n) => named(n % 3 === 0 ? 'ITB-1' : 'JKB-1', n % 2 === 0 ? 'power' : 'input'));
    for (const frame of sent) writer.send(frame);
    writer.send(named('X', 'power'));
    await writer.heard();
    await eventually(() => repeaters.flatMap(({ frames }) => frames).length === 12);
    expect(repeaters.flatMap(({ frames }) => frames).sort()).toEqual([...sent].sort());
    expect(repeaters[0]?.frames.every((frame) => frame.startsWith('ITB'))).toBe(true);
    expect(repeaters[2]?.frames.length).toBeGreaterThan(0);
    expect(repeaters[2]?.frames.every((frame) => frame === named('JKB-1', 'power'))).toBe(true);
    expect(await hub.metric('carillon_hub_events_dropped_total', 'denied')).toBe(1);
  });

  it('stays owed to the cluster while no repeater here may receive it', async () => {
    const exchange = createInProcessExchange();
    const feed = createTestFeed({ exchange });
    const [a, b] = [await startTestHub({ bus: exchange.connect(), env: KEYS }), await startTestHub({ bus: exchange.connect(), env: KEYS })];
    const [service, itb, all] = [await feed.key('service'), await feed.key('repeater', { permissions: { receive: ['ITB-*'] } }), await feed.key('repeater')];
    await feed.reached(a, b);
    const [near, far] = [await connectPeer(a, 'repeater', { headers: itb.bearer }), await connectPeer(b, 'repeater', { headers: all.bearer })];
    const writer = await connectPeer(a, 'messenger', { headers: service.bearer });
    for (const room of ['ITB-1', 'JKB-1', 'JKB-2']) writer.send(`${room}\n`);
    await far.got('JKB-2\n');
    await near.got('ITB-1\n');
    expect([near.frames, far.frames]).toEqual([['ITB-1\n'], ['JKB-1\n', 'JKB-2\n']]);
    await far.leave();
    (await connectPeer(b, 'repeater', { headers: itb.bearer })).frames.length = 0;
    writer.send('JKB-3\n');
    await eventually(async () => (await b.metric('carillon_hub_events_dropped_total', 'denied')) + (await a.metric('carillon_hub_events_dropped_total', 'denied')) === 1);
  });
});

describe('a hub link', () => {
  it('carries out what its key may receive, and in what it may send', async () => {
    const { feed, hub, writer, messenger, settle } = await startSite();
    const listener = await messenger(ALL, '*');
    const { bearer } = await feed.key('hub-link', { permissions: { receive: ['ITB-*', { room: 'JKB-1', event: 'power' }], send: ['UP-*'] } });
    await feed.reached(hub);
    const link = await connectPeer(hub, 'hub', { headers: bearer });
    const frames = [named('ITB-1', 'x'), named('JKB-1', 'input'), named('JKB-1', 'power'), named('X', 'x')];
    for (const frame of frames) writer.send(frame);
    for (const room of ['UP-1', 'DOWN', 'UP-2']) link.send(`${room}\n`);
    await link.heard();
    await settle(listener);
    await link.got(frames[2] ?? '');
    expect(link.frames).toEqual([frames[0], frames[2]]);
    expect(listener.frames).toEqual([...frames, 'UP-1\n', 'UP-2\n']);
    expect(link.texts.map(codeOf)).toEqual(['SEND_DENIED', 'FRAME_LINE_FEED_MISSING']);
    expect(await hub.metric('carillon_hub_events_dropped_total', 'denied')).toBeGreaterThanOrEqual(2);
    expect(link.isOpen()).toBe(true);
  });

  it('that a key has opened carries on this side what the key may, and ends with it', async () => {
    const { feed, hub, writer } = await startSite();
    const far = await startTestHub();
    const [farListener, farWriter] = [await joinRoomsWith({}, far, '*'), await connectPeer(far, 'messenger')];
    const key = await feed.key('hub-link', { permissions: { receive: ['ITB-*'], send: ['UP-*'] } });
    await feed.reached(hub);
    expect((await hub.call('POST', `/interconnect/${encodeURIComponent(far.host)}`, { headers: key.bearer })).status).toBe(200);
    for (const room of ['X', 'ITB-1']) writer.send(`${room}\n`);
    await farListener.got('ITB-1\n');
    expect(farListener.frames).toEqual(['ITB-1\n']);
    farWriter.send('DOWN\n');
    await eventually(async () => (await hub.metric('carillon_hub_refused_total', 'SEND_DENIED')) === 1);
    await feed.remove(key.entry);
    await eventually(async () => (await hub.metric('carillon_hub_links')) === 0 && (await far.metric('carillon_hub_connections', 'hub')) === 0);
  });

  it('presents the key that it was given, and says it nowhere', async () => {
    const { feed, hub } = await startSite();
    const farFeed = createTestFeed();
    const far = await startTestHub({ feedBus: farFeed.connect(), env: KEYS });
    const [own, theirs, wrongKind] = [await feed.key('hub-link'), await farFeed.key('hub-link'), await farFeed.key('messenger')];
    await Promise.all([feed.reached(hub), farFeed.reached(far)]);
    const link = (body?: unknown) => hub.call('POST', `/interconnect/${encodeURIComponent(far.host)}`, { headers: own.bearer, ...(body === undefined ? {} : { body }) });
    expect(await link()).toMatchObject({ status: 502, code: 'LINK_UNREACHABLE', text: expect.stringContaining('ACCESS_KEY_REQUIRED') as string });
    expect(await link({ accessKey: wrongKind.key })).toMatchObject({ status: 502, text: expect.stringContaining('ACCESS_KIND_REFUSED') as string });
    for (const body of [{ accessKey: 'x' }, { accesskey: theirs.key }, { accessKey: theirs.key, more: 1 }, { accessKey: 1 }, [], 'null']) {
      const answer = await link(body);
      expect([answer.status, answer.code, answer.text.includes('ck_')]).toEqual([400, 'RESOURCE_INVALID', answer.text.includes('(ck_…)')]);
      expect(answer.text).not.toContain(theirs.key);
    }
    const broken = await link(`{"accessKey":"${theirs.key}`);
    expect([broken.code, broken.text.includes(theirs.id)]).toEqual(['JSON_INVALID', false]);
    const answer = await link({ accessKey: theirs.key });
    expect(answer.status).toBe(200);
    const told = [answer.text, (await hub.call('GET', '/interconnect', { headers: own.bearer })).text, (await hub.call('GET', '/status', { headers: own.bearer })).text];
    expect(told.join().includes(theirs.key)).toBe(false);
    for (const address of [`ws://${far.host}/k/${theirs.key}/connect/hub`, `ws://${far.host}/${theirs.key}`]) {
      const refused = await hub.call('POST', `/interconnect/${encodeURIComponent(address)}`, { headers: own.bearer });
      expect([refused.code, refused.text.includes(theirs.key)]).toEqual(['LINK_ADDRESS_INVALID', false]);
    }
  });

  it('of the configuration presents CARILLON_HUB_LINK_KEY and is the business of workspace default', async () => {
    const farFeed = createTestFeed();
    const far = await startTestHub({ feedBus: farFeed.connect(), env: KEYS });
    const key = await farFeed.key('hub-link', { workspaceId: 'teamA' });
    const service = await farFeed.key('service', { workspaceId: 'teamA' });
    await farFeed.reached(far);
    const hub = await startTestHub({ env: { CARILLON_HUB_LINKS: far.host, CARILLON_HUB_LINK_KEY: key.key } });
    await eventually(async () => (await hub.metric('carillon_hub_links', 'up')) === 1);
    const listener = await joinRoomsWith(service.bearer, far, 'A');
    await hub.post('A');
    await eventually(() => listener.frames.length === 1);
  });
});
