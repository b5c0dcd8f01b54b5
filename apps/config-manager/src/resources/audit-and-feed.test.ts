import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { startApi, type Api, type Caller } from './api.fixture.ts';

interface Told {
  readonly action: string;
  readonly outcome: string;
  readonly workspaceId: string | null;
  readonly actor: { readonly id: string | null };
  readonly resource: { readonly id: string | null };
}

let api: Api;
beforeAll(async () => void (api = await startApi()));
afterAll(() => api.stop());

const room = (pattern: string) => ({ pattern, lane: 'live' });
const patterns = (records: readonly Told[]) => records.filter(({ action }) => action === 'room.create').map(({ resource }) => resource);

describe('the audit of a workspace', () => {
  let above: string;
  let below: string;
  let beside: string;
  let admin: Caller;
  beforeAll(async () => {
    above = await api.workspace('above');
    below = await api.workspace('below', above);
    beside = await api.workspace('beside');
    admin = await api.person({ [above]: 'admin' });
    for (const id of [above, below, beside]) (await api.administrator.post(`/workspaces/${id}/rooms`, room(`made-in-${id}`))).done(201);
  });

  it('tells of it and of what is below, and of nothing else', async () => {
    const records = await admin.all<Told>(`/workspaces/${above}/audit?limit=3`);

    expect(new Set(records.map(({ workspaceId }) => workspaceId))).toEqual(new Set([above, below]));
    expect(patterns(records)).toHaveLength(2);
    expect(patterns(await admin.all<Told>(`/workspaces/${below}/audit`))).toHaveLength(1);
  });

  it('is for admins', async () => {
    const [developer, stranger] = [await api.person({ [above]: 'developer' }), await api.person({ [beside]: 'owner' })];
    (await developer.get(`/workspaces/${above}/audit`)).refused('FORBIDDEN');
    (await stranger.get(`/workspaces/${above}/audit`)).refused('RESOURCE_NOT_FOUND');
    (await admin.get('/audit')).refused('FORBIDDEN');
  });

  it('shows an account key the workspaces that it may audit', async () => {
    const key = async (read: readonly string[]) => api.as((await api.administrator.post<{ accessKey: string }>(`/workspaces/${above}/keys`, { kind: 'account', name: 'm', resources: { audit: { read }, workspaces: { read: ['*'] } } })).done(201).accessKey);
    expect(new Set((await (await key([''])).all<Told>(`/workspaces/${above}/audit`)).map(({ workspaceId }) => workspaceId))).toEqual(new Set([above]));
    expect(new Set((await (await key(['*'])).all<Told>(`/workspaces/${above}/audit`)).map(({ workspaceId }) => workspaceId))).toEqual(new Set([above, below]));
    (await (await key(['below'])).get(`/workspaces/${above}/audit`)).refused('FORBIDDEN');
  });

  it('can be asked for what was done, by whom, to what, when and with which outcome', async () => {
    const person = await api.person({ [above]: 'developer' });
    const made = (await person.post<{ id: string }>(`/workspaces/${above}/rooms`, room('asked-for'))).done(201);
    (await person.patch(`/workspaces/${above}`, { validation: 'warn' })).refused('FORBIDDEN');
    const ask = (query: string) => admin.all<Told>(`/workspaces/${above}/audit?${query}`);
    expect(await ask(`actor=${person.id}&action=room.create`)).toMatchObject([{ resource: { id: made.id } }]);
    expect(await ask(`resource=${made.id}`)).toHaveLength(1);
    expect(await ask(`actor=${person.id}&outcome=denied`)).toMatchObject([{ outcome: 'denied', actor: { id: person.id } }]);
    expect(await ask('from=2099-01-01T00:00:00Z')).toEqual([]);
    expect(await ask('to=2001-01-01T00:00:00Z')).toEqual([]);
    expect(await ask(`actor=${encodeURIComponent("' OR 1=1 --")}`)).toEqual([]);
    for (const query of ['actor=%00', 'outcome=maybe', 'from=yesterday', 'limit=1000000000', 'before=1']) (await admin.get(`/workspaces/${above}/audit?${query}`)).refused('RESOURCE_INVALID');
  });

  it('keeps telling, above, of a workspace that is gone', async () => {
    const gone = await api.workspace('gone', above);
    (await api.administrator.delete(`/workspaces/${gone}`)).done(204);

    expect(await admin.all<Told>(`/workspaces/${above}/audit?action=workspace.delete`)).toMatchObject([{ resource: { id: gone } }]);
  });
});

describe('the feed', () => {
  it('says where hubs are', async () => {
    const status = (await api.administrator.get<{ head: number; published: number; hubs: unknown[] }>('/feed')).done(200);
    expect(status.head).toBeGreaterThan(0);
    expect(status.published).toBeLessThanOrEqual(status.head);
    expect(status.hubs).toEqual([]);
  });

  it('is sent again when an administrator asks', async () => {
    const before = (await api.administrator.get<{ head: number }>('/feed')).done(200).head;
    const { records } = (await api.administrator.post<{ records: number }>('/feed/republish', {})).done(200);
    expect((await api.administrator.get<{ head: number }>('/feed')).done(200).head).toBe(before + records);
    expect(await api.administrator.all<Told>('/audit?action=feed.republish')).toHaveLength(1);
  });

  it('is for administrators', async () => {
    const owner = await api.person({ default: 'owner' });
    (await owner.get('/feed')).refused('FORBIDDEN');
    (await owner.post('/feed/republish', {})).refused('FORBIDDEN');
    (await api.as('').get('/feed')).refused('CREDENTIAL_REQUIRED');
  });
});
