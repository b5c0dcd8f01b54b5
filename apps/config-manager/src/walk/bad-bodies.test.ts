import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { CallOptions } from '../config-manager.fixture.ts';
import type { Route } from '../http/route.ts';
import { expectRefusal, fieldsOf } from './refusals.fixture.ts';
import { openScene, type Scene } from './scene.fixture.ts';
import { everythingStored } from './stored.fixture.ts';
import { pathOf, WALKED, type Aim } from './walked-routes.fixture.ts';

// Every body that a route takes, spoilt in every way that is known to have worked somewhere: by whoever may call it, so that the
// body is what is refused.

let scene: Scene;
beforeAll(async () => {
  scene = await openScene();
  // Its owner may everything but be somebody else: anonymousKeyId of another workspace, say.
  foreignKeyId = (await scene.key('foreign', { kind: 'messenger' })).id;
}, 60_000);
afterAll(() => scene.stop());

let foreignKeyId: string;

/** Fields that a body never sets, unless its route says so. */
const NEVER_SET = [
  'workspaceId', 'role', 'administrator', 'id', 'version', 'createdAt', 'updatedAt', 'secretHash', 'passwordHash', 'hasPassword', 'secrets', 'publicKey', 'revokedAt', 'lastUsedAt', 'revision', 'path',
  'userId', 'disabled', 'oidcSubject', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '$set', '$where', 'where', 'a/b', 'm~n', '',
];
/** No field takes any of them. */
const OF_NO_TYPE: readonly unknown[] = [{ $gt: '' }, [['x']], -1.5];

const bodies = Object.entries(WALKED).filter(([name]) => ['createUser', 'createSession', 'changePassword'].includes(name) || /^(create|update|rotate)/.test(name));

function routeOf(name: string): Route {
  return scene.manager.manager.routes.find((served) => served.name === name) as Route;
}

const pointerOf = (field: string): string => `/${field.replaceAll('~', '~0').replaceAll('/', '~1')}`;

describe.each(bodies)('the body of %s', (name, walked) => {
  let route: Route;
  let aim: Aim;
  let valid: Readonly<Record<string, unknown>>;
  const send = (options: CallOptions) => scene.administrator.call(route.method, pathOf(route.path, aim, scene), options);
  /** None of it changes anything. */
  const inVain = async (attempts: () => Promise<void>): Promise<void> => {
    const before = await everythingStored(scene.manager.store);
    await attempts();
    expect(await everythingStored(scene.manager.store)).toEqual(before);
  };

  beforeAll(async () => {
    route = routeOf(name);
    aim = (await walked.aim?.(scene, scene.administrator)) ?? {};
    valid = aim.body as Record<string, unknown>;
  });

  it('has no field that is not its own', () => inVain(async () => {
    for (const field of NEVER_SET.filter((each) => !fieldsOf(route.body).includes(each))) {
      expect(expectRefusal(await send({ body: { ...valid, [field]: 'x' } }), field, 'RESOURCE_INVALID')).toContain(pointerOf(field));
    }
    const raw = JSON.stringify(valid).slice(0, -1);
    const comma = raw === '{' ? '' : ',';
    const headers = { 'content-type': 'application/json' };
    for (const key of ['__proto__', '__prot\\u006f__']) expectRefusal(await send({ body: `${raw}${comma}"${key}":{"administrator":true}}`, headers }), key, 'JSON_KEY_FORBIDDEN');
    expectRefusal(await send({ body: `${raw}${comma}"limits":{"a":{"__proto__":[]}}}`, headers }), 'a prototype further in', 'JSON_KEY_FORBIDDEN');
  }));

  it('takes no field of another type', () => inVain(async () => {
    for (const field of fieldsOf(route.body)) {
      for (const value of OF_NO_TYPE) {
        const pointers = expectRefusal(await send({ body: { ...valid, [field]: value } }), `${field}: ${JSON.stringify(value)}`, 'RESOURCE_INVALID');
        expect(pointers.filter((pointer) => pointer !== pointerOf(field) && !pointer.startsWith(`${pointerOf(field)}/`)), field).toEqual([]);
      }
    }
    for (const whole of [[], null, 7, 'text', true, [valid]]) expectRefusal(await send({ body: JSON.stringify(whole), headers: { 'content-type': 'application/json' } }), JSON.stringify(whole), 'RESOURCE_INVALID');
  }));

  it('is JSON in UTF-8, of a size and a depth', () => inVain(async () => {
    const headers = { 'content-type': 'application/json' };
    for (const text of ['{', '{"a":}', "{'a':1}", '{"a":1}{"b":2}', 'NaN', '// no', '\ufeff{', '{"a":1,}', ' ']) expectRefusal(await send({ body: text, headers }), text, 'JSON_INVALID');
    for (const bytes of [[0x22, 0xff, 0x22], [0x7b, 0x22, 0xc0, 0x80, 0x22, 0x3a, 0x31, 0x7d], [0x22, 0xed, 0xa0, 0x80, 0x22]]) expectRefusal(await send({ body: Uint8Array.from(bytes), headers }), String(bytes), 'BODY_INVALID_UTF8');
    for (const deep of ['['.repeat(100_000), `${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`]) expectRefusal(await send({ body: deep, headers }), 'deep', 'JSON_TOO_DEEP');
    expectRefusal(await send({ body: { ...valid, more: 'x'.repeat(2 * 1_048_576) } }), '2 MiB', 'BODY_TOO_LARGE');
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/json; charset=utf-16', 'application/merge-patch+json', 'application/jsonp', '']) {
      expectRefusal(await send({ body: JSON.stringify(valid), headers: { 'content-type': type } }), type, 'MEDIA_TYPE_UNSUPPORTED');
    }
    for (const encoding of ['gzip', 'br', 'identity, gzip']) expectRefusal(await send({ body: valid, headers: { 'content-encoding': encoding } }), encoding, 'MEDIA_TYPE_UNSUPPORTED');
    // Of some every field may be left out.
    if (routeOf(name).body?.safeParse({}).success === false) expectRefusal(await send({}), 'nothing', 'RESOURCE_INVALID');
  }));

  it('names nothing of another workspace', () => inVain(async () => {
    const foreign: Readonly<Record<string, readonly unknown[]>> = {
      parentId: ['ws_nobody', '', '../', 'null'], anonymousKeyId: [foreignKeyId, 'nobody', '', "' OR 1=1 --"], username: name === 'createMember' ? ['nobody@rooms.example', "' OR 1=1 --", '*', '%'] : [],
    };
    for (const field of fieldsOf(route.body)) {
      for (const value of foreign[field] ?? []) expectRefusal(await send({ body: { ...valid, [field]: value } }), `${field}: ${String(value)}`, 'RESOURCE_NOT_FOUND', 'RESOURCE_INVALID');
    }
  }));

  it('is taken as it should be', async () => {
    const by = walked.for === 'person' ? await scene.person() : scene.administrator;
    aim = (await walked.aim?.(scene, by)) ?? {};
    const { status, text } = await by.call(route.method, pathOf(route.path, aim, scene), { body: aim.body });
    expect(status, text).toBe(walked.status);
  });
});

it('every route that takes a body is among them', () => {
  expect(bodies.map(([name]) => name).sort()).toEqual(scene.manager.manager.routes.filter(({ body }) => body !== undefined).map(({ name }) => name).sort());
});

it('no secret is let out, and nothing is said of what is inside', () => scene.expectNoLeaks());
