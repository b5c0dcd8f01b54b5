import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { startApi, type Api } from './api.fixture.ts';

interface Workspace {
  readonly id: string;
  readonly path: string;
  readonly version: number;
  readonly anonymousKeyId: string | null;
}

let api: Api;
beforeAll(async () => void (api = await startApi()));
afterAll(() => api.stop());

const paths = (items: readonly Workspace[]) => items.map(({ path }) => path);

describe('making workspaces', () => {
  it('makes roots for administrators only', async () => {
    const made = (await api.administrator.post<Workspace>('/workspaces', { name: 'roots' })).done(201);
    expect(made).toMatchObject({ path: 'roots', version: 1 });
    (await (await api.person({ default: 'owner' })).post('/workspaces', { name: 'mine' })).refused('FORBIDDEN');
    (await api.administrator.post('/workspaces', { name: 'ROOTS' })).refused('RESOURCE_EXISTS');
  });

  it('makes those below for whoever may create there, who may then do there what they may above', async () => {
    const parentId = await api.workspace('parent');
    const [admin, developer, stranger] = await Promise.all([api.person({ [parentId]: 'admin' }), api.person({ [parentId]: 'developer' }), api.person({})]);
    const made = (await admin.post<Workspace>('/workspaces', { name: 'child', parentId })).done(201);
    expect(made.path).toBe('parent/child');
    (await admin.get(`/workspaces/${made.id}/audit`)).done(200);
    expect((await admin.get<{ items: unknown[] }>(`/workspaces/${made.id}/members`)).done(200).items).toEqual([]);
    (await developer.post('/workspaces', { name: 'no', parentId })).refused('FORBIDDEN');
    (await stranger.post('/workspaces', { name: 'no', parentId })).refused('RESOURCE_NOT_FOUND');
    for (const nowhere of ['nowhere', "'; --", '\u0000']) (await admin.post('/workspaces', { name: 'no', parentId: nowhere })).refused('RESOURCE_NOT_FOUND', 'RESOURCE_INVALID');
  });

  it('makes them for account keys that may', async () => {
    const parentId = await api.workspace('machines');
    const key = async (resources: object) => api.as((await api.administrator.post<{ accessKey: string }>(`/workspaces/${parentId}/keys`, { kind: 'account', name: 'm', resources })).done(201).accessKey);
    (await (await key({ workspaces: { create: [''] } })).post('/workspaces', { name: 'made', parentId })).done(201);
    (await (await key({ workspaces: { read: ['*'] } })).post('/workspaces', { name: 'not', parentId })).refused('FORBIDDEN');
    (await (await key({ workspaces: { create: ['*'] } })).post('/workspaces', { name: 'root' })).refused('FORBIDDEN');
    (await (await key({ workspaces: { create: ['*'] } })).post('/workspaces', { name: 'else', parentId: 'default' })).refused('RESOURCE_NOT_FOUND');
  });

  it('goes eight levels deep', async () => {
    let parentId = await api.workspace('depth1');
    for (let depth = 2; depth <= 8; depth += 1) parentId = await api.workspace(`depth${depth}`, parentId);

    expect((await api.administrator.post('/workspaces', { name: 'depth9', parentId })).refused('RESOURCE_INVALID').errors).toEqual([{ pointer: '', detail: 'workspaces are at most 8 deep' }]);
  });

  it.each([{ name: '../up' }, { name: '' }, { name: 'a/b' }, { name: 'ok', id: 'mine' }, { name: 'ok', path: 'x' }, { name: 'ok', anonymousKeyId: 'k' }, { name: 'ok', allowedOrigins: ['https://a.example/'] }, { name: 'ok', validation: 'maybe' }, {}])('refuses %j', async (body) => {
    (await api.administrator.post('/workspaces', body)).refused('RESOURCE_INVALID');
  });
});

describe('listing workspaces', () => {
  it('shows what the caller may read, at or below and right below what is asked for', async () => {
    const a = await api.workspace('la');
    const [ab, ac] = [await api.workspace('b', a), await api.workspace('c', a)];
    const abd = await api.workspace('d', ab);
    const z = await api.workspace('lz');
    const person = await api.person({ [ab]: 'viewer', [z]: 'viewer' });
    expect(paths(await person.all('/workspaces?limit=1'))).toEqual(['la/b', 'la/b/d', 'lz']);
    expect(paths(await person.all(`/workspaces?under=${a}`))).toEqual(['la/b', 'la/b/d']);
    expect(paths(await person.all(`/workspaces?under=${abd}`))).toEqual(['la/b/d']);
    expect(paths(await person.all(`/workspaces?under=${ac}`))).toEqual([]);
    expect(paths(await person.all(`/workspaces?parentId=${ab}`))).toEqual(['la/b/d']);
    expect(paths(await person.all(`/workspaces?parentId=null`))).toEqual(['lz']);
    expect(paths(await (await api.person({})).all('/workspaces'))).toEqual([]);
    expect(paths(await api.administrator.all(`/workspaces?under=${a}&limit=2`))).toEqual(['la', 'la/b', 'la/b/d', 'la/c']);

    const key = async (read: readonly string[]) => api.as((await api.administrator.post<{ accessKey: string }>(`/workspaces/${a}/keys`, { kind: 'account', name: 'm', resources: { workspaces: { read } } })).done(201).accessKey);
    expect(paths(await (await key(['*'])).all('/workspaces?limit=1'))).toEqual(['la', 'la/b', 'la/b/d', 'la/c']);
    expect(paths(await (await key(['b/*', 'c'])).all('/workspaces?limit=1'))).toEqual(['la/b/d', 'la/c']);
    expect(paths(await (await key([''])).all(`/workspaces?under=${z}`))).toEqual([]);
    expect(paths(await (await key([])).all('/workspaces'))).toEqual([]);
  });

  it.each(['limit=1000000000', 'parentId=a&parentId=b', 'order=name'])('refuses ?%s', async (query) => {
    (await api.administrator.get(`/workspaces?${query}`)).refused('RESOURCE_INVALID');
  });
});

describe('changing workspaces', () => {
  it('renames all paths below, and tells hubs of each', async () => {
    const id = await api.workspace('before');
    const below = await api.workspace('below', id);
    (await api.administrator.patch(`/workspaces/${id}`, { name: 'after' })).done(200);
    expect((await api.administrator.get<Workspace>(`/workspaces/${below}`)).done(200).path).toBe('after/below');

    expect(await api.fed(`${below}.workspace.${below}`)).toMatchObject({ path: 'after/below' });
    expect(await api.fed(`${id}.workspace.${id}`)).toMatchObject({ path: 'after' });
  });

  it('takes as anonymous key only one of its own that is in force and of a kind that devices use', async () => {
    const [id, other] = [await api.workspace('open'), await api.workspace('closed')];
    const key = async (kind: string, of = id) => (await api.administrator.post<{ key: { id: string } }>(`/workspaces/${of}/keys`, { kind, name: 'k' })).done(201).key.id;
    const messenger = await key('messenger');
    const revoked = await key('messenger');
    (await api.administrator.delete(`/workspaces/${id}/keys/${revoked}`)).done(204);
    for (const anonymousKeyId of [await key('repeater'), await key('account'), await key('hub-link'), await key('messenger', other), revoked, 'nothing', "' OR 1=1", '\u0000']) {
      (await api.administrator.patch(`/workspaces/${id}`, { anonymousKeyId })).refused('RESOURCE_INVALID');
    }
    for (const anonymousKeyId of [messenger, await key('service'), null]) {
      expect((await api.administrator.patch<Workspace>(`/workspaces/${id}`, { anonymousKeyId })).done(200).anonymousKeyId).toBe(anonymousKeyId);
      expect(await api.fed(`${id}.workspace.${id}`)).toMatchObject({ anonymousKeyId });
    }
  });

  it('is for admins, the end for owners', async () => {
    const id = await api.workspace('rights');
    const [owner, admin, developer, stranger] = await Promise.all([api.person({ [id]: 'owner' }), api.person({ [id]: 'admin' }), api.person({ [id]: 'developer' }), api.person({ default: 'owner' })]);
    (await developer.patch(`/workspaces/${id}`, { validation: 'warn' })).refused('FORBIDDEN');
    (await stranger.patch(`/workspaces/${id}`, { validation: 'warn' })).refused('RESOURCE_NOT_FOUND');
    (await stranger.get(`/workspaces/${id}`)).refused('RESOURCE_NOT_FOUND');
    (await admin.patch(`/workspaces/${id}`, { validation: 'warn', limits: { connections: 5 }, allowedOrigins: ['https://rooms.example'] })).done(200);
    (await admin.delete(`/workspaces/${id}`)).refused('FORBIDDEN');
    (await owner.patch(`/workspaces/${id}`, { parentId: null })).refused('RESOURCE_INVALID');
    (await owner.delete(`/workspaces/${id}`, { 'if-match': '"1"' })).refused('PRECONDITION_FAILED');
    (await owner.delete(`/workspaces/${id}`, { 'if-match': '"2"' })).done(204);
    (await owner.get(`/workspaces/${id}`)).refused('RESOURCE_NOT_FOUND');
    expect(await api.fed(`${id}.workspace.${id}`)).toBeNull();
  });

  it('leaves the default workspace and one with others below alone', async () => {
    const id = await api.workspace('full');
    const below = await api.workspace('below', id);
    (await api.administrator.delete(`/workspaces/${id}`)).refused('RESOURCE_IN_USE');
    (await api.administrator.delete('/workspaces/default')).refused('RESOURCE_IN_USE');
    (await api.administrator.delete(`/workspaces/${below}`)).done(204);
    (await api.administrator.delete(`/workspaces/${id}`)).done(204);
  });

  it('takes everything in a workspace out of the feed with it', async () => {
    const id = await api.workspace('ending');
    const { key } = (await api.administrator.post<{ key: { id: string } }>(`/workspaces/${id}/keys`, { kind: 'messenger', name: 'k' })).done(201);
    expect(await api.fed(`${id}.key.${key.id}`)).toMatchObject({ kind: 'messenger' });
    (await api.administrator.delete(`/workspaces/${id}`)).done(204);

    expect(await api.fed(`${id}.key.${key.id}`)).toBeNull();
  });
});
