import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { expectRefusal, fieldsOf, isPaged } from './refusals.fixture.ts';
import { openScene, type Scene } from './scene.fixture.ts';
import { pathOf, WALKED } from './walked-routes.fixture.ts';

// Values that have the right type, or nearly: they are taken or refused, and what was taken can be read again.

let scene: Scene;
beforeAll(async () => void (scene = await openScene()), 60_000);
afterAll(() => scene.stop());

const deep = (levels: number, of: (inner: unknown) => unknown): unknown => Array.from({ length: levels }).reduce((inner) => of(inner), {});

const TEXTS = [
  '', ' ', '\u0000', 'a\u0000b', '\ud800', '\udc00x', '\u202e', '\r\nset-cookie: a=b', "' OR 1=1 --", "'; DROP TABLE access_keys; --", '$1', '"', '\\', '%00', '$.*', '${7*7}', '{{7*7}}', '<script>', '__proto__', 'null',
  'x'.repeat(100_000), '\u{10ffff}'.repeat(128), '9999-12-31T23:59:59-12:00', '0000-01-01T00:00:00Z', '0000-01-01T00:00:00+14:00', '2026-02-30T00:00:00Z', '275760-09-13T00:00:00Z', '2999-12-31T23:59:60Z', '2999-06-15T12:00:00.123456789Z',
  'javascript:alert(1)', 'http://[::1', 'ws://user:pass@192.0.2.1/', 'https://192.0.2.1/\u0000',
];
const OTHERS: readonly unknown[] = [
  null, true, 0, -0, 1e308, -1e308, 9_007_199_254_740_993, 2_147_483_648, 4_294_967_296, 0.1, [], {}, [null], [''], ['*'.repeat(256)], Array.from({ length: 10_000 }, () => '*'), deep(60, (inner) => [inner]), deep(60, (inner) => ({ a: inner })),
  { constructor: { prototype: {} } }, { keys: { constructor: ['*'] } }, { keys: { read: ['../*', '**', '*/*', '/', '//', '.', 'x'.repeat(512)] } }, { toString: 'x' }, { connections: 1e308 }, { connections: null }, { bytesPerSecond: 10_000_000_001 },
  { send: ['a**b'] }, { send: [{ room: '*', event: '\u0000' }] }, { send: [{ room: '\ud800' }] }, { send: Array.from({ length: 500 }, (_, at) => `${'*-'.repeat(7)}${at}`) }, { deny: null }, { maxAgeSeconds: 1, maxBytes: 1e15 }, { maxAgeSeconds: 0 },
];
/** Of event definitions: what a schema may not be. */
const SCHEMAS: readonly unknown[] = [
  { $ref: '#/__proto__' }, { $ref: '#/constructor' }, { $ref: '#/%' }, { $ref: '#/%ff' }, { $ref: 'http://192.0.2.1/x' }, { $ref: '#' }, { $id: 'http://[bad' }, { $schema: 'http://json-schema.org/draft-04/schema#' }, { $ref: '\u0000' },
  { pattern: '(' }, { pattern: '(a+)+$' }, { pattern: '\ud800' }, { patternProperties: { '(a+)+$': {} } }, { multipleOf: 0 }, { minLength: -1 }, { minLength: 1e308 }, { enum: [] }, { enum: 'x' }, { type: 'x' }, { type: [] }, { type: ['string', 'string'] }, { required: 'a' },
  { properties: { constructor: {}, prototype: {}, toString: {}, hasOwnProperty: {} } }, { properties: 7 }, { properties: { '\u0000': {} } }, { properties: { '\ud800': {} } }, { const: '\u0000' }, { description: '\ud800' }, { $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } }, $ref: '#/$defs/a' },
  { $dynamicRef: '#x' }, { $anchor: 'a b' }, { $anchor: 'x', $ref: '#x' }, { format: 'nonsense' }, { contentEncoding: 'x' }, { $async: true }, { nullable: true }, { discriminator: {} }, { items: [{}] }, { allOf: [] }, { not: 7 }, { $vocabulary: {} }, { if: true }, { default: { a: 1 } },
  deep(30, (inner) => ({ properties: { a: inner } })), deep(40, (inner) => ({ properties: { a: inner } })), { enum: Array.from({ length: 20_000 }, (_, at) => at) }, Object.fromEntries(Array.from({ length: 2_000 }, (_, at) => [`k${at}`, at])), { properties: Object.fromEntries(Array.from({ length: 1_500 }, (_, at) => [`k${at}`, {}])) },
];

const bodies = Object.entries(WALKED).filter(([name]) => ['createUser', 'createSession'].includes(name) || /^(create|update|rotate)/.test(name));

describe.each(bodies)('%s', (name, walked) => {
  it('takes or refuses whatever stands in a field', { timeout: 60_000 }, async () => {
    const route = scene.manager.manager.routes.find((served) => served.name === name)!;
    const { administrator } = scene;
    // What is made anew has a name of its own each time; all else is asked of the same again and again.
    const changed = name.startsWith('create') && name !== 'createSession' ? undefined : await walked.aim?.(scene, administrator);
    for (const field of fieldsOf(route.body)) {
      for (const value of [...TEXTS, ...OTHERS, ...(field === 'schema' ? SCHEMAS : [])]) {
        const aim = changed ?? (await walked.aim?.(scene, administrator)) ?? {};
        const answer = await administrator.call(route.method, pathOf(route.path, aim, scene), { body: { ...(aim.body as object), [field]: value } });
        if (answer.status !== walked.status) expectRefusal(answer, `${field}: ${JSON.stringify(value).slice(0, 200)}`);
      }
    }
  });
});

it('what was taken is read again in every listing', async () => {
  for (const route of scene.manager.manager.routes.filter(isPaged)) {
    for (let cursor = ''; ; ) {
      const { status, text, body } = await scene.administrator.call<{ nextCursor: string | null }>('GET', `${pathOf(route.path, {}, scene)}?limit=200${cursor}`);
      expect(status, `${route.name}: ${text.slice(0, 500)}`).toBe(200);
      if (body.nextCursor === null) break;
      cursor = `&cursor=${body.nextCursor}`;
    }
  }
});

it('no secret is let out, and nothing is said of what is inside', () => scene.expectNoLeaks());
