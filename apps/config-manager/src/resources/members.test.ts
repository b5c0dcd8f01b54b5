import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { startApi, type Api, type Caller } from './api.fixture.ts';

interface Member {
  readonly userId: string;
  readonly role: string;
  readonly version: number;
}

let api: Api;
beforeAll(async () => void (api = await startApi()));
afterAll(() => api.stop());

/** A root with one person of each role. */
async function root(name: string): Promise<{ readonly id: string; readonly members: string; readonly owner: Caller; readonly admin: Caller; readonly developer: Caller; readonly viewer: Caller }> {
  const id = await api.workspace(name);
  return { id, members: `/workspaces/${id}/members`, ...(await api.people(id, 'owner', 'admin', 'developer', 'viewer')) };
}

describe('members', () => {
  it('are added by name, whatever its case, and read with their version', async () => {
    const { members, admin, viewer } = await root('added');
    const someone = await api.person({});
    const made = (await admin.post<Member>(members, { username: someone.username.toUpperCase(), role: 'viewer' })).done(201);
    expect(made).toMatchObject({ userId: someone.id, role: 'viewer', version: 1 });
    expect((await viewer.get<Member>(`${members}/${someone.id}`)).done(200)).toMatchObject({ role: 'viewer' });
    (await admin.post(members, { username: someone.username, role: 'developer' })).refused('RESOURCE_EXISTS');
    (await someone.get(members)).done(200);
  });

  it('are refused when nobody has that name, and when the name is no name', async () => {
    const { members, admin } = await root('unknown');
    for (const username of ['nobody@rooms.example', "' OR 1=1 --", '', 'a'.repeat(254)]) (await admin.post(members, { username, role: 'viewer' })).refused('RESOURCE_NOT_FOUND');
    for (const username of ['\u0000', '\ud800']) expect((await admin.post(members, { username, role: 'viewer' })).refused('RESOURCE_INVALID').errors).toMatchObject([{ pointer: '/username' }]);
    (await admin.post(members, { username: 'a'.repeat(255), role: 'viewer' })).refused('RESOURCE_INVALID');
    (await admin.post(members, { username: 'x', role: 'root' })).refused('RESOURCE_INVALID');
    (await admin.post(members, { username: 'x', role: 'viewer', workspaceId: 'default' })).refused('RESOURCE_INVALID');
    (await admin.post(members, { username: 'x', role: 'viewer', userId: admin.id })).refused('RESOURCE_INVALID');
  });

  it('get no role above that of who gives it', async () => {
    const { members, owner, admin, developer } = await root('granting');
    const someone = await api.person({});
    (await developer.post(members, { username: someone.username, role: 'viewer' })).refused('FORBIDDEN');
    (await admin.post(members, { username: someone.username, role: 'owner' })).refused('FORBIDDEN');
    (await admin.post(members, { username: someone.username, role: 'admin' })).done(201);
    (await admin.patch(`${members}/${someone.id}`, { role: 'owner' })).refused('FORBIDDEN');
    (await admin.patch(`${members}/${admin.id}`, { role: 'owner' })).refused('FORBIDDEN');
    (await owner.patch(`${members}/${someone.id}`, { role: 'owner' })).done(200);
    (await admin.patch(`${members}/${someone.id}`, { role: 'viewer' })).refused('FORBIDDEN');
    (await admin.delete(`${members}/${someone.id}`)).refused('FORBIDDEN');
    (await owner.delete(`${members}/${someone.id}`)).done(204);
  });

  it('leave by themselves, and remove nobody else without the right to', async () => {
    const { members, viewer, developer, admin } = await root('leaving');
    (await viewer.delete(`${members}/${developer.id}`)).refused('FORBIDDEN');
    (await developer.delete(`${members}/${viewer.id}`)).refused('FORBIDDEN');
    (await viewer.delete(`${members}/${viewer.id}`)).done(204);
    (await viewer.get(members)).refused('RESOURCE_NOT_FOUND');
    (await admin.delete(`${members}/${developer.id}`)).done(204);
    (await admin.delete(`${members}/${developer.id}`)).refused('RESOURCE_NOT_FOUND');
  });

  it('keep the last owner of a root, unless an administrator decides otherwise', async () => {
    const { members, owner } = await root('lasting');
    (await owner.delete(`${members}/${owner.id}`)).refused('RESOURCE_IN_USE');
    (await owner.patch(`${members}/${owner.id}`, { role: 'admin' })).refused('RESOURCE_IN_USE');
    (await owner.patch(`${members}/${owner.id}`, { role: 'owner' })).done(200);
    (await api.administrator.patch(`${members}/${owner.id}`, { role: 'admin' })).done(200);
  });

  it('let the owner of what is below a root go', async () => {
    const { id } = await root('above');
    const below = await api.workspace('below', id);
    const owner = await api.person({ [below]: 'owner' });

    (await owner.delete(`/workspaces/${below}/members/${owner.id}`)).done(204);
  });

  it('do not leave a root without owners when two go at once', async () => {
    const { members, owner } = await root('racing');
    const second = await api.person({});
    (await owner.post(members, { username: second.username, role: 'owner' })).done(201);
    const answers = await Promise.all([owner.delete(`${members}/${owner.id}`), second.delete(`${members}/${second.id}`)]);
    const left = (await api.administrator.all<Member>(members)).filter(({ role }) => role === 'owner');

    expect(left).toHaveLength(1);
    expect(answers.map(({ status }) => status).sort()).toEqual([204, 409]);
  });

  it('have the roles of the workspaces above, also to give', async () => {
    const { id, owner, viewer } = await root('inherited');
    const below = await api.workspace('deep', id);
    const someone = await api.person({});
    (await owner.post(`/workspaces/${below}/members`, { username: someone.username, role: 'owner' })).done(201);
    (await viewer.get(`/workspaces/${below}/members`)).done(200);
    (await someone.get(`/workspaces/${id}/members`)).refused('RESOURCE_NOT_FOUND');
    (await someone.post(`/workspaces/${id}/members`, { username: someone.username, role: 'viewer' })).refused('RESOURCE_NOT_FOUND');
  });

  it('get from an account key what it may do itself, and never ownership', async () => {
    const { id, members, owner } = await root('machine');
    const key = async (resources: object) => api.as((await owner.post<{ accessKey: string }>(`/workspaces/${id}/keys`, { kind: 'account', name: 'm', resources })).done(201).accessKey);
    const reads = { workspaces: { read: ['*'] }, 'event-definitions': { read: ['*'] }, rooms: { read: ['*'] }, devices: { read: ['*'] }, keys: { read: ['*'] } };
    const machine = await key({ ...reads, members: { read: ['*'], create: ['*'] } });
    const someone = await api.person({});
    (await machine.post(members, { username: someone.username, role: 'owner' })).refused('FORBIDDEN');
    (await machine.post(members, { username: someone.username, role: 'operator' })).refused('FORBIDDEN');
    (await machine.post(members, { username: someone.username, role: 'viewer' })).done(201);
    (await machine.delete(`${members}/${someone.id}`)).refused('FORBIDDEN');
  });

  it('take If-Match', async () => {
    const { members, admin, developer } = await root('matching');
    (await admin.patch(`${members}/${developer.id}`, { role: 'operator' }, { 'if-match': '"1"' })).done(200);
    (await admin.patch(`${members}/${developer.id}`, { role: 'viewer' }, { 'if-match': '"1"' })).refused('PRECONDITION_FAILED');
    (await admin.delete(`${members}/${developer.id}`, { 'if-match': '"1"' })).refused('PRECONDITION_FAILED');
  });
});
