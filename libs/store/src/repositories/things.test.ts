import type { CarillonError } from '@carillon/wire';
import { describe, expect, it } from 'vitest';

import { usePostgres } from '../postgres.fixture.ts';
import { allPages, auditOf, expectCode, makeWorkspace } from '../samples.fixture.ts';

const postgres = usePostgres();

/** Names that mean something to SQL, to patterns, or to JSON paths. */
const AWKWARD = [`'; DROP TABLE devices; --`, '%', '_', '\\', '"', '$1', '{"path":["a"]}', '$.a[*]', '${x}', "a'b", 'é', 'e\u0301', '😀', ' ', '../..', 'null', 'a\nb', '--', '/*', '?::int'];

describe('event definitions', () => {
  it('have one schema a name and workspace, in the order it was written', async () => {
    const store = await postgres.open();
    const [{ id: workspaceId }, other] = [await makeWorkspace(store), await makeWorkspace(store)];
    const schema = { type: 'object', required: ['b', 'a'], properties: { b: { const: null }, a: { enum: [1.5, 'x'] } } };
    const definition = await store.definitions.create({ workspaceId, name: 'power', description: 'On or off', schema });
    expect(definition).toMatchObject({ revision: 1, version: 1, description: 'On or off' });
    expect(JSON.stringify((await store.definitions.get(definition.id))?.schema)).toBe(JSON.stringify(schema));
    expect(await store.definitions.byName(workspaceId, 'power')).toEqual(definition);
    expect(await store.definitions.byName(other.id, 'power')).toBeUndefined();
    await expectCode('RESOURCE_EXISTS', store.definitions.create({ workspaceId, name: 'power', description: '', schema: {} }));
    await expectCode('RESOURCE_NOT_FOUND', store.definitions.create({ workspaceId: 'ws_none', name: 'power', description: '', schema: {} }));
    await store.definitions.create({ workspaceId: other.id, name: 'power', description: '', schema: {} });
  });

  it('count a revision when the schema changes, not when its keys move', async () => {
    const store = await postgres.open();
    const { id: workspaceId } = await makeWorkspace(store);
    const { id } = await store.definitions.create({ workspaceId, name: 'n', description: '', schema: { a: 1, b: { c: [1, 2] } } });
    expect(await store.definitions.update(id, { description: 'd' })).toMatchObject({ revision: 1, version: 2 });
    expect(await store.definitions.update(id, { schema: { b: { c: [1, 2] }, a: 1 } })).toMatchObject({ revision: 1, version: 3 });
    expect(await store.definitions.update(id, { schema: { b: { c: [2, 1] }, a: 1 } }, 3)).toMatchObject({ revision: 2, version: 4, description: 'd' });
    await expectCode('PRECONDITION_FAILED', store.definitions.update(id, { schema: {} }, 3));
    await expectCode('PRECONDITION_FAILED', store.definitions.delete(id, 3));
    await expectCode('RESOURCE_NOT_FOUND', store.definitions.update('kd_none', { schema: {} }));
    expect(await store.definitions.delete(id)).toMatchObject({ id, revision: 2 });
  });

  it('are listed by name and found by exactly that name', async () => {
    const store = await postgres.open();
    const { id: workspaceId } = await makeWorkspace(store);
    for (const name of AWKWARD) await store.definitions.create({ workspaceId, name, description: name, schema: { [name]: name } });
    for (const name of AWKWARD) {
      const { items } = await store.definitions.list(workspaceId, { limit: 50, name });
      expect(items).toMatchObject([{ name, description: name, schema: { [name]: name } }]);
    }
    const seen = await allPages(async (cursor) => store.definitions.list(workspaceId, { limit: 3, cursor }));
    const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
    expect(seen.map(({ name }) => name)).toEqual([...AWKWARD].sort(byBytes));
  });
});

describe('room policies', () => {
  it('are one a pattern and workspace', async () => {
    const store = await postgres.open();
    const { id: workspaceId } = await makeWorkspace(store);
    const week = { maxAgeSeconds: 604_800, maxBytes: null };
    const policy = await store.roomPolicies.create({ workspaceId, pattern: 'ITB-*', lane: 'durable', retention: week });
    expect(policy).toMatchObject({ pattern: 'ITB-*', lane: 'durable', retention: week, version: 1 });
    await expectCode('RESOURCE_EXISTS', store.roomPolicies.create({ workspaceId, pattern: 'ITB-*', lane: 'live', retention: week }));
    expect(await store.roomPolicies.update(policy.id, { lane: 'live' }, 1)).toMatchObject({ lane: 'live', retention: week, version: 2 });
    expect(await store.roomPolicies.update(policy.id, { retention: { maxAgeSeconds: null, maxBytes: 1_048_576 } })).toMatchObject({ lane: 'live', retention: { maxAgeSeconds: null, maxBytes: 1_048_576 } });
    await expectCode('PRECONDITION_FAILED', store.roomPolicies.update(policy.id, { lane: 'live' }, 1));
    await expectCode('PRECONDITION_FAILED', store.roomPolicies.delete(policy.id, 1));
    for (const pattern of ['a', 'b', 'c']) await store.roomPolicies.create({ workspaceId, pattern, lane: 'live', retention: week });
    expect((await allPages(async (cursor) => store.roomPolicies.list(workspaceId, { limit: 2, cursor }))).map(({ pattern }) => pattern)).toEqual(['ITB-*', 'a', 'b', 'c']);
    expect(await store.roomPolicies.delete(policy.id)).toMatchObject({ id: policy.id });
    expect(await store.roomPolicies.get(policy.id)).toBeUndefined();
  });
});

describe('devices', () => {
  it('are one a name, room and workspace; filters are plain text', async () => {
    const store = await postgres.open();
    const { id: workspaceId } = await makeWorkspace(store);
    const make = async (room: string, name: string, repeater = 'r1') => store.devices.create({ workspaceId, room, name, repeater, address: 'ws://10.0.0.1/', enabled: true });
    for (const room of AWKWARD) for (const name of ['a', room]) await make(room, name, room);
    await expectCode('RESOURCE_EXISTS', make('%', '%'));
    for (const text of AWKWARD) {
      expect((await store.devices.list(workspaceId, { limit: 50, room: text })).items.map(({ room }) => room)).toEqual([text, text]);
      expect((await store.devices.list(workspaceId, { limit: 50, repeater: text })).items.map(({ repeater }) => repeater)).toEqual([text, text]);
    }
    expect((await store.devices.list(workspaceId, { limit: 50, room: '%', repeater: '_' })).items).toEqual([]);
    const seen = await allPages(async (cursor) => store.devices.list(workspaceId, { limit: 3, cursor }));
    expect(new Set(seen.map(({ room, name }) => JSON.stringify([room, name]))).size).toBe(AWKWARD.length * 2);
    expect(seen).toHaveLength(AWKWARD.length * 2);
  });

  it('are paged however long their names are', async () => {
    const store = await postgres.open();
    const { id: workspaceId } = await makeWorkspace(store);
    for (let at = 0; at < 3; at += 1) await store.devices.create({ workspaceId, room: '語'.repeat(256), name: `${'語'.repeat(255)}${at}`, repeater: 'r', address: 'ws://10.0.0.1/', enabled: true });
    expect(await allPages(async (cursor) => store.devices.list(workspaceId, { limit: 1, cursor }))).toHaveLength(3);
  });

  it('are moved, switched off and deleted by version', async () => {
    const store = await postgres.open();
    const { id: workspaceId } = await makeWorkspace(store);
    const { id } = await store.devices.create({ workspaceId, room: 'R', name: 'D', repeater: 'r1', address: 'ws://10.0.0.1/', enabled: true });
    expect(await store.devices.update(id, { enabled: false, repeater: 'r2' }, 1)).toMatchObject({ enabled: false, repeater: 'r2', address: 'ws://10.0.0.1/', version: 2 });
    await expectCode('PRECONDITION_FAILED', store.devices.update(id, { enabled: true }, 1));
    await expectCode('PRECONDITION_FAILED', store.devices.delete(id, 1));
    expect(await store.devices.delete(id, 2)).toMatchObject({ id });
    await expectCode('RESOURCE_NOT_FOUND', store.devices.delete(id, 2));
  });

  it('are changed by one of many who have read the same version', async () => {
    const store = await postgres.open();
    const { id: workspaceId } = await makeWorkspace(store);
    const { id } = await store.devices.create({ workspaceId, room: 'R', name: 'D', repeater: 'r1', address: 'ws://10.0.0.1/', enabled: true });
    const codes = async (outcomes: Promise<PromiseSettledResult<unknown>[]>) => (await outcomes).map((outcome) => (outcome.status === 'fulfilled' ? 'done' : (outcome.reason as CarillonError).code)).sort();
    const many = Array.from({ length: 10 }, (_, at) => at);
    expect(await codes(Promise.allSettled(many.map(async (at) => store.devices.update(id, { repeater: `r${at}` }, 1))))).toEqual([...Array<string>(9).fill('PRECONDITION_FAILED'), 'done']);
    const deletions = await codes(Promise.allSettled(many.map(async () => store.devices.delete(id, 2))));
    expect(deletions.filter((outcome) => outcome === 'done')).toHaveLength(1);
    expect(new Set(deletions.filter((outcome) => outcome !== 'done'))).toEqual(new Set(['RESOURCE_NOT_FOUND']));
  });
});

describe('text that PostgreSQL cannot hold', () => {
  it('is refused wherever it comes from, and never reaches the database', async () => {
    const store = await postgres.open();
    const { id: workspaceId } = await makeWorkspace(store);
    const failures = store.counts.failures;
    for (const bad of ['a\0b', 'a\ud800']) {
      await expectCode('RESOURCE_INVALID', store.definitions.create({ workspaceId, name: bad, description: '', schema: {} }));
      await expectCode('RESOURCE_INVALID', store.definitions.create({ workspaceId, name: 'n', description: '', schema: { deep: [{ [bad]: 1 }] } }));
      await expectCode('RESOURCE_INVALID', store.definitions.create({ workspaceId, name: 'n', description: '', schema: { deep: [{ a: bad }] } }));
      await expectCode('RESOURCE_INVALID', store.devices.list(workspaceId, { limit: 1, room: bad }));
      await expectCode('RESOURCE_INVALID', store.workspaces.byPath(bad));
      await expectCode('RESOURCE_INVALID', store.users.credentials(bad));
      await expectCode('RESOURCE_INVALID', store.keys.markUsed([{ id: bad, atMs: 1 }]));
      await expectCode('RESOURCE_INVALID', store.change(async (tx) => tx.feed.remove({ type: 'key', workspaceId, id: bad })));
    }
    let deep: unknown = 1;
    for (let depth = 0; depth < 2_000; depth += 1) deep = [deep];
    await expectCode('RESOURCE_INVALID', store.definitions.create({ workspaceId, name: 'n', description: '', schema: { deep } }));
    expect(store.counts.failures).toBe(failures);
  });

  it('is mended in audit records, which nobody is to escape', async () => {
    const store = await postgres.open();
    await store.audit.add(auditOf(null, { actor: { kind: 'anonymous', id: null, name: 'a\0b\ud800' }, after: { 'x\0': ['\0'] } }));
    const { items } = await store.audit.list({ limit: 5 });
    expect(items).toMatchObject([{ actor: { name: 'a\uFFFDb\uFFFD' }, after: { 'x\uFFFD': ['\uFFFD'] } }]);
  });
});

describe('texts that are very long', () => {
  it('are kept where nothing sorts by them, and refused where an index cannot hold them', async () => {
    const store = await postgres.open();
    const { id: workspaceId } = await makeWorkspace(store);
    const long = Array.from({ length: 100_000 }, (_, at) => at.toString(36)).join('');
    const { id } = await store.definitions.create({ workspaceId, name: 'n', description: long, schema: { $comment: long } });
    expect(await store.definitions.get(id)).toMatchObject({ description: long, schema: { $comment: long } });
    await expectCode('RESOURCE_INVALID', store.definitions.create({ workspaceId, name: long, description: '', schema: {} }));
    expect((await store.devices.list(workspaceId, { limit: 1, room: long })).items).toEqual([]);
  });
});
