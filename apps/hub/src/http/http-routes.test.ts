import { trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { closeAll, connectPeer, connectRaw, joinRooms, startTestHub } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const EVENT = { 'affected-room': { roomID: 'ITB-1101' }, key: 'power', value: 'on' };

describe('POST /event', () => {
  it('says what the original says, and sends the body as it came', async () => {
    const hub = await startTestHub();
    const listener = await joinRooms(hub, 'ITB-1101');
    const body = ` {"affected-room" : {"roomID":"ITB-1101"},\n"unknown":[1.0,{"é":null}]}\n`;
    const answer = await hub.call('POST', '/event', { body });
    expect([answer.status, answer.text]).toEqual([200, 'Processing event']);
    await listener.got(`ITB-1101\n${body}`);
    expect(await hub.metric('carillon_hub_events_received_total', 'http')).toBe(1);
  });

  it('routes by affected-room alone, and knows rooms of all letters', async () => {
    const hub = await startTestHub();
    const listener = await joinRooms(hub, '*');
    const body = JSON.stringify({ 'affected-room': { roomID: 'Zoë \u{1F514}' }, 'target-device': { roomID: 'OTHER' } });
    expect((await hub.call('POST', '/event', { body })).status).toBe(200);
    await listener.got(`Zoë \u{1F514}\n${body}`);
  });

  it('takes many on one connection', async () => {
    const hub = await startTestHub();
    const listener = await joinRooms(hub, '*');
    const raw = await connectRaw(hub.port);
    const bodies = Array.from({ length: 50 }, (_, n) => JSON.stringify({ ...EVENT, value: `${n}` }));
    for (const body of bodies) raw.socket.write(`POST /event HTTP/1.1\r\nHost: hub\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await listener.got(`ITB-1101\n${bodies.at(-1)}`);
    expect(listener.frames).toEqual(bodies.map((body) => `ITB-1101\n${body}`));
    await expect.poll(() => raw.text().match(/200 OK/g)?.length).toBe(50);
    expect(raw.isEnded()).toBe(false);
  });

  it('holds the room to the limit of the hub, as on a socket', async () => {
    const small = await startTestHub({ env: { CARILLON_HUB_ROOM_MAX_BYTES: '16' } });
    expect((await small.post('A'.repeat(16))).status).toBe(200);
    expect(await small.post('A'.repeat(17))).toMatchObject({ status: 400, code: 'ROOM_NAME_INVALID' });
    expect(await small.post('é'.repeat(9))).toMatchObject({ status: 400, code: 'ROOM_NAME_INVALID' });
  });
});

describe('the small calls', () => {
  it('GET /health is a JSON string', async () => {
    const hub = await startTestHub();
    const answer = await hub.call('GET', '/health');
    expect([answer.status, answer.headers.get('content-type'), answer.text]).toEqual([200, 'application/json', '"healthy"']);
    expect(await hub.readiness()).toMatchObject({ status: 200 });
  });

  it('GET and PUT /log-level read and change the level', async () => {
    const hub = await startTestHub({ env: { CARILLON_LOG_LEVEL: 'info' } });
    const level = async (): Promise<unknown> => JSON.parse((await hub.call('GET', '/log-level')).text);
    expect(await level()).toEqual({ 'log-level': 'info' });
    expect((await hub.call('PUT', '/log-level/debug')).text).toBe('{"log-level":"debug"}');
    expect(await level()).toEqual({ 'log-level': 'debug' });
    for (const wrong of ['loud', 'DEBUG', '__proto__', 'info%20', '%00']) {
      expect(await hub.call('PUT', `/log-level/${wrong}`)).toMatchObject({ status: 400, code: 'LOG_LEVEL_INVALID' });
    }
    expect(await level()).toEqual({ 'log-level': 'debug' });
    expect(hub.logs.some((line) => line.includes('"level":"debug"'))).toBe(false);
    await (await connectPeer(hub, 'messenger')).leave();
    await expect.poll(() => hub.logs.some((line) => line.includes('peer left'))).toBe(true);
  });

  it('take a query, which means nothing', async () => {
    const hub = await startTestHub();
    for (const path of ['/status?pretty', '/health?', '/log-level?x=%ZZ']) expect((await hub.call('GET', path)).status).toBe(200);
  });
});

describe('what is not there', () => {
  it.each(['/', '/events/', '/event/', '/status/x', '//status', '/STATUS', '/rooms', '/rooms//events', '/rooms/A/B/events', '/connect', '/connect/', '/log-level/', '/..%2fstatus', '/favicon.ico', `/${'x'.repeat(8_000)}`])('%s is 404 ROUTE_NOT_FOUND', async (path) => {
    const hub = await startTestHub();
    expect(await hub.call('GET', path)).toMatchObject({ status: 404, code: 'ROUTE_NOT_FOUND' });
  });

  it.each([
    ['GET', '/event', 'POST'], ['PUT', '/event', 'POST'], ['POST', '/status', 'GET'], ['DELETE', '/health', 'GET'], ['HEAD', '/status', 'GET'], ['POST', '/log-level', 'GET'], ['GET', '/log-level/info', 'PUT'],
    ['GET', '/interconnect/x', 'POST, DELETE'], ['PATCH', '/interconnect', 'GET'], ['POST', '/rooms/A/events', 'GET'], ['GET', '/events', 'POST'], ['POST', '/rooms/A/history', 'GET'], ['OPTIONS', '/event', 'POST'], ['POST', '/connect/messenger', 'GET'],
  ])('%s %s is 405 with Allow: %s', async (method, path, allow) => {
    const hub = await startTestHub();
    const answer = await hub.call(method, path);
    expect([answer.status, answer.headers.get('allow'), method === 'HEAD' ? undefined : answer.code]).toEqual([405, allow, method === 'HEAD' ? undefined : 'METHOD_NOT_ALLOWED']);
  });

  it.each(['/interconnect/%', '/interconnect/%ff', '/log-level/%E0%A4', '/rooms/%zz/events', '/rooms/%C0%AF/events'])('%s is 400 REQUEST_MALFORMED', async (path) => {
    const hub = await startTestHub();
    const method = path.startsWith('/rooms') ? 'GET' : path.startsWith('/log') ? 'PUT' : 'POST';
    expect(await hub.call(method, path)).toMatchObject({ status: 400, code: 'REQUEST_MALFORMED' });
  });

  it.each(['messenger', 'repeater', 'hub', 'whatever'])('a plain GET /connect/%s is 426, and says what to upgrade to (RFC 9110 §15.5.22)', async (kind) => {
    const hub = await startTestHub();
    const raw = await connectRaw(hub.port);
    raw.socket.write(`GET /connect/${kind} HTTP/1.1\r\nHost: hub\r\n\r\n`);
    await expect.poll(() => raw.text()).toContain('UPGRADE_REQUIRED');
    expect(raw.text()).toMatch(/^HTTP\/1\.1 426 /);
    expect(raw.text().toLowerCase()).toMatch(/\r\nupgrade: websocket\r\n/);
  });

  it('does not cost the connection', async () => {
    const hub = await startTestHub();
    const raw = await connectRaw(hub.port);
    raw.socket.write('GET /nothing HTTP/1.1\r\nHost: hub\r\n\r\n');
    await expect.poll(() => raw.text()).toContain('ROUTE_NOT_FOUND');
    raw.socket.write('GET /health HTTP/1.1\r\nHost: hub\r\n\r\n');
    await expect.poll(() => raw.text()).toContain('"healthy"');
  });

  it('is a problem as RFC 9457 has it', async () => {
    const hub = await startTestHub();
    const answer = await hub.call('GET', '/nothing');
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect(JSON.parse(answer.text)).toEqual({ type: 'urn:carillon:error:ROUTE_NOT_FOUND', title: expect.any(String) as string, status: 404, code: 'ROUTE_NOT_FOUND' });
    expect(await hub.metric('carillon_hub_refused_total', 'ROUTE_NOT_FOUND')).toBe(1);
  });
});

describe('pages of other origins', () => {
  it('are refused, those of the hub itself and of the list are not, and programs send none', async () => {
    const hub = await startTestHub({ env: { CARILLON_HUB_ALLOWED_ORIGINS: 'https://rooms.example, http://other.example:8080' } });
    const of = async (origin: string) => (await hub.call('POST', '/event', { body: EVENT, headers: { origin } })).status;
    const own = [`http://${hub.host}`, `https://${hub.host}`, 'https://rooms.example', 'http://other.example:8080'];
    const foreign = ['http://rooms.example', 'https://rooms.example:444', 'https://evil.example', 'null', 'https://rooms.example.evil.example', 'http://127.0.0.1', `http://${hub.host}.evil.example`, 'x', `http://127.0.0.1:${hub.port}@evil.example`];
    expect(await Promise.all(own.map(of))).toEqual(own.map(() => 200));
    expect(await Promise.all(foreign.map(of))).toEqual(foreign.map(() => 403));
    expect((await hub.call('GET', '/status', { headers: { origin: 'https://evil.example' } })).code).toBe('ORIGIN_REFUSED');
    expect((await hub.call('GET', '/rooms/*/events', { headers: { origin: 'https://evil.example' } })).code).toBe('ORIGIN_REFUSED');
    expect(await hub.metric('carillon_hub_events_received_total', 'http')).toBe(own.length);
    const join = (origin: string) => connectPeer(hub, 'messenger', { origin }).then((peer) => peer.isOpen(), (error: Error) => error.message);
    expect(await Promise.all(own.map(join))).toEqual(own.map(() => true));
    expect(await Promise.all(foreign.map(join))).toEqual(foreign.map(() => 'Unexpected server response: 403'));
    expect(await hub.metric('carillon_hub_refused_total', 'ORIGIN_REFUSED')).toBe(2 * foreign.length + 2);
  });
});
