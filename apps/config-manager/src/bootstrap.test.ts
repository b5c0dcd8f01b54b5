import { ALL_PERMISSIONS, DEFAULT_WORKSPACE_ID } from '@carillon/schemas';
import { hashAccessKey } from '@carillon/access';
import { openStore, type Store } from '@carillon/store';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Passwords } from './auth/passwords.ts';
import { bootstrap, createFirstKey } from './bootstrap.ts';
import { usePostgres } from './config-manager.fixture.ts';

const passwords = new Passwords({ logN: 4, r: 8, p: 1 });
let stores: Store[] = [];
let release: () => Promise<void>;

beforeEach(async () => {
  const { url, release: end } = await usePostgres();
  release = end;
  stores = await Promise.all([0, 1].map(() => openStore({ url, dataDir: 'unused', log: () => undefined })));
});
afterEach(async () => {
  await Promise.all(stores.map((store) => store.close()));
  await release();
});

describe('an empty database', () => {
  it('gets a workspace, its place in the feed, and an administrator with a password that was made', async () => {
    const [store] = stores as [Store];
    const { created, adminPassword = '' } = await bootstrap(store, { passwords, username: 'admin' });
    expect([created, adminPassword]).toEqual([true, expect.stringMatching(/^[A-Za-z0-9]{24}$/)]);
    expect(await store.workspaces.get(DEFAULT_WORKSPACE_ID)).toMatchObject({ path: 'default', parentId: null, validation: 'off' });
    expect((await store.feed.pending(10)).map(({ key }) => key)).toEqual(['default.workspace.default']);
    const found = await store.users.credentials('admin');
    expect(found?.user.administrator).toBe(true);
    expect((await passwords.check(adminPassword, found?.passwordHash)).matches).toBe(true);
    expect(JSON.stringify(await store.audit.list({ limit: 10 }))).not.toContain(adminPassword);
    expect(await bootstrap(store, { passwords, username: 'admin' })).toEqual({ created: false });
    expect(await store.users.count()).toBe(1);
  });

  it('takes a password that is given, if it is fit, and never shows it', async () => {
    const [store] = stores as [Store];
    await expect(bootstrap(store, { passwords, username: 'admin', password: 'admin' })).rejects.toMatchObject({ code: 'PASSWORD_UNFIT' });
    expect(await store.users.count()).toBe(0);
    expect(await bootstrap(store, { passwords, username: 'root', password: 'a password that is fit' })).toEqual({ created: true });
    expect(await store.users.byUsername('root')).toMatchObject({ administrator: true });
    // Nobody looks at it once there is a user.
    expect(await bootstrap(store, { passwords, username: 'admin', password: 'admin' })).toEqual({ created: false });
  });

  it('is filled once when two start together', async () => {
    const kept: string[] = [];
    const keep = async (password: string): Promise<void> => void kept.push(password);
    const results = await Promise.all([...stores, ...stores].map((store) => bootstrap(store, { passwords, username: 'admin', keep })));
    const [winner] = results.filter(({ created }) => created);
    expect(results.filter(({ created }) => created)).toHaveLength(1);
    expect(await (stores[0] as Store).users.count()).toBe(1);
    expect(kept.at(-1)).toBe(winner?.adminPassword);
    const found = await (stores[0] as Store).users.credentials('admin');
    expect((await passwords.check(winner?.adminPassword ?? '', found?.passwordHash)).matches).toBe(true);
  });

  it('stays empty when the password cannot be kept', async () => {
    const [store] = stores as [Store];
    const keep = async (): Promise<void> => {
      throw new Error('the disk is full');
    };
    await expect(bootstrap(store, { passwords, username: 'admin', keep })).rejects.toThrow('the disk is full');
    expect([await store.users.count(), await store.workspaces.get(DEFAULT_WORKSPACE_ID), await store.feed.head()]).toEqual([0, undefined, 0]);
  });
});

describe('the first key', () => {
  it('is made once, may everything in its workspace, and is in the feed', async () => {
    const [store] = stores as [Store];
    expect(await createFirstKey(store)).toBeUndefined();
    await bootstrap(store, { passwords, username: 'admin' });
    const accessKey = (await createFirstKey(store)) ?? '';
    expect(await createFirstKey(store)).toBeUndefined();
    const { items: [key] } = await store.keys.list(DEFAULT_WORKSPACE_ID, { limit: 10 });
    expect(key).toMatchObject({ kind: 'messenger', name: 'first key', permissions: ALL_PERMISSIONS, revokedAt: null });
    const record = (await store.feed.pending(10)).find((each) => each.key === `default.key.${key?.id}`);
    expect(record?.record.entry).toMatchObject({ type: 'key', kind: 'messenger', secrets: [{ hash: hashAccessKey(accessKey), expiresAtMs: null }] });
    await store.keys.revoke(key?.id ?? '');
    expect(await createFirstKey(store)).toBeUndefined();
  });
});
