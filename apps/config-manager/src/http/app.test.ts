import { once } from 'node:events';
import { connect } from 'node:net';

import { eventually } from '@carillon/testing';
import { CarillonError } from '@carillon/wire';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { startTestConfigManager, type TestConfigManager } from '../config-manager.fixture.ts';
import { route, type Route } from './route.ts';

const thing = z.object({ id: z.string(), name: z.string() }).meta({ id: 'TestThing' });
const shared = { tag: 'Test', access: 'public', answer: { status: 200, schema: thing, description: 'A thing' } } as const;
const SECRET = 'what no answer shows';

/** What the routes of the API do not do by themselves. */
const ROUTES: readonly Route[] = [
  route({ ...shared, method: 'GET', path: '/test/things/:id', name: 'testGet', summary: '', versioned: true, params: z.strictObject({ id: z.string() }), query: z.strictObject({ size: z.coerce.number().int().optional() }), handle: async ({ params }) => ({ body: { id: params.id, name: 'a', secret: SECRET }, version: 3 }) }),
  route({ ...shared, method: 'PATCH', path: '/test/things/:id', name: 'testPatch', summary: '', versioned: true, params: z.strictObject({ id: z.string() }), body: z.strictObject({ name: z.string() }), handle: async ({ params, body, ifMatch }) => ({ body: { id: params.id, name: `${body.name} ${ifMatch ?? 'any'}` }, version: 4 }) }),
  route({ ...shared, method: 'DELETE', path: '/test/things/mine', name: 'testDelete', summary: '', answer: { status: 204, description: 'gone' }, handle: async () => ({}) }),
  route({ ...shared, method: 'POST', path: '/test/failures/:code', name: 'testFail', summary: '', params: z.strictObject({ code: z.string() }), handle: async ({ params }) => { throw params.code === 'bug' ? new Error(SECRET) : new CarillonError('STORE_UNAVAILABLE', SECRET); } }),
  route({ ...shared, method: 'GET', path: '/test/unfit', name: 'testUnfit', summary: '', handle: async () => ({ body: { id: 7 } }) }),
  route({ ...shared, method: 'GET', path: '/test/nowhere', name: 'testNowhere', summary: '', handle: async (call) => ({ body: call.workspace }) }),
];

let manager: TestConfigManager;

beforeAll(async () => {
  manager = await startTestConfigManager({ routes: ROUTES, env: { CARILLON_CONFIG_MANAGER_ALLOWED_ORIGINS: 'https://console.example', CARILLON_CONFIG_MANAGER_HEAD_TIMEOUT_MS: '300', CARILLON_CONFIG_MANAGER_BODY_MAX_BYTES: '65536' } });
});
afterAll(() => manager.stop());

const call: TestConfigManager['anonymous']['call'] = (...given) => manager.anonymous.call(...given);
const patch = (body: unknown, headers: Record<string, string> = {}) => call('PATCH', '/test/things/x', { body, headers });

describe('an answer', () => {
  it('shows what its schema names and nothing else, with an entity tag and the headers that every answer has', async () => {
    const { status, headers, text } = await call('GET', '/test/things/x%2Fy?size=3');
    expect([status, text]).toEqual([200, '{"id":"x/y","name":"a"}']);
    expect(Object.fromEntries(headers)).toMatchObject({
      etag: '"3"', 'cache-control': 'no-store', 'content-type': 'application/json', 'x-content-type-options': 'nosniff', 'x-frame-options': 'DENY', 'referrer-policy': 'no-referrer',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'", 'x-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    });
    expect(headers.has('x-powered-by')).toBe(false);
  });

  it('to HEAD is that to GET without the body', async () => {
    const { status, headers, text } = await call('HEAD', '/test/things/x');
    expect([status, text, headers.get('etag'), headers.get('content-length')]).toEqual([200, '', '"3"', String('{"id":"x","name":"a"}'.length)]);
  });

  it('that does not fit its schema is a failure of ours', async () => {
    expect(await call('GET', '/test/unfit')).toMatchObject({ status: 500, code: 'INTERNAL' });
    expect(await call('GET', '/test/nowhere')).toMatchObject({ status: 500, code: 'INTERNAL' });
  });
});

describe('a failure', () => {
  it.each([['bug', 500, 'INTERNAL'], ['store', 503, 'STORE_UNAVAILABLE']])('of kind %s says nothing but a name, under which the log says more', async (kind, status, code) => {
    const answer = await call<{ instance: string; detail?: string }>('POST', `/test/failures/${kind}`);
    expect(answer).toMatchObject({ status, code });
    expect(answer.text).not.toContain(SECRET);
    expect(answer.body.detail).toBeUndefined();
    const id = answer.headers.get('x-request-id') as string;
    expect(answer.body.instance).toBe(`urn:carillon:request:${id}`);
    expect(manager.logs.filter((line) => line.includes(id) && line.includes(SECRET))).toHaveLength(1);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
  });

  it('is counted by code', async () => {
    const before = await manager.metric('carillon_config_manager_refused_total', 'STORE_UNAVAILABLE');
    await call('POST', '/test/failures/store');
    expect(await manager.metric('carillon_config_manager_refused_total', 'STORE_UNAVAILABLE')).toBe(before + 1);
    expect(await manager.metric('carillon_config_manager_requests_total', 'testFail')).toBeGreaterThan(0);
  });
});

describe('an address', () => {
  it.each(['//api/v1', '/nothing', '/USERS', '/users/', '/test/things/', '//api/v1/test//things/x'])('%s is nothing', async (path) => {
    expect(await call('GET', path)).toMatchObject({ status: 404, code: 'ROUTE_NOT_FOUND' });
  });

  it('says which methods it has', async () => {
    const answer = await call('PUT', '/test/things/x');
    expect([answer.status, answer.code, answer.headers.get('allow')]).toEqual([405, 'METHOD_NOT_ALLOWED', 'GET, PATCH, HEAD']);
    expect((await call('OPTIONS', '/test/things/x')).status).toBe(405);
  });

  it('that two routes select has the methods of both', async () => {
    expect((await call('DELETE', '/test/things/mine')).status).toBe(204);
    expect((await call('GET', '/test/things/mine')).status).toBe(200);
    expect((await call('PUT', '/test/things/mine')).headers.get('allow')).toBe('GET, PATCH, HEAD, DELETE');
  });

  it.each(['/test/things/%FF', '/test/things/a%00b', '/test/things/%0a', `/test/things/${'x'.repeat(513)}`])('%s is malformed', async (path) => {
    expect(await call('GET', path)).toMatchObject({ status: 400, code: 'REQUEST_MALFORMED' });
  });

  it.each([['?more=1', '/query/more'], ['?size=x', '/query/size'], ['?size=1&size=1', '/query/size'], ['?__proto__=1', '/query/__proto__']])('with the query %s is refused with a pointer', async (query, pointer) => {
    expect(await call('GET', `/test/things/x${query}`)).toMatchObject({ status: 400, code: 'RESOURCE_INVALID', body: { errors: [{ pointer }] } });
  });
});

describe('a body', () => {
  it('is read, and If-Match with it', async () => {
    expect((await patch({ name: 'b' }, { 'if-match': '"7"' })).text).toBe('{"id":"x","name":"b 7"}');
    expect((await patch({ name: 'b' }, { 'content-type': 'application/json; charset=UTF-8' })).status).toBe(200);
    expect(await patch({ name: 'b' }, { 'if-match': 'W/"7"' })).toMatchObject({ status: 412, code: 'PRECONDITION_FAILED' });
    expect(await patch({ name: 'b' }, { 'if-match': '7' })).toMatchObject({ status: 400, code: 'REQUEST_MALFORMED' });
  });

  it.each([
    ['text/plain', { 'content-type': 'text/plain' }], ['a form', { 'content-type': 'application/x-www-form-urlencoded' }], ['another charset', { 'content-type': 'application/json; charset=latin1' }],
    ['compressed', { 'content-encoding': 'gzip' }], ['of no type', { 'content-type': '' }],
  ])('that is %s is MEDIA_TYPE_UNSUPPORTED', async (_what, headers) => {
    expect(await patch('{"name":"b"}', headers)).toMatchObject({ status: 415, code: 'MEDIA_TYPE_UNSUPPORTED' });
  });

  it.each([
    ['not JSON', '{"name":', 400, 'JSON_INVALID'], ['not UTF-8', Buffer.from([0x22, 0xff, 0x22]), 400, 'BODY_INVALID_UTF8'], ['too deep', '['.repeat(2_000), 400, 'JSON_TOO_DEEP'],
    ['with a prototype', '{"__proto__":{"a":1}}', 400, 'JSON_KEY_FORBIDDEN'], ['too large', JSON.stringify({ name: 'x'.repeat(65_536) }), 413, 'BODY_TOO_LARGE'],
  ])('that is %s is refused', async (_what, body, status, code) => {
    expect(await patch(body)).toMatchObject({ status, code });
  });

  it.each([['{"name":1}', ['/name']], ['{}', ['/name']], ['[]', ['']], ['null', ['']], ['{"name":"a","constructor":{"prototype":1},"x/y":1}', ['/constructor', '/x~1y']]])('%s is refused with pointers', async (body, pointers) => {
    const answer = await patch(body, { 'content-type': 'application/json' });
    expect(answer).toMatchObject({ status: 400, code: 'RESOURCE_INVALID' });
    expect((answer.body as { errors: { pointer: string }[] }).errors.map(({ pointer }) => pointer)).toEqual(pointers);
  });

  it('that is left out is an empty object, whose missing fields are told', async () => {
    expect(await call('PATCH', '/test/things/x')).toMatchObject({ code: 'RESOURCE_INVALID', body: { errors: [{ pointer: '/name' }] } });
  });

  it('that nobody asked for is not read', async () => {
    const answer = await call('DELETE', '/test/things/mine', { body: 'x'.repeat(100_000) });
    expect(answer.status).toBe(204);
  });

  it('never comes back in what a refusal says', async () => {
    expect((await call('POST', '/sessions', { body: '{"username":"a","password":"hunter2"', headers: { 'content-type': 'application/json' } })).text).not.toContain('hunter2');
    expect((await call('POST', '/sessions', { body: { username: 'a', password: ['hunter2'] } })).text).not.toContain('hunter2');
  });
});

describe('a page', () => {
  const preflight = (origin: string) => call('OPTIONS', '/users', { headers: { origin, 'access-control-request-method': 'POST' } });

  it('of a listed origin may call, without credentials of the browser', async () => {
    const { status, headers } = await preflight('https://console.example');
    expect(status).toBe(204);
    expect(Object.fromEntries(headers)).toMatchObject({ 'access-control-allow-origin': 'https://console.example', vary: 'Origin', 'access-control-allow-headers': expect.stringContaining('authorization') as string });
    expect(headers.has('access-control-allow-credentials')).toBe(false);
    const answer = await call('GET', '/test/things/x', { headers: { origin: 'https://console.example' } });
    expect([answer.headers.get('access-control-allow-origin'), answer.headers.get('access-control-expose-headers')]).toEqual(['https://console.example', expect.stringContaining('etag')]);
  });

  it.each(['https://evil.example', 'http://console.example', 'null', 'https://console.example.evil.example'])('of %s is refused before anything is done', async (origin) => {
    expect(await preflight(origin)).toMatchObject({ status: 403, code: 'ORIGIN_REFUSED' });
    const answer = await call('PATCH', '/test/things/x', { body: { name: 'a' }, headers: { origin } });
    expect(answer).toMatchObject({ status: 403, code: 'ORIGIN_REFUSED' });
    expect(answer.headers.has('access-control-allow-origin')).toBe(false);
  });

  it('that made a name point at this machine is refused', async () => {
    const { hostname, port } = new URL(manager.url);
    const socket = connect(Number(port), hostname);
    socket.end('GET /api/v1/test/things/x HTTP/1.1\r\nHost: evil.example\r\nUser-Agent: Mozilla/5.0\r\nConnection: close\r\n\r\n');
    expect(await textOf(socket)).toContain('ORIGIN_REFUSED');
  });
});

describe('a connection', () => {
  it.each([
    ['never ends its head', 'REQUEST_TIMEOUT', 'GET /api/v1/users HTTP/1.1\r\nHost: x\r\n'],
    ['never ends its body', 'REQUEST_TIMEOUT', 'PATCH /api/v1/test/things/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{'],
    ['speaks no HTTP', 'REQUEST_MALFORMED', 'hello\r\n\r\n'],
    ['has a head too large', 'REQUEST_MALFORMED', `GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`],
  ])('that %s is ended with %s', async (_what, code, bytes) => {
    const { hostname, port } = new URL(manager.url);
    const socket = connect(Number(port), hostname);
    socket.write(bytes);
    expect(await textOf(socket)).toContain(code);
    await eventually(async () => (await manager.metric('carillon_config_manager_refused_total', code)) > 0);
  });
});

async function textOf(socket: ReturnType<typeof connect>): Promise<string> {
  let text = '';
  socket.on('data', (piece) => (text += piece.toString('utf8')));
  socket.on('error', () => undefined);
  await once(socket, 'close');
  return text;
}
