import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Route } from '../http/route.ts';
import { rawRequest } from './raw-request.fixture.ts';
import { expectRefusal, fieldsOf, isPaged } from './refusals.fixture.ts';
import { fresh, openScene, type Scene } from './scene.fixture.ts';
import { everythingStored } from './stored.fixture.ts';
import { pathOf, WALKED, type Aim } from './walked-routes.fixture.ts';

// Addresses, queries and headers that no honest caller sends, each with an otherwise good call of whoever may make it.

let scene: Scene;
const aims = new Map<string, Aim>();
/** By the listing that gave it. */
const cursors = new Map<string, string>();

beforeAll(async () => {
  scene = await openScene();
  const { administrator } = scene;
  // Enough of everything that each listing has a second page.
  for (const [name, walked] of Object.entries(WALKED).filter(([each]) => each.startsWith('create') && each !== 'createSession')) {
    for (let count = 0; count < 3; count += 1) {
      const route = routeOf(name);
      const aim = (await walked.aim?.(scene, administrator)) ?? {};
      expect((await administrator.call(route.method, pathOf(route.path, aim, scene), { body: aim.body })).status, name).toBe(201);
    }
  }
  for (const [name, walked] of Object.entries(WALKED)) aims.set(name, (await walked.aim?.(scene, administrator)) ?? {});
  for (const route of listings()) {
    const { body, text } = await administrator.call<{ nextCursor: string | null }>('GET', `${pathOf(route.path, {}, scene)}?limit=1`);
    expect(body.nextCursor, `${route.name}: ${text}`).toEqual(expect.any(String));
    cursors.set(route.name, body.nextCursor as string);
  }
}, 60_000);
afterAll(() => scene.stop());

const routeOf = (name: string): Route => scene.manager.manager.routes.find((served) => served.name === name) as Route;
const listings = (): readonly Route[] => scene.manager.manager.routes.filter(isPaged);
const send = (route: Route, { query = '', headers = {}, instead = {} }: { readonly query?: string; readonly headers?: Record<string, string>; readonly instead?: Record<string, string> }) => {
  const aim = aims.get(route.name) ?? {};
  return scene.administrator.call(route.method, `${pathOf(route.path, aim, scene, instead)}${query}`, { body: aim.body, headers });
};

/** What stands in a path, and what it is refused with. */
const IDS: readonly (readonly [string, ...string[]])[] = [
  ['%00', 'REQUEST_MALFORMED'], ['a%00b', 'REQUEST_MALFORMED'], ['%0d%0aset-cookie:%20a=b', 'REQUEST_MALFORMED'], ['%7f', 'REQUEST_MALFORMED'], ['x'.repeat(10_240), 'REQUEST_MALFORMED'],
  ['%zz', 'REQUEST_MALFORMED'], ['%', 'REQUEST_MALFORMED'], ['%ff', 'REQUEST_MALFORMED'], ['%c0%af', 'REQUEST_MALFORMED'], ['%ed%a0%80', 'REQUEST_MALFORMED'],
  ...['..%2f', '..%2f..%2fusers', '%2e%2e%2f', "'%20OR%201=1%20--", '$1', '%22', '%5c', '$.*', '%7B%7B7*7%7D%7D', '$%7B7*7%7D', '__proto__', 'constructor', 'null', 'undefined', '*', '%25', '%2500', '-1', '%F0%9F%92%A5'].map((id) => [id, 'RESOURCE_NOT_FOUND'] as const),
];

describe.each(Object.entries(WALKED))('%s', (name, walked) => {
  it('refuses what nobody honest sends, and changes nothing', { timeout: 60_000 }, async () => {
    const route = routeOf(name);
    const before = await everythingStored(scene.manager.store);
    await refusesPaths(route);
    await refusesQueries(route);
    if (walked.for !== 'everybody') await refusesHeaders(route);
    await refusesMethods(route);
    expect(await everythingStored(scene.manager.store)).toEqual(before);
  });
});

async function refusesPaths(route: Route): Promise<void> {
  for (const [, parameter = ''] of route.path.matchAll(/:([A-Za-z]+)/g)) {
    for (const [id, ...codes] of IDS) expectRefusal(await send(route, { instead: { [parameter]: id } }), `${parameter} ${id.slice(0, 40)}`, ...codes);
  }
  for (const spoil of [(path: string) => `${path}/`, (path: string) => path.toUpperCase(), (path: string) => `/${path}`, (path: string) => `${path}%20`, (path: string) => `${path};a=b`, (path: string) => `/.${path}x`]) {
    const aim = aims.get(route.name) ?? {};
    const answer = await scene.administrator.call(route.method, `//api/v1${spoil(pathOf(route.path, aim, scene))}`, { body: aim.body });
    // What follows the id is a part of it.
    expectRefusal(answer, answer.text, 'ROUTE_NOT_FOUND', 'RESOURCE_NOT_FOUND', 'METHOD_NOT_ALLOWED');
  }
}

async function refusesQueries(route: Route): Promise<void> {
  const known = fieldsOf(route.query);
  // The identity provider's own parameters come along.
  const strange = route.name === 'finishOidcSignIn' ? [] : ['nonsense=1', '__proto__=1', 'constructor=1', '=1', 'access_key=1', 'workspaceId=default', 'limit[]=1', 'limit[$gt]=1', '%00=1', 'where=%7B%7D'];
  for (const query of strange) expectRefusal(await send(route, { query: `?${query}` }), query, 'RESOURCE_INVALID');
  for (const query of [...known.map((field) => `${field}=1&${field}=1`), 'a=1&a=2']) expectRefusal(await send(route, { query: `?${query}` }), query, 'RESOURCE_INVALID');
  for (const query of ['a=%zz', 'a=%ff', Array.from({ length: 33 }, (_, at) => `a${at}=1`).join('&')]) expectRefusal(await send(route, { query: `?${query}` }), query, 'REQUEST_MALFORMED');
  if (!isPaged(route)) return;
  for (const limit of ['1000000000', '-1', '1e9', '0', '201', '1.5', 'NaN', 'Infinity', '', '%00', '1;', '0x', "1'"]) expectRefusal(await send(route, { query: `?limit=${limit}` }), limit, 'RESOURCE_INVALID');
  for (const field of known.filter((each) => each !== 'limit')) expect(expectRefusal(await send(route, { query: `?${field}=%00` }), field)).toEqual([`/query/${field}`]);
  for (const time of known.filter((each) => ['from', 'to'].includes(each))) {
    for (const at of ['yesterday', '0000-01-01T00:00:00Z', '9999-12-31T23:59:59-12:00', "2026-01-01T00:00:00Z'", '2026-13-01T00:00:00Z']) expect(expectRefusal(await send(route, { query: `?${time}=${at}` }), at)).toEqual([`/query/${time}`]);
  }
  await refusesCursors(route);
}

async function refusesCursors(route: Route): Promise<void> {
  const own = cursors.get(route.name) as string;
  expect((await send(route, { query: `?cursor=${own}` })).status).toBe(200);
  const [kind, ...key] = JSON.parse(Buffer.from(own, 'base64url').toString('utf8')) as string[];
  const made = (parts: unknown): string => Buffer.from(JSON.stringify(parts)).toString('base64url');
  const foreign = [...cursors.values()].filter((cursor) => !Buffer.from(cursor, 'base64url').toString('utf8').startsWith(`["${kind}"`));
  expect(foreign.length).toBeGreaterThan(3);
  const tampered = [
    'nonsense', '', "'%20OR%201=1%20--", own.slice(0, -3), own.slice(1), made([kind]), made([kind, ...key, 'x']), made({ 0: kind }), made([kind, ...key.map(() => 7)]), made([kind, ...key.map(() => null)]), made([kind, ...key.map(() => ({ gt: '' }))]),
    made([kind, ...key.map(() => '\u0000')]), made([kind, ...key.map(() => '\ud800')]), made('['.repeat(100)), Buffer.from([0xff, 0xfe]).toString('base64url'),
  ];
  for (const cursor of [...foreign, ...tampered]) expectRefusal(await send(route, { query: `?cursor=${cursor}` }), cursor, 'CURSOR_INVALID');
  expectRefusal(await send(route, { query: `?cursor=${'A'.repeat(5_000)}` }), 'a long cursor', 'RESOURCE_INVALID');
}

async function refusesHeaders(route: Route): Promise<void> {
  if (route.versioned === true) {
    for (const tag of ['x', '7', 'W/"1"', '"1", "2"', '""', '"0"', '"-1"', '"1.0"', '"99999999999"', '"2147483648"', '"4294967297"', '"x"', '"é"', "\"' OR 1=1 --\"", '"1', 'null', '*, "1"']) {
      expectRefusal(await send(route, { headers: { 'if-match': tag } }), `If-Match ${tag}`, 'REQUEST_MALFORMED', 'PRECONDITION_FAILED');
    }
  }
  if (route.versioned === true && route.method !== 'GET' && route.creates !== true) expectRefusal(await send(route, { headers: { 'if-match': '"2147483647"' } }), 'another version', 'PRECONDITION_FAILED');
  if (route.creates === true) for (const key of ['short', 'x'.repeat(256), 'é'.repeat(20), '\t'.repeat(20), '15-characters..']) expectRefusal(await send(route, { headers: { 'idempotency-key': key } }), `Idempotency-Key ${key}`, 'IDEMPOTENCY_KEY_INVALID');
}

const ABSURD = ['PUT', 'OPTIONS', 'PROPFIND', 'LOCK', 'MOVE', 'SEARCH', 'PURGE', 'LINK'];

async function refusesMethods(route: Route): Promise<void> {
  const path = pathOf(route.path, aims.get(route.name) ?? {}, scene);
  for (const method of ABSURD) {
    const answer = await scene.administrator.call(method, path, { headers: { 'x-http-method-override': 'DELETE', 'x-method-override': route.method } });
    expectRefusal(answer, method, 'METHOD_NOT_ALLOWED');
    expect(answer.headers.get('allow')).toContain(route.method);
  }
}

describe('the server', () => {
  it('ends what is no request it knows, and goes on', async () => {
    const { url, admin } = scene.manager;
    const credential = `Host: x\r\nAuthorization: Bearer ${admin.token}\r\nConnection: close\r\n`;
    for (const [head, wanted] of [
      [`TRACE /api/v1/users HTTP/1.1\r\n${credential}\r\n`, 'METHOD_NOT_ALLOWED'], [`BREW /api/v1/users HTTP/1.1\r\n${credential}\r\n`, 'REQUEST_MALFORMED'], [`get /api/v1/users HTTP/1.1\r\n${credential}\r\n`, 'REQUEST_MALFORMED'],
      [`CONNECT /api/v1/users HTTP/1.1\r\n${credential}\r\n`, ''], [`GET /api/v1/../../etc/passwd HTTP/1.1\r\n${credential}\r\n`, 'ROUTE_NOT_FOUND'], [`GET http://evil.example/api/v1/nothing HTTP/1.1\r\n${credential}\r\n`, 'ROUTE_NOT_FOUND'],
      [`GET * HTTP/1.1\r\n${credential}\r\n`, 'ROUTE_NOT_FOUND'], [`POST /api/v1/users HTTP/1.1\r\n${credential}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 'REQUEST_MALFORMED'],
      [`POST /api/v1/users HTTP/1.1\r\n${credential}Content-Length: -1\r\n\r\n`, 'REQUEST_MALFORMED'], [`POST /api/v1/users HTTP/1.1\r\n${credential}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}`, 'REQUEST_MALFORMED'],
      [`POST /api/v1/users HTTP/1.1\r\n${credential}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`, 'REQUEST_MALFORMED'], [`GET /api/v1/users HTTP/1.1\r\n${credential}Upgrade: websocket\r\nConnection: upgrade\r\n\r\n`, '200'],
      [`GET /api/v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${admin.token}\r\nAuthorization: Bearer ${fresh()}\r\nConnection: close\r\n\r\n`, ''],
    ] as const) {
      const text = await rawRequest(url, head);
      expect(text, head).toContain(wanted);
      expect(text, head).not.toMatch(/^HTTP\/1\.1 5|root:/);
    }
    expect((await scene.administrator.call('GET', '/users')).status).toBe(200);
  });

  it('lets no secret out, and says nothing of what is inside', () => scene.expectNoLeaks());
});
