import { createAccessKey } from '@carillon/access';
import type { KeyKind } from '@carillon/schemas';
import { trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed, knock, type TestFeed, type TestKey } from './access.fixture.ts';
import { closeAll, connectPeer, joinRooms, openTail, startTestHub, type TestHub } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

async function startKeyed(env: Readonly<Record<string, string>> = {}): Promise<{ readonly feed: TestFeed; readonly hub: TestHub }> {
  const feed = createTestFeed();
  const hub = await startTestHub({ feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys', ...env } });
  return { feed, hub };
}

const KINDS: readonly KeyKind[] = ['messenger', 'repeater', 'hub-link', 'service'];
const EVENT = { 'affected-room': { roomID: 'A' } };

/** Asks, and gives `ok` or the code of the refusal. */
async function ask(hub: TestHub, door: string, headers: Readonly<Record<string, string>> = {}): Promise<string> {
  const [method = '', path = ''] = door.split(' ');
  if (method === 'JOIN') return (await knock(hub, path, headers)).replace('joined', 'ok');
  if (path === '/rooms/A/events' || path === '/access/feed') {
    const tail = await openTail(hub, path, headers);
    if (tail.response.status === 200) {
      tail.abort();
      return 'ok';
    }
    await tail.ended;
    return (/"code":"([A-Z_]+)"/.exec(tail.text()) ?? [])[1] ?? '';
  }
  const answer = await hub.call(method, path, { headers, ...(path.startsWith('/event') ? { body: EVENT } : {}) });
  return answer.code ?? 'ok';
}

const DOORS: readonly (readonly [door: string, kinds: readonly KeyKind[]])[] = [
  ['JOIN /connect/messenger', ['messenger', 'service']],
  ['JOIN /connect/repeater', ['repeater']],
  ['JOIN /connect/hub', ['hub-link']],
  ['POST /event', ['messenger', 'service']],
  ['POST /events', ['messenger', 'service']],
  ['GET /rooms/A/events', ['messenger', 'service']],
  ['GET /rooms/A/history', ['messenger', 'service']],
  ['GET /access/feed', ['repeater']],
  ['GET /interconnect', ['hub-link']],
  ['GET /status', KINDS],
  ['GET /log-level', ['hub-link']],
  ['PUT /log-level/debug', ['hub-link']],
];

describe('a hub that asks for keys', () => {
  it('opens each door to the kinds of keys that it is for', async () => {
    const { feed, hub } = await startKeyed({ CARILLON_HUB_LOG: 'on' });
    const keys = new Map(await Promise.all(KINDS.map(async (kind) => [kind, await feed.key(kind)] as const)));
    await feed.reached(hub);
    for (const [door, kinds] of DOORS) {
      const answers = await Promise.all(KINDS.map(async (kind) => [kind, await ask(hub, door, (keys.get(kind) as TestKey).bearer)]));
      expect([door, answers]).toEqual([door, KINDS.map((kind) => [kind, kinds.includes(kind) ? 'ok' : 'ACCESS_KIND_REFUSED'])]);
    }
    expect(await hub.metric('carillon_hub_refused_total', 'ACCESS_KIND_REFUSED')).toBeGreaterThan(0);
  });

  it.each(DOORS)('refuses %s without a key, and with one it does not know', async (door) => {
    const { feed, hub } = await startKeyed();
    await feed.key('messenger');
    const revoked = await feed.key('messenger');
    await feed.remove(revoked.entry);
    await feed.reached(hub);
    expect(await ask(hub, door)).toBe('ACCESS_KEY_REQUIRED');
    const stranger = createAccessKey().key;
    const known = `ck_${revoked.id}_${stranger.slice(stranger.lastIndexOf('_') + 1)}`;
    // The same for an id that nobody has, one that has another secret, and one that is gone.
    for (const key of [stranger, known, revoked.key, 'ck_short', 'x']) expect(await ask(hub, door, { authorization: `Bearer ${key}` })).toBe('ACCESS_KEY_INVALID');
  });

  it.each([['/interconnect/127.0.0.1%3A1', 'POST'], ['/interconnect/127.0.0.1%3A1', 'DELETE']])('asks for a key before %s is looked at (%s)', async (path, method) => {
    const { hub } = await startKeyed();
    expect(await hub.call(method, path)).toMatchObject({ status: 401, code: 'ACCESS_KEY_REQUIRED' });
    expect((await hub.call(method, path)).headers.get('www-authenticate')).toBe('Bearer');
  });

  it('says that a key has expired to whoever has its secret, and to nobody else', async () => {
    const { feed, hub } = await startKeyed();
    const expired = await feed.key('messenger', { expiresAtMs: 1 });
    await feed.reached(hub);
    const wrong = `${expired.key.slice(0, -1)}${expired.key.endsWith('A') ? 'B' : 'A'}`;
    for (const [key, code] of [[expired.key, 'ACCESS_KEY_EXPIRED'], [wrong, 'ACCESS_KEY_INVALID']]) {
      expect(await knock(hub, `/k/${key}/connect/messenger`)).toBe(code);
      expect(await hub.call('POST', `/event?key=${key}`, { body: EVENT })).toMatchObject({ status: 401, code });
    }
  });

  it('takes a key in every place, and goes on by the address without it', async () => {
    const { feed, hub } = await startKeyed();
    const { key, bearer } = await feed.key('messenger');
    const other = await feed.key('messenger');
    await feed.reached(hub);
    const encoded = `%63${key.slice(1)}`;
    const places: readonly (readonly [prefix: string, query: string, headers: Readonly<Record<string, string>>])[] = [
      ['', '', bearer], ['', '', { 'x-access-key': key }], ['', '', { 'x-api-key': key }], [`/k/${key}`, '', {}], ['', `?key=${key}`, {}], ['', `?a=b&key=${key}&c=d`, {}],
      [`/k/${encoded}`, '', {}], ['', `?key=${encoded}`, {}], [`/k/${key}`, `?key=${key}`, bearer],
    ];
    for (const [prefix, query, headers] of places) {
      expect([prefix, query, await knock(hub, `${prefix}/connect/messenger${query}`, headers)]).toEqual([prefix, query, 'joined']);
      expect((await hub.call('POST', `${prefix}/event${query}`, { headers, body: EVENT })).status).toBe(200);
      const tail = await openTail(hub, `${prefix}/rooms/A%2F1/events${query}`, headers);
      expect(tail.response.status).toBe(200);
      tail.abort();
    }
    expect(await knock(hub, `/k/${key}/connect/messenger?key=${other.key}`)).toBe('ACCESS_KEY_AMBIGUOUS');
    expect(await hub.call('POST', `/k/${key}/event`, { headers: other.bearer, body: EVENT })).toMatchObject({ status: 400, code: 'ACCESS_KEY_AMBIGUOUS' });
    expect(await hub.call('POST', '/k/%zz/event', { body: EVENT })).toMatchObject({ status: 401, code: 'ACCESS_KEY_INVALID' });
    for (const path of ['/k//connect/messenger', '/k/x/connect/messenger', '/connect/messenger?key=']) expect(await knock(hub, path)).toBe('ACCESS_KEY_INVALID');
    for (const path of [`/k/${key}`, `/k/${key}/nowhere`]) expect(await hub.call('GET', path)).toMatchObject({ code: 'ROUTE_NOT_FOUND' });
  });

  it('keeps what is public open, whatever comes as a key', async () => {
    const { hub } = await startKeyed();
    for (const headers of [{}, { authorization: 'Bearer nonsense' }, { 'x-api-key': createAccessKey().key }]) {
      expect(await hub.call('GET', '/health', { headers })).toMatchObject({ status: 200, text: '"healthy"' });
    }
    expect(await hub.call('GET', '/nowhere', { headers: { authorization: 'Bearer nonsense' } })).toMatchObject({ code: 'ACCESS_KEY_INVALID' });
    expect(await hub.call('GET', '/nowhere')).toMatchObject({ code: 'ROUTE_NOT_FOUND' });
  });

  it('lets pages in from the origins of the key\'s workspace', async () => {
    const { feed, hub } = await startKeyed({ CARILLON_HUB_ALLOWED_ORIGINS: 'https://everywhere.example' });
    await feed.workspace('teamA', { allowedOrigins: ['https://rooms.example'] });
    const [a, b] = [await feed.key('messenger', { workspaceId: 'teamA' }), await feed.key('messenger', { workspaceId: 'teamB' })];
    await feed.reached(hub);
    const from = (origin: string, { bearer }: TestKey) => ({ ...bearer, origin });
    const answers = async (key: TestKey) => Promise.all(['https://rooms.example', 'https://everywhere.example', 'https://evil.example'].map((origin) => ask(hub, 'POST /event', from(origin, key))));
    expect(await answers(a)).toEqual(['ok', 'ok', 'ORIGIN_REFUSED']);
    expect(await answers(b)).toEqual(['ORIGIN_REFUSED', 'ok', 'ORIGIN_REFUSED']);
    expect(await knock(hub, `/k/${a.key}/connect/messenger`, { Origin: 'https://rooms.example' })).toBe('joined');
    expect(await knock(hub, `/k/${b.key}/connect/messenger`, { Origin: 'https://rooms.example' })).toBe('ORIGIN_REFUSED');
    await feed.workspace('teamB', { allowedOrigins: ['*'] });
    await feed.reached(hub);
    expect(await answers(b)).toEqual(['ok', 'ok', 'ok']);
  });

  it('lets whoever has no key in by the anonymous key of workspace default, and out when that ends', async () => {
    const { feed, hub } = await startKeyed();
    const anonymous = await feed.key('messenger', { permissions: { receive: ['LOBBY'] } });
    await feed.workspace('default', { anonymousKeyId: anonymous.id });
    await feed.reached(hub);
    const [visitor, holder] = [await joinRooms(hub), await connectPeer(hub, 'messenger', { headers: anonymous.bearer })];
    visitor.say('{"rooms":["LOBBY","A"],"create":true}');
    await visitor.heard();
    expect(visitor.texts.filter((text) => text.includes('RECEIVE_DENIED'))).toHaveLength(1);
    expect(await knock(hub, '/connect/repeater')).toBe('ACCESS_KEY_REQUIRED');
    expect(await hub.call('POST', '/event', { body: EVENT })).toMatchObject({ status: 403, code: 'SEND_DENIED' });
    await feed.workspace('default', { anonymousKeyId: null });
    expect(await visitor.ended).toEqual({ code: 4510, reason: 'ACCESS_KEY_REQUIRED' });
    expect(await knock(hub, '/connect/messenger')).toBe('ACCESS_KEY_REQUIRED');
    await holder.heard();
    expect(holder.isOpen()).toBe(true);
  });

  it('keeps the log level to workspace default', async () => {
    const { feed, hub } = await startKeyed();
    const { bearer } = await feed.key('hub-link', { workspaceId: 'teamA' });
    await feed.reached(hub);
    for (const [method, path] of [['GET', '/log-level'], ['PUT', '/log-level/error']] as const) expect(await hub.call(method, path, { headers: bearer })).toMatchObject({ status: 403, code: 'ACCESS_KIND_REFUSED' });
  });
});

describe('without a key', () => {
  const PROXIED = [{ forwarded: 'for=1.2.3.4' }, { 'x-forwarded-for': '1.2.3.4' }, { 'x-real-ip': '1.2.3.4' }];

  it('loopback mode lets in who is on this machine and behind no proxy', async () => {
    const { feed, hub } = await startKeyed({ CARILLON_HUB_ACCESS: 'loopback', CARILLON_HUB_LOG: 'on' });
    const { bearer } = await feed.key('messenger');
    await feed.reached(hub);
    for (const [door] of DOORS) {
      expect([door, await ask(hub, door)]).toEqual([door, 'ok']);
      for (const headers of PROXIED) expect(await ask(hub, door, headers)).toBe('ACCESS_KEY_REQUIRED');
    }
    for (const headers of PROXIED) expect(await ask(hub, 'POST /event', { ...headers, ...bearer })).toBe('ok');
    expect(await ask(hub, 'POST /event', { authorization: `Bearer ${createAccessKey().key}` })).toBe('ACCESS_KEY_INVALID');
  });

  it('loopback mode keeps pages out that made their name point here, wherever the hub listens', async () => {
    const hub = await startTestHub({ env: { CARILLON_HUB_ACCESS: 'loopback', CARILLON_HUB_LISTEN: '0.0.0.0:0' } });
    const browser = { 'User-Agent': 'Mozilla/5.0' };
    expect(await knock(hub, '/connect/messenger', { ...browser, Host: 'evil.example', Origin: 'http://evil.example' })).toBe('ORIGIN_REFUSED');
    expect(await knock(hub, '/connect/messenger', { ...browser, Host: `localhost:${hub.port}`, Origin: `http://localhost:${hub.port}` })).toBe('joined');
    expect(await knock(hub, '/connect/messenger')).toBe('joined');
  });

  it('open mode lets in whoever reaches it, still checks a key that is presented, and warns beyond loopback', async () => {
    const hub = await startTestHub({ env: { CARILLON_HUB_LISTEN: '0.0.0.0:0' } });
    for (const headers of [{}, ...PROXIED]) expect(await ask(hub, 'JOIN /connect/messenger', headers)).toBe('ok');
    expect(await ask(hub, 'JOIN /connect/messenger', { authorization: `Bearer ${createAccessKey().key}` })).toBe('ACCESS_KEY_INVALID');
    expect(hub.logs.filter((line) => line.includes('access is open'))).toHaveLength(1);
    expect((await startTestHub()).logs.filter((line) => line.includes('access is open'))).toEqual([]);
  });
});

describe('readiness', () => {
  it('of a hub that asks for keys begins with a copy of them', async () => {
    const alone = await startTestHub({ env: { CARILLON_HUB_ACCESS: 'keys' } });
    expect(await alone.readiness()).toMatchObject({ status: 503, text: expect.stringContaining('no copy of the access keys') as string });
    const { feed, hub } = await startKeyed();
    await feed.key('messenger');
    await feed.reached(hub);
    expect((await hub.readiness()).status).toBe(200);
    expect(await hub.metric('carillon_hub_access_records')).toBe(2);
    expect(await (await startTestHub()).readiness()).toMatchObject({ status: 200 });
  });
});
