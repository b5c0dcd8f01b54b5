import { describe, expect, it } from 'vitest';

import { usePostgres } from '../postgres.fixture.ts';
import { allPages, expectCode, makeKey, makeWorkspace } from '../samples.fixture.ts';

const postgres = usePostgres();
const HOUR_MS = 3_600_000;
const inHours = (hours: number) => new Date(Date.now() + hours * HOUR_MS).toISOString();

describe('access keys', () => {
  it('keep what they were given, and show no hash', async () => {
    const store = await postgres.open();
    const { id: workspaceId } = await makeWorkspace(store);
    const permissions = { send: [{ room: 'A-*' }], receive: [{ room: '*', event: 'power' }], deny: { send: [], receive: [{ room: 'A-1' }] } };
    const expiresAt = inHours(1);
    const key = await store.keys.create({
      id: 'k1', workspaceId, secretHash: 'hash-1', publicKey: 'pk', kind: 'service', name: 'Ümlaut ✓', permissions, resources: { keys: { read: ['*'] } }, limits: { connections: 3, rooms: null }, expiresAt,
    });
    expect(key).toMatchObject({ id: 'k1', workspaceId, kind: 'service', name: 'Ümlaut ✓', permissions, resources: { keys: { read: ['*'] } }, limits: { connections: 3, rooms: null }, expiresAt, revokedAt: null, lastUsedAt: null, publicKey: 'pk', version: 1 });
    expect(JSON.stringify(key)).not.toContain('hash-1');
    expect(await store.keys.get('k1')).toEqual(key);
    expect(await store.keys.byPublicKey('pk')).toEqual(key);
    expect(await store.keys.byPublicKey('other')).toBeUndefined();
    expect(await store.keys.secrets('k1')).toEqual({ key, secrets: [{ hash: 'hash-1', expiresAt: null }] });
    expect(await store.keys.secrets('none')).toBeUndefined();
    await expectCode('RESOURCE_EXISTS', makeKey(store, workspaceId, { id: 'k1' }));
    await expectCode('RESOURCE_EXISTS', makeKey(store, workspaceId, { publicKey: 'pk' }));
    await expectCode('RESOURCE_NOT_FOUND', makeKey(store, 'ws_none'));
  });

  it('are changed field by field', async () => {
    const store = await postgres.open();
    const { id: workspaceId } = await makeWorkspace(store);
    const { id } = await makeKey(store, workspaceId);
    const expiresAt = inHours(3);
    expect(await store.keys.update(id, { name: 'B', limits: { rooms: 5 } }, 1)).toMatchObject({ name: 'B', limits: { rooms: 5 }, expiresAt: null, version: 2 });
    expect(await store.keys.update(id, { expiresAt, publicKey: 'new' })).toMatchObject({ name: 'B', expiresAt, publicKey: 'new', version: 3 });
    expect(await store.keys.update(id, { expiresAt: null })).toMatchObject({ expiresAt: null });
    await expectCode('PRECONDITION_FAILED', store.keys.update(id, { name: 'C' }, 1));
    await expectCode('RESOURCE_NOT_FOUND', store.keys.update('none', { name: 'C' }, 1));
  });

  it('have two secrets in force while they rotate, and never a third', async () => {
    const store = await postgres.open();
    const { id: workspaceId } = await makeWorkspace(store);
    const { id } = await makeKey(store, workspaceId, { secretHash: 'one' });
    const hashes = async () => (await store.keys.secrets(id))?.secrets.map(({ hash }) => hash);
    const previousExpiresAt = inHours(24);
    const rotated = await store.keys.rotate(id, { secretHash: 'two', previousExpiresAt }, 1);
    expect(rotated).toMatchObject({ version: 2, secrets: [{ expiresAt: null }, { expiresAt: previousExpiresAt }] });
    expect(await store.keys.secrets(id)).toMatchObject({ secrets: [{ hash: 'two', expiresAt: null }, { hash: 'one', expiresAt: previousExpiresAt }] });
    await store.keys.rotate(id, { secretHash: 'three', previousExpiresAt });
    expect(await hashes()).toEqual(['three', 'two']);
    await store.keys.rotate(id, { secretHash: 'four', previousExpiresAt: new Date().toISOString() });
    expect(await hashes()).toEqual(['four']);
    await expectCode('PRECONDITION_FAILED', store.keys.rotate(id, { secretHash: 'five', previousExpiresAt }, 1));
    await expectCode('RESOURCE_NOT_FOUND', store.keys.rotate('none', { secretHash: 'five', previousExpiresAt }));
    expect(await hashes()).toEqual(['four']);
  });

  it('end with the newest two secrets when several rotate at once', async () => {
    const store = await postgres.open();
    const { id: workspaceId } = await makeWorkspace(store);
    const { id } = await makeKey(store, workspaceId, { secretHash: 'first' });
    await Promise.all(Array.from({ length: 5 }, async (_, at) => store.keys.rotate(id, { secretHash: `h${at}`, previousExpiresAt: inHours(1) })));
    const hashes = (await store.keys.secrets(id))?.secrets.map(({ hash }) => hash) ?? [];
    expect(new Set(hashes).size).toBe(2);
    expect(hashes).not.toContain('first');
    expect((await store.keys.get(id))?.version).toBe(6);
  });

  it('are revoked once and for good, and deleted without a trace', async () => {
    const store = await postgres.open();
    const { id: workspaceId } = await makeWorkspace(store);
    const { id } = await makeKey(store, workspaceId);
    const revoked = await store.keys.revoke(id, 1);
    expect(revoked.revokedAt).not.toBeNull();
    expect(await store.keys.revoke(id)).toEqual(revoked);
    await expectCode('PRECONDITION_FAILED', store.keys.revoke(id, 1));
    await expectCode('RESOURCE_NOT_FOUND', store.keys.revoke('none'));
    expect(await store.keys.delete(id)).toEqual(revoked);
    await expectCode('RESOURCE_NOT_FOUND', store.keys.delete(id));
  });

  it('are listed newest first, by kind, without repeats while new ones are made', async () => {
    const store = await postgres.open();
    const { id: workspaceId } = await makeWorkspace(store);
    const made: string[] = [];
    for (let at = 0; at < 9; at += 1) made.unshift((await makeKey(store, workspaceId)).id);
    const seen = await allPages(async (cursor) => {
      if (cursor !== undefined) await makeKey(store, workspaceId);
      return store.keys.list(workspaceId, { limit: 4, cursor });
    });
    expect(seen.map(({ id }) => id).sort()).toEqual(made.sort());
    const times = seen.map(({ createdAt }) => createdAt);
    expect(times).toEqual([...times].sort().reverse());
    expect((await store.keys.list(workspaceId, { limit: 5, kind: 'account' })).items).toEqual([]);
    expect((await store.keys.list(workspaceId, { limit: 5, kind: 'messenger' })).items).toHaveLength(5);
    expect((await store.keys.list('ws_none', { limit: 5 })).items).toEqual([]);
  });

  it('remember their last use, which neither goes back nor lies ahead nor counts as a change', async () => {
    const store = await postgres.open();
    const { id: workspaceId } = await makeWorkspace(store);
    const keys = [await makeKey(store, workspaceId), await makeKey(store, workspaceId), await makeKey(store, workspaceId)] as const;
    const at = Date.now() - HOUR_MS;
    await store.keys.markUsed([{ id: keys[0].id, atMs: at }, { id: keys[0].id, atMs: at - 5 }, { id: keys[1].id, atMs: at }, { id: 'none', atMs: at }]);
    await store.keys.markUsed([{ id: keys[0].id, atMs: at - HOUR_MS }, { id: keys[1].id, atMs: Date.now() + HOUR_MS }]);
    await store.keys.markUsed([]);
    expect(await store.keys.get(keys[0].id)).toMatchObject({ lastUsedAt: new Date(at).toISOString(), version: 1 });
    const ahead = Date.parse((await store.keys.get(keys[1].id))?.lastUsedAt ?? '');
    expect(ahead).toBeGreaterThan(at);
    expect(ahead).toBeLessThanOrEqual(Date.now());
    expect(await store.keys.get(keys[2].id)).toMatchObject({ lastUsedAt: null });
    await store.change(async (tx) => tx.keys.markUsed([{ id: keys[2].id, atMs: at }]));
    expect(await store.keys.get(keys[2].id)).toMatchObject({ lastUsedAt: new Date(at).toISOString() });
  });

  it('are marked by many at once without a deadlock', async () => {
    const store = await postgres.open();
    const { id: workspaceId } = await makeWorkspace(store);
    const ids = await Promise.all(Array.from({ length: 40 }, async () => (await makeKey(store, workspaceId)).id));
    const before = Date.now() - HOUR_MS;
    await Promise.all(Array.from({ length: 20 }, async (_, turn) => store.keys.markUsed((turn % 2 === 0 ? ids : [...ids].reverse()).map((id) => ({ id, atMs: before + turn })))));
    for (const { lastUsedAt } of (await store.keys.list(workspaceId, { limit: 50 })).items) expect(lastUsedAt).toBe(new Date(before + 19).toISOString());
  });
});
