import { describe, expect, it } from 'vitest';

import { usePostgres } from '../postgres.fixture.ts';
import { allPages, auditOf } from '../samples.fixture.ts';

const postgres = usePostgres();

describe('the audit log', () => {
  it('gives back what was added, newest first', async () => {
    const store = await postgres.open();
    const full = auditOf('ws_1', { before: { b: 1, a: [null] }, after: { a: 'x' }, code: 'FORBIDDEN', outcome: 'denied', requestId: 'r1', resource: { kind: 'key', id: null, name: null } });
    await store.audit.add(full);
    for (let at = 0; at < 6; at += 1) await store.audit.add(auditOf('ws_1', { action: `n${at}` }));
    const seen = await allPages(async (cursor) => {
      if (cursor !== undefined) await store.audit.add(auditOf('ws_1', { action: 'later' }));
      return store.audit.list({ limit: 3, cursor });
    });
    expect(seen.map(({ action }) => action)).toEqual(['n5', 'n4', 'n3', 'n2', 'n1', 'n0', 'key.create']);
    const oldest = seen.at(-1);
    expect(oldest).toEqual({ ...full, id: expect.stringMatching(/^au_/) as string, at: expect.stringMatching(/Z$/) as string });
    expect(JSON.stringify(oldest?.before)).toBe('{"b":1,"a":[null]}');
  });

  it('is filtered by every field of the query, each by itself and together', async () => {
    const store = await postgres.open();
    await store.audit.add(auditOf('ws_1', { action: 'a', actor: { kind: 'user', id: 'us_1', name: 'ada' } }));
    await store.audit.add(auditOf('ws_2', { action: 'b', actor: { kind: 'key', id: 'k1', name: 'A key' }, outcome: 'denied', resource: { kind: 'member', id: 'm1', name: null } }));
    await store.audit.add(auditOf(null, { action: 'c', actor: { kind: 'system', id: null, name: 'system' } }));
    const actions = async (query: object) => (await store.audit.list({ limit: 10, ...query })).items.map(({ action }) => action).join('');
    const times = (await store.audit.list({ limit: 10 })).items.map(({ at }) => at);
    expect(await actions({})).toBe('cba');
    expect(await actions({ workspaceIds: ['ws_1', 'ws_2'] })).toBe('ba');
    expect(await actions({ workspaceIds: [] })).toBe('');
    expect(await actions({ action: 'a' })).toBe('a');
    expect(await actions({ actor: 'us_1' })).toBe('a');
    expect(await actions({ actor: 'A key' })).toBe('b');
    expect(await actions({ resource: 'member' })).toBe('b');
    expect(await actions({ resource: 'k1' })).toBe('ca');
    expect(await actions({ outcome: 'denied' })).toBe('b');
    expect(await actions({ outcome: 'denied', action: 'a' })).toBe('');
    expect(await actions({ from: new Date(Date.now() + 60_000).toISOString() })).toBe('');
    expect(await actions({ to: times.at(-1) })).toBe('');
    expect(await actions({ from: times.at(-1) })).toBe('cba');
    expect(await actions({ actor: `' OR 1=1 --` })).toBe('');
  });

  it('forgets what is older than asked', async () => {
    const store = await postgres.open();
    await store.audit.add(auditOf('ws_1'));
    expect(await store.audit.deleteBefore(new Date(Date.now() - 60_000).toISOString())).toBe(0);
    expect(await store.audit.deleteBefore(new Date(Date.now() + 60_000).toISOString())).toBe(1);
    expect((await store.audit.list({ limit: 1 })).items).toEqual([]);
  });
});
