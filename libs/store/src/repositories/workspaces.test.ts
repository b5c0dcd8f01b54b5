import { WORKSPACE_DEPTH_MAX } from '@carillon/schemas';
import { describe, expect, it } from 'vitest';

import { usePostgres } from '../postgres.fixture.ts';
import { allPages, expectCode, keyEntry, makeKey, makeUser, makeWorkspace } from '../samples.fixture.ts';

const postgres = usePostgres();

describe('workspaces', () => {
  it('are found by id and, without case, by path', async () => {
    const store = await postgres.open();
    const team = await makeWorkspace(store, { name: 'Team' });
    const sub = await makeWorkspace(store, { name: 'Sub_1', parentId: team.id });
    expect(team).toMatchObject({ path: 'Team', parentId: null, version: 1 });
    expect(team.id).toMatch(/^ws_[0-9a-hjkmnp-tv-z]{26}$/);
    expect(sub.path).toBe('Team/Sub_1');
    expect(await store.workspaces.get(sub.id)).toEqual(sub);
    expect(await store.workspaces.byPath('tEAM/sUB_1')).toEqual(sub);
    // In a pattern match an underscore would stand for anything.
    expect(await store.workspaces.byPath('team/sub-1')).toBeUndefined();
    expect(await store.workspaces.byPath('')).toBeUndefined();
    expect(await store.workspaces.get('ws_none')).toBeUndefined();
    const given = await store.workspaces.create({ id: 'default', name: 'default', parentId: null, validation: 'warn', allowedOrigins: ['https://a.example'], limits: { rooms: 7 } });
    expect(given).toMatchObject({ id: 'default', validation: 'warn', allowedOrigins: ['https://a.example'], limits: { rooms: 7 } });
  });

  it('have names that are one of their kind, without case, among siblings', async () => {
    const store = await postgres.open();
    const a = await makeWorkspace(store, { name: 'a' });
    const b = await makeWorkspace(store, { name: 'b' });
    await makeWorkspace(store, { name: 'x', parentId: a.id });
    await makeWorkspace(store, { name: 'x', parentId: b.id });
    await expectCode('RESOURCE_EXISTS', makeWorkspace(store, { name: 'X', parentId: a.id }));
    await expectCode('RESOURCE_EXISTS', makeWorkspace(store, { name: 'A' }));
    await expectCode('RESOURCE_EXISTS', store.workspaces.update(b.id, { name: 'A' }));
    await expectCode('RESOURCE_NOT_FOUND', makeWorkspace(store, { name: 'y', parentId: 'ws_none' }));
    expect((await store.workspaces.update(a.id, { name: 'A' })).path).toBe('A');
  });

  it('are nested as deep as they may and no deeper', async () => {
    const store = await postgres.open();
    let parentId: string | null = null;
    for (let depth = 1; depth <= WORKSPACE_DEPTH_MAX; depth += 1) ({ id: parentId } = await makeWorkspace(store, { name: 'n', parentId }));
    await expectCode('RESOURCE_INVALID', makeWorkspace(store, { name: 'n', parentId }));
    const ancestors = await store.workspaces.ancestors(parentId ?? '');
    expect(ancestors.map(({ path }) => path.split('/').length)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(ancestors.at(-1)?.id).toBe(parentId);
    expect(await store.workspaces.ancestors('ws_none')).toEqual([]);
  });

  it('take all below along when they are renamed, and nobody else', async () => {
    const store = await postgres.open();
    const top = await makeWorkspace(store, { name: 'top' });
    const mid = await makeWorkspace(store, { name: 'mid', parentId: top.id });
    const low = await makeWorkspace(store, { name: 'low', parentId: mid.id });
    const likes = [await makeWorkspace(store, { name: 'top-2' }), await makeWorkspace(store, { name: 'top0' }), await makeWorkspace(store, { name: 'top.x' })];
    const renamed = await store.workspaces.update(top.id, { name: 'Summit%_' }, 1);
    expect(renamed).toMatchObject({ path: 'Summit%_', version: 2 });
    expect(await store.workspaces.get(mid.id)).toMatchObject({ path: 'Summit%_/mid', version: 2 });
    expect(await store.workspaces.get(low.id)).toMatchObject({ path: 'Summit%_/mid/low', version: 2 });
    for (const { id, path } of likes) expect(await store.workspaces.get(id)).toMatchObject({ path, version: 1 });
  });

  it('never keep an old path when a child is made while its parent is renamed', async () => {
    const store = await postgres.open();
    const parent = await makeWorkspace(store, { name: 'p0' });
    await Promise.all([
      ...Array.from({ length: 5 }, async (_, at) => store.workspaces.update(parent.id, { name: `p${at + 1}` })),
      ...Array.from({ length: 10 }, async (_, at) => makeWorkspace(store, { name: `c${at}`, parentId: parent.id })),
    ]);
    const path = (await store.workspaces.get(parent.id))?.path;
    const { items } = await store.workspaces.list({ limit: 50, parentId: parent.id });
    expect(items.map((child) => child.path)).toEqual(Array.from({ length: 10 }, (_, at) => `${path}/c${at}`));
  });

  it('are listed by path, of some ids, below some, of one parent', async () => {
    const store = await postgres.open();
    const a = await makeWorkspace(store, { name: 'a' });
    const ab = await makeWorkspace(store, { name: 'b', parentId: a.id });
    const abc = await makeWorkspace(store, { name: 'c', parentId: ab.id });
    const a2 = await makeWorkspace(store, { name: 'a-2' });
    const paths = async (query: object) => (await store.workspaces.list({ limit: 50, ...query })).items.map(({ path }) => path);
    expect(await paths({})).toEqual(['a', 'a-2', 'a/b', 'a/b/c']);
    expect(await paths({ parentId: null })).toEqual(['a', 'a-2']);
    expect(await paths({ parentId: a.id })).toEqual(['a/b']);
    expect(await paths({ ids: [abc.id, a2.id, 'ws_none'] })).toEqual(['a-2', 'a/b/c']);
    expect(await paths({ ids: [] })).toEqual([]);
    expect(await paths({ under: [ab.id, abc.id] })).toEqual(['a/b', 'a/b/c']);
    expect(await paths({ under: [a.id], parentId: ab.id })).toEqual(['a/b/c']);
    expect(await paths({ under: ['ws_none'] })).toEqual([]);
  });

  it('are paged without a repeat or a gap while others come and go', async () => {
    const store = await postgres.open();
    for (let at = 10; at < 30; at += 1) await makeWorkspace(store, { name: `w${at}` });
    let pages = 0;
    const seen = await allPages(async (cursor) => {
      pages += 1;
      if (pages === 2) {
        await makeWorkspace(store, { name: 'w00' });
        await store.workspaces.delete((await store.workspaces.byPath('w16'))?.id ?? '');
      }
      return store.workspaces.list({ limit: 7, cursor });
    });
    expect(seen.map(({ path }) => path)).toEqual(Array.from({ length: 20 }, (_, at) => `w${at + 10}`));
    expect(pages).toBe(3);
  });

  it('refuse a cursor that is none of this listing', async () => {
    const store = await postgres.open();
    await makeUser(store);
    await makeUser(store);
    const { nextCursor } = await store.users.list({ limit: 1 });
    const forged = (content: unknown) => Buffer.from(JSON.stringify(content)).toString('base64url');
    for (const cursor of [nextCursor ?? '', '', 'x', '%', forged(['workspaces']), forged(['workspaces', 1]), forged(['workspaces', 'a', 'b']), forged(['workspaces', '\0']), forged(null), 'A'.repeat(10_000)]) {
      await expectCode('CURSOR_INVALID', store.workspaces.list({ limit: 1, cursor }));
    }
    await expectCode('CURSOR_INVALID', store.keys.list('ws', { limit: 1, cursor: forged(['keys', 'not a time', 'k']) }));
  });

  it('refuse an update or a deletion of another version', async () => {
    const store = await postgres.open();
    const { id } = await makeWorkspace(store);
    expect(await store.workspaces.update(id, { validation: 'reject' }, 1)).toMatchObject({ version: 2, validation: 'reject' });
    await expectCode('PRECONDITION_FAILED', store.workspaces.update(id, { validation: 'off' }, 1));
    await expectCode('PRECONDITION_FAILED', store.workspaces.update(id, { name: 'other' }, 1));
    await expectCode('PRECONDITION_FAILED', store.workspaces.delete(id, 1));
    await expectCode('RESOURCE_NOT_FOUND', store.workspaces.update('ws_none', { validation: 'off' }, 1));
    await expectCode('RESOURCE_NOT_FOUND', store.workspaces.delete('ws_none'));
    expect(await store.workspaces.delete(id, 2)).toMatchObject({ id, version: 2 });
  });

  it('name an anonymous key of their own only, and none once it is gone', async () => {
    const store = await postgres.open();
    const [own, other] = [await makeWorkspace(store), await makeWorkspace(store)];
    const key = await makeKey(store, own.id);
    await expectCode('RESOURCE_NOT_FOUND', store.workspaces.update(other.id, { anonymousKeyId: key.id }));
    await expectCode('RESOURCE_NOT_FOUND', store.workspaces.update(own.id, { anonymousKeyId: 'none' }));
    expect(await store.workspaces.update(own.id, { anonymousKeyId: key.id })).toMatchObject({ anonymousKeyId: key.id });
    await store.keys.delete(key.id);
    expect(await store.workspaces.get(own.id)).toMatchObject({ anonymousKeyId: null });
  });

  it('go with everything in them, but not while there are others below', async () => {
    const store = await postgres.open();
    const workspace = await makeWorkspace(store);
    const child = await makeWorkspace(store, { parentId: workspace.id });
    const user = await makeUser(store);
    const key = await makeKey(store, workspace.id);
    await store.workspaces.update(workspace.id, { anonymousKeyId: key.id });
    await store.members.create({ workspaceId: workspace.id, userId: user.id, role: 'owner' });
    const definition = await store.definitions.create({ workspaceId: workspace.id, name: 'power', description: '', schema: {} });
    const policy = await store.roomPolicies.create({ workspaceId: workspace.id, pattern: '*', lane: 'live', retention: { maxAgeSeconds: null, maxBytes: null } });
    const device = await store.devices.create({ workspaceId: workspace.id, room: 'R', name: 'D', repeater: 'r', address: 'ws://10.0.0.1/', enabled: true });
    await store.feed.put(keyEntry(workspace.id, key.id));
    await expectCode('RESOURCE_IN_USE', store.workspaces.delete(workspace.id));
    await store.workspaces.delete(child.id);
    await store.change(async (tx) => {
      await tx.workspaces.delete(workspace.id);
      await tx.feed.removeWorkspace(workspace.id);
    });
    expect([await store.keys.get(key.id), await store.definitions.get(definition.id), await store.roomPolicies.get(policy.id), await store.devices.get(device.id), await store.members.get(workspace.id, user.id)]).toEqual(Array(5).fill(undefined));
    expect(await store.users.get(user.id)).toEqual(user);
    expect((await store.feed.pending(10)).map(({ record }) => record)).toEqual([{ seq: 2, entry: null }]);
  });
});
