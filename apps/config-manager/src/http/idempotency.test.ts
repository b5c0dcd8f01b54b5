import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { startTestConfigManager, type Caller, type TestConfigManager, type TestPerson } from '../config-manager.fixture.ts';
import { Refusal } from './refusal.ts';
import { route } from './route.ts';

const SECRET = 'ck_shown_once';
let runs = 0;
let behave: () => Promise<void> = async () => undefined;

const create = route({
  method: 'POST', path: '/test/things', name: 'testCreate', summary: '', tag: 'Test', access: 'signed-in', creates: true, versioned: true, body: z.strictObject({ name: z.string() }),
  answer: { status: 201, schema: z.object({ name: z.string(), secret: z.string(), run: z.int() }), description: '' },
  handle: async ({ body }) => {
    runs += 1;
    await behave();
    return { body: { name: body.name, secret: SECRET, run: runs }, version: 1, location: '/test/things/1' };
  },
});

/** Ends the second half of a change, as the death of its process would. */
let dies = false;

const change = route({
  method: 'POST', path: '/test/changes', name: 'testChange', summary: '', tag: 'Test', access: 'signed-in', creates: true, body: z.strictObject({ name: z.string() }),
  answer: { status: 201, schema: z.object({ name: z.string() }), description: '' },
  handle: async (call) => {
    const { name } = call.body;
    await call.change({ action: 'test.change', workspaceId: null, resource: () => ({ kind: 'test', id: null, name }) }, async () => name);
    if (dies) throw new Error('dead');
    return { body: { name } };
  },
});

let manager: TestConfigManager;
let other: TestPerson;
let keys = 0;
const freshKey = (): string => `a key of the tests ${(keys += 1)}`;
const post = (by: Caller, key: string, body: unknown = { name: 'a' }) => by.call('POST', '/test/things', { body, headers: { 'idempotency-key': key } });

beforeAll(async () => {
  manager = await startTestConfigManager({ routes: [create, change] });
  other = await manager.person();
});
afterAll(() => manager.stop());
afterEach(() => {
  behave = async () => undefined;
});

describe('a request with an Idempotency-Key', () => {
  it('is done once; who repeats it gets the first answer again', async () => {
    const key = freshKey();
    const [first, again] = [await post(manager.admin, key), await post(manager.admin, key)];
    expect([first.status, first.headers.get('etag'), first.headers.get('location'), first.headers.has('idempotency-replayed')]).toEqual([201, '"1"', '/api/v1/test/things/1', false]);
    expect([again.status, again.text, again.headers.get('etag'), again.headers.get('location'), again.headers.get('idempotency-replayed')]).toEqual([201, first.text, '"1"', '/api/v1/test/things/1', 'true']);
    expect((await post(manager.admin, freshKey())).text).not.toBe(first.text);
  });

  it('is done for each caller', async () => {
    const key = freshKey();
    const [mine, theirs] = [await post(manager.admin, key), await post(other, key)];
    expect(theirs.headers.has('idempotency-replayed')).toBe(false);
    expect(theirs.text).not.toBe(mine.text);
  });

  it('with another body is IDEMPOTENCY_KEY_REUSED', async () => {
    const key = freshKey();
    await post(manager.admin, key);
    expect(await post(manager.admin, key, { name: 'b' })).toMatchObject({ status: 422, code: 'IDEMPOTENCY_KEY_REUSED' });
  });

  it('while the first is under way is IDEMPOTENCY_IN_PROGRESS', async () => {
    const key = freshKey();
    let begun = (): void => undefined;
    let end = (): void => undefined;
    const hasBegun = new Promise<void>((resolve) => (begun = resolve));
    const mayEnd = new Promise<void>((resolve) => (end = resolve));
    behave = async () => {
      begun();
      await mayEnd;
    };
    const first = post(manager.admin, key);
    await hasBegun;
    const second = await post(manager.admin, key);
    end();
    expect(second).toMatchObject({ status: 409, code: 'IDEMPOTENCY_IN_PROGRESS' });
    expect(second.headers.get('retry-after')).toBe('1');
    expect((await first).status).toBe(201);
    expect((await post(manager.admin, key)).headers.get('idempotency-replayed')).toBe('true');
  });

  it('frees the key when it is refused or fails', async () => {
    for (const error of [new Refusal('RESOURCE_IN_USE'), new Error('a bug')]) {
      const key = freshKey();
      behave = async () => {
        throw error;
      };
      expect((await post(manager.admin, key)).status).toBeGreaterThanOrEqual(400);
      behave = async () => undefined;
      const again = await post(manager.admin, key);
      expect([again.status, again.headers.has('idempotency-replayed')]).toEqual([201, false]);
    }
  });

  it('that is not even valid frees the key as well', async () => {
    const key = freshKey();
    expect(await post(manager.admin, key, { name: 7 })).toMatchObject({ code: 'RESOURCE_INVALID' });
    expect((await post(manager.admin, key)).status).toBe(201);
  });

  it.each([['short'], ['x'.repeat(256)], ['with a tab\tand more of it']])('%j is IDEMPOTENCY_KEY_INVALID', async (key) => {
    const before = runs;
    expect(await post(manager.admin, key)).toMatchObject({ status: 400, code: 'IDEMPOTENCY_KEY_INVALID' });
    expect(runs).toBe(before);
  });

  it('is kept for a day, and then forgotten', async () => {
    const key = freshKey();
    const first = await post(manager.admin, key);
    await manager.store.idempotency.deleteExpired(new Date(Date.now() + 86_000_000).toISOString());
    expect((await post(manager.admin, key)).text).toBe(first.text);
    await manager.store.idempotency.deleteExpired(new Date(Date.now() + 86_500_000).toISOString());
    expect((await post(manager.admin, key)).headers.has('idempotency-replayed')).toBe(false);
  });

  it('is done once also when whoever does it dies: what it changes and its answer are there together, or neither', async () => {
    const key = freshKey();
    const { store } = manager;
    const name = `Dead in the middle ${key}`;
    const audited = async (): Promise<number> => (await store.audit.list({ limit: 200, action: 'test.change' })).items.filter(({ resource }) => resource.name === name).length;
    dies = true;
    expect((await manager.admin.call('POST', '/test/changes', { body: { name }, headers: { 'idempotency-key': key } })).status).toBe(500);
    expect(await audited()).toBe(0);
    dies = false;
    const again = await manager.admin.call('POST', '/test/changes', { body: { name }, headers: { 'idempotency-key': key } });
    expect([again.status, again.headers.has('idempotency-replayed'), await audited()]).toEqual([201, false, 1]);
    expect((await manager.admin.call('POST', '/test/changes', { body: { name }, headers: { 'idempotency-key': key } })).headers.get('idempotency-replayed')).toBe('true');
    expect(await audited()).toBe(1);
    expect(await store.ping()).toBe(true);
  });

  it('leaves nothing in the database that could be read without it, nor a hash by which its body could be guessed', async () => {
    const { store } = manager;
    const kept: string[] = [];
    const requests: string[] = [];
    const change = store.change.bind(store);
    store.change = (run) => change((tx) => {
      const { idempotency } = tx;
      const finish = idempotency.finish.bind(idempotency);
      idempotency.finish = async (answer) => {
        kept.push(answer.scope, answer.request, Buffer.from(answer.response).toString('latin1'));
        requests.push(answer.request);
        await finish(answer);
      };
      return run(tx);
    });
    const keysUsed = [freshKey(), freshKey()];
    try {
      for (const key of keysUsed) await post(manager.admin, key);
    } finally {
      store.change = change;
    }
    expect(kept).toHaveLength(6);
    for (const text of kept) for (const secret of [SECRET, ...keysUsed]) expect(text).not.toContain(secret);
    expect(new Set(requests).size).toBe(2);
  });
});
