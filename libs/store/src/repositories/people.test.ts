import { describe, expect, it } from 'vitest';

import { usePostgres } from '../postgres.fixture.ts';
import { allPages, expectCode, makeUser, makeWorkspace } from '../samples.fixture.ts';

const postgres = usePostgres();
const HOUR_MS = 3_600_000;
const inHours = (hours: number) => new Date(Date.now() + hours * HOUR_MS).toISOString();

describe('users', () => {
  it('are known by id, username without case, and identity elsewhere', async () => {
    const store = await postgres.open();
    const ada = await store.users.create({ username: 'Ada@Rooms.example', name: 'Ada', administrator: true, passwordHash: 'scrypt$1' });
    expect(ada).toMatchObject({ username: 'ada@rooms.example', administrator: true, disabled: false, hasPassword: true, oidcLinked: false, version: 1 });
    expect(ada).not.toHaveProperty('passwordHash');
    expect(await store.users.byUsername('ADA@rooms.EXAMPLE')).toEqual(ada);
    expect(await store.users.get(ada.id)).toEqual(ada);
    expect(await store.users.credentials('ada@rooms.example')).toEqual({ user: ada, passwordHash: 'scrypt$1' });
    expect(await store.users.credentials('bob')).toBeUndefined();
    await store.users.linkOidc(ada.id, 'https://id.example', 'subject');
    expect(await store.users.byOidc('https://id.example', 'subject')).toMatchObject({ id: ada.id, oidcLinked: true, version: 2 });
    expect(await store.users.byOidc('https://id.example', 'other')).toBeUndefined();
    const bob = await makeUser(store);
    await expectCode('RESOURCE_EXISTS', store.users.linkOidc(bob.id, 'https://id.example', 'subject'));
    await expectCode('RESOURCE_NOT_FOUND', store.users.linkOidc('us_none', 'https://id.example', 'another'));
    await expectCode('RESOURCE_EXISTS', makeUser(store, { username: 'ADA@rooms.example' }));
    expect(await store.users.count()).toBe(2);
  });

  it('are listed by username', async () => {
    const store = await postgres.open();
    for (const username of ['b', 'a_', 'a', 'a-', 'c']) await makeUser(store, { username });
    const seen = await allPages(async (cursor) => store.users.list({ limit: 2, cursor }));
    expect(seen.map(({ username }) => username)).toEqual(['a', 'a-', 'a_', 'b', 'c']);
  });

  it('keep one administrator who is not disabled', async () => {
    const store = await postgres.open();
    const first = await makeUser(store, { administrator: true });
    await makeUser(store);
    await expectCode('RESOURCE_IN_USE', store.users.update(first.id, { administrator: false }));
    await expectCode('RESOURCE_IN_USE', store.users.update(first.id, { disabled: true }));
    await expectCode('RESOURCE_IN_USE', store.users.delete(first.id));
    const second = await makeUser(store, { administrator: true });
    await store.users.update(second.id, { disabled: true });
    await expectCode('RESOURCE_IN_USE', store.users.delete(first.id));
    // One that does not count can go.
    await store.users.delete(second.id);
    expect(await store.users.get(first.id)).toMatchObject({ administrator: true, disabled: false, version: 1 });
  });

  it('keep one administrator when the last two give it up at the same moment', async () => {
    const store = await postgres.open();
    const both = [await makeUser(store, { administrator: true }), await makeUser(store, { administrator: true })];
    const outcomes = await Promise.allSettled(both.map(async ({ id }) => store.users.update(id, { administrator: false })));
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const left = (await store.users.list({ limit: 10 })).items.filter(({ administrator }) => administrator);
    expect(left).toHaveLength(1);
  });

  it('refuse changes of another version', async () => {
    const store = await postgres.open();
    const { id } = await makeUser(store);
    expect(await store.users.update(id, { name: 'New' }, 1)).toMatchObject({ name: 'New', version: 2 });
    await expectCode('PRECONDITION_FAILED', store.users.update(id, { name: 'Newer' }, 1));
    await expectCode('PRECONDITION_FAILED', store.users.delete(id, 1));
    await expectCode('RESOURCE_NOT_FOUND', store.users.update('us_none', { name: 'x' }));
  });
});

describe('members', () => {
  it('have one role a workspace, and go with the person', async () => {
    const store = await postgres.open();
    const workspace = await makeWorkspace(store);
    const users = [await makeUser(store, { username: 'm-b' }), await makeUser(store, { username: 'm-a' }), await makeUser(store, { username: 'm-c' })] as const;
    for (const { id } of users) await store.members.create({ workspaceId: workspace.id, userId: id, role: 'viewer' });
    await expectCode('RESOURCE_EXISTS', store.members.create({ workspaceId: workspace.id, userId: users[0].id, role: 'owner' }));
    await expectCode('RESOURCE_NOT_FOUND', store.members.create({ workspaceId: 'ws_none', userId: users[0].id, role: 'owner' }));
    await expectCode('RESOURCE_NOT_FOUND', store.members.create({ workspaceId: workspace.id, userId: 'us_none', role: 'owner' }));
    expect(await store.members.update(workspace.id, users[0].id, 'admin', 1)).toMatchObject({ role: 'admin', username: 'm-b', name: 'Name of m-b', version: 2 });
    await expectCode('PRECONDITION_FAILED', store.members.update(workspace.id, users[0].id, 'owner', 1));
    await expectCode('PRECONDITION_FAILED', store.members.delete(workspace.id, users[0].id, 1));
    await expectCode('RESOURCE_NOT_FOUND', store.members.delete('ws_none', users[0].id));
    expect(await store.members.rolesOf(users[0].id)).toEqual([{ workspaceId: workspace.id, role: 'admin' }]);
    const seen = await allPages(async (cursor) => store.members.list(workspace.id, { limit: 2, cursor }));
    expect(seen.map(({ username }) => username)).toEqual(['m-a', 'm-b', 'm-c']);
    expect(await store.members.delete(workspace.id, users[0].id, 2)).toMatchObject({ username: 'm-b' });
    await store.users.delete(users[1].id);
    expect((await store.members.list(workspace.id, { limit: 10 })).items.map(({ username }) => username)).toEqual(['m-c']);
    expect(await store.members.get(workspace.id, users[1].id)).toBeUndefined();
  });
});

describe('sessions', () => {
  it('are in force until they expire, are revoked, or the person is disabled or gone', async () => {
    const store = await postgres.open();
    const user = await makeUser(store);
    const open = async (tokenHash: string, hours = 1) => store.sessions.create({ userId: user.id, tokenHash, source: '10.0.0.1', expiresAt: inHours(hours) });
    const found = async (tokenHash: string, hours = 0) => (await store.sessions.byTokenHash(tokenHash, inHours(hours)))?.id;
    const [a, b, c] = [await open('a'), await open('b'), await open('c', 5)];
    expect(await store.sessions.byTokenHash('a', inHours(0))).toMatchObject({ id: a.id, user, expiresAt: a.expiresAt, lastUsedAt: a.createdAt });
    expect(await found('a', 2)).toBeUndefined();
    expect(await found('unknown')).toBeUndefined();
    expect(await store.sessions.revoke(a.id, 'us_other')).toBe(false);
    expect(await store.sessions.revoke(a.id, user.id)).toBe(true);
    expect(await store.sessions.revoke(a.id, user.id)).toBe(false);
    expect([await found('a'), await found('b'), await found('c')]).toEqual([undefined, b.id, c.id]);
    expect((await store.sessions.list(user.id)).map(({ id }) => id)).toEqual([c.id, b.id]);
    expect(await store.sessions.deleteExpired(inHours(2))).toBe(2);
    await store.users.update(user.id, { disabled: true });
    expect(await found('c')).toBeUndefined();
    await store.users.update(user.id, { disabled: false });
    expect(await found('c')).toBe(c.id);
    await store.users.delete(user.id);
    expect(await found('c')).toBeUndefined();
    await expectCode('RESOURCE_NOT_FOUND', open('d'));
  });

  it('are revoked all at once but one, and remember their last use', async () => {
    const store = await postgres.open();
    const user = await makeUser(store);
    const open = async (tokenHash: string) => (await store.sessions.create({ userId: user.id, tokenHash, source: '', expiresAt: inHours(1) })).id;
    const [kept] = [await open('1'), await open('2'), await open('3')];
    expect(await store.sessions.revokeAll(user.id, kept)).toBe(2);
    const later = inHours(0.5);
    await store.sessions.touch(kept, later);
    await store.sessions.touch(kept, inHours(0.1));
    expect(await store.sessions.list(user.id)).toMatchObject([{ id: kept, lastUsedAt: later }]);
    expect(await store.sessions.revokeAll(user.id)).toBe(1);
  });
});

describe('known sources', () => {
  it('are the latest twenty of a person', async () => {
    const store = await postgres.open();
    const user = await makeUser(store);
    // Of two that were seen in the same millisecond the one that comes first by name stays: here the later one.
    for (let at = 99; at > 79; at -= 1) await store.knownSources.add(user.id, `s${at}`);
    await store.knownSources.add(user.id, 's99');
    await store.knownSources.add(user.id, 's79');
    expect(await store.knownSources.has(user.id, 's98')).toBe(false);
    for (const known of ['s99', 's97', 's79']) expect(await store.knownSources.has(user.id, known)).toBe(true);
    expect(await store.knownSources.has('us_none', 's99')).toBe(false);
    await expectCode('RESOURCE_NOT_FOUND', store.knownSources.add('us_none', 's'));
  });
});
