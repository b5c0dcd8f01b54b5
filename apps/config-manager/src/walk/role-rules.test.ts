import type { AccessKey, Role } from '@carillon/schemas';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { EVERYTHING, fresh, openScene, type Scene, type Walker } from './scene.fixture.ts';
import { LADDER, makeThing } from './walked-routes.fixture.ts';

let scene: Scene;
let members: string;
let keys: string;
const people = new Map<Role, Walker>();
beforeAll(async () => {
  scene = await openScene();
  members = `/workspaces/${scene.ids.team}/members`;
  keys = `/workspaces/${scene.ids.team}/keys`;
  for (const role of LADDER) people.set(role, await scene.person({ team: role }));
}, 60_000);
afterAll(() => scene.stop());

const by = (role: Role): Walker => people.get(role) as Walker;
const codeOf = async (who: Walker, method: string, path: string, body?: unknown): Promise<string | number> => {
  const { status, code } = await who.call(method, path, { body });
  return code ?? status;
};
const in_ = (hours: number): string => new Date(Date.now() + hours * 3_600_000).toISOString();

describe('roles', () => {
  it.each(LADDER.flatMap((giver) => LADDER.map((given) => [giver, given] as const)))('%s gives %s only if it is not above their own, and they may give at all', async (giver, given) => {
    const may = LADDER.indexOf(giver) >= LADDER.indexOf('admin') && LADDER.indexOf(given) <= LADDER.indexOf(giver);
    const someone = await scene.person();
    const member = await makeThing({ parameter: 'userId', kind: 'member' }, scene, scene.ids.team);
    expect(await codeOf(by(giver), 'POST', members, { username: someone.username, role: given })).toBe(may ? 201 : 'FORBIDDEN');
    expect(await codeOf(by(giver), 'PATCH', `${members}/${member}`, { role: given })).toBe(may ? 200 : 'FORBIDDEN');
    // Nobody raises themselves either.
    if (LADDER.indexOf(given) > LADDER.indexOf(giver)) expect(await codeOf(by(giver), 'PATCH', `${members}/${by(giver).id}`, { role: given })).toBe('FORBIDDEN');
  });

  it.each(LADDER)('of owners are not touched by %s, unless an owner', async (role) => {
    const owner = await scene.person({ team: 'owner' });
    const isOwner = role === 'owner';
    expect(await codeOf(by(role), 'PATCH', `${members}/${owner.id}`, { role: 'viewer' })).toBe(isOwner ? 200 : 'FORBIDDEN');
    const another = await scene.person({ team: 'owner' });
    expect(await codeOf(by(role), 'DELETE', `${members}/${another.id}`)).toBe(isOwner ? 204 : 'FORBIDDEN');
    // Not even by a key with every right.
    const key = await scene.key('team', { resources: EVERYTHING });
    const third = await scene.person({ team: 'owner' });
    expect([await codeOf(key, 'DELETE', `${members}/${third.id}`), await codeOf(key, 'PATCH', `${members}/${third.id}`, { role: 'viewer' }), await codeOf(key, 'POST', members, { username: (await scene.person()).username, role: 'owner' })])
      .toEqual(['FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN']);
  });

  it('of the last owner of a root stays, however it is asked for, also by two at once', async () => {
    const root = (await scene.administrator.call<{ id: string }>('POST', '/workspaces', { body: { name: fresh() } })).body.id;
    const at = `/workspaces/${root}/members`;
    const two = [await scene.person({ [root]: 'owner' }), await scene.person({ [root]: 'owner' })] as const;
    const left = await Promise.all(two.map((owner) => codeOf(owner, 'DELETE', `${at}/${owner.id}`)));
    expect(left.sort()).toEqual([204, 'RESOURCE_IN_USE']);
    const [last] = (await scene.manager.store.members.list(root, { limit: 200 })).items;
    const owner = two.find(({ id }) => id === last?.userId) as Walker;
    for (const role of ['admin', 'viewer']) expect(await codeOf(owner, 'PATCH', `${at}/${owner.id}`, { role })).toBe('RESOURCE_IN_USE');
    expect(await codeOf(scene.administrator, 'DELETE', `${at}/${owner.id}`)).toBe(204);
    expect(await codeOf(owner, 'GET', at)).toBe('RESOURCE_NOT_FOUND');
  });

  it('reach down, never up or aside', async () => {
    const owner = await scene.person({ lab: 'owner' });
    expect(await codeOf(owner, 'PATCH', `/workspaces/${scene.ids.lab}`, { validation: 'off' })).toBe(200);
    for (const id of [scene.ids.team, scene.ids.root, scene.ids.sibling]) expect(await codeOf(owner, 'GET', `/workspaces/${id}`)).toBe('RESOURCE_NOT_FOUND');
    expect(await codeOf(owner, 'POST', '/workspaces', { name: fresh(), parentId: scene.ids.team })).toBe('RESOURCE_NOT_FOUND');
    for (const role of LADDER) expect(await codeOf(by(role), 'POST', '/workspaces', { name: fresh() })).toBe('FORBIDDEN');
    expect(await codeOf(await scene.key('root', { resources: EVERYTHING }), 'POST', '/workspaces', { name: fresh() })).toBe('FORBIDDEN');
  });
});

describe('an operator', () => {
  it('rotates and revokes keys, and does nothing else to them', async () => {
    const id = await makeThing({ parameter: 'keyId', kind: 'key' }, scene, scene.ids.team);
    const stored = await scene.manager.store.keys.get(id);
    for (const body of [{}, { name: 'x' }, { permissions: { send: ['*'] } }, { limits: { connections: 1 } }, { expiresAt: null }, { resources: {} }]) expect(await codeOf(by('operator'), 'PATCH', `${keys}/${id}`, body)).toBe('FORBIDDEN');
    expect(await codeOf(by('operator'), 'POST', keys, { kind: 'messenger', name: 'x' })).toBe('FORBIDDEN');
    expect(await scene.manager.store.keys.get(id)).toEqual(stored);
    const rotated = await by('operator').call<{ key: AccessKey }>('POST', `${keys}/${id}/rotate`, { body: {} });
    expect([rotated.status, rotated.body.key.permissions]).toEqual([200, stored?.permissions]);
    expect(await codeOf(by('operator'), 'DELETE', `${keys}/${id}`)).toBe(204);
    const account = await scene.key('team', { resources: { devices: { read: [''] } } });
    expect([await codeOf(by('operator'), 'POST', `${keys}/${account.id}/rotate`, {}), await codeOf(by('operator'), 'DELETE', `${keys}/${account.id}`)]).toEqual(['FORBIDDEN', 'FORBIDDEN']);
  });
});

describe('an account key', () => {
  const RIGHTS = { keys: { read: ['*'], create: ['*'], update: ['*'] }, devices: { read: ['', 'lab/*'] } };
  const account = (more: object) => ({ kind: 'account', name: 'made by a key', ...more });

  it('makes none that may do more, by no way to write it', async () => {
    const maker = await scene.key('team', { resources: RIGHTS });
    expect(await codeOf(maker, 'POST', keys, account({ resources: { devices: { read: ['', 'lab/*', 'lab/x'] }, keys: { create: ['lab'] } } }))).toBe(201);
    for (const resources of [
      EVERYTHING, { keys: { delete: [''] } }, { devices: { read: ['*'] } }, { devices: { read: ['lab'] } }, { devices: { read: ['*/'] } }, { devices: { read: ['./*'] } }, { devices: { read: ['../*'] } }, { devices: { update: [''] } },
      { devices: { read: ['', 'lab-2/*'] } }, { audit: { read: [''] } }, { members: { create: ['*'] } }, { workspaces: { read: [''] } },
    ]) expect(await codeOf(maker, 'POST', keys, account({ resources })), JSON.stringify(resources)).toBe('FORBIDDEN');
    const strong = await scene.key('team', { resources: EVERYTHING });
    expect([await codeOf(maker, 'POST', `${keys}/${strong.id}/rotate`, {}), await codeOf(maker, 'PATCH', `${keys}/${strong.id}`, { resources: {} }), await codeOf(maker, 'PATCH', `${keys}/${maker.id}`, { resources: EVERYTHING })]).toEqual(['FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN']);
    // Below, where its rights reach as they do here.
    const below = `/workspaces/${scene.ids.lab}/keys`;
    expect([await codeOf(maker, 'POST', below, account({ resources: { keys: { read: ['*'] } } })), await codeOf(maker, 'POST', below, account({ resources: { devices: { read: [''] } } }))]).toEqual([201, 'FORBIDDEN']);
  });

  it('makes, changes and takes over none that lasts longer than itself', async () => {
    const [soon, later] = [in_(1), in_(2)];
    const maker = await scene.key('team', { resources: RIGHTS, expiresAt: soon });
    const lasting = await scene.key('team', { resources: { keys: { read: [''] } } });
    expect([await codeOf(maker, 'POST', keys, account({})), await codeOf(maker, 'POST', keys, account({ expiresAt: later }))]).toEqual(['FORBIDDEN', 'FORBIDDEN']);
    expect([await codeOf(maker, 'PATCH', `${keys}/${maker.id}`, { expiresAt: null }), await codeOf(maker, 'PATCH', `${keys}/${maker.id}`, { expiresAt: later }), await codeOf(maker, 'POST', `${keys}/${lasting.id}/rotate`, {})]).toEqual(['FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN']);
    expect([await codeOf(maker, 'POST', keys, account({ expiresAt: soon })), await codeOf(maker, 'PATCH', `${keys}/${maker.id}`, { expiresAt: in_(0.5) })]).toEqual([201, 200]);
    expect(await codeOf(by('admin'), 'PATCH', `${keys}/${maker.id}`, { expiresAt: null })).toBe(200);
  });

  it('is told of no workspace that it may not read, not even by where a page ends', async () => {
    const root = (await scene.administrator.call<{ id: string }>('POST', '/workspaces', { body: { name: fresh() } })).body.id;
    for (const name of ['a-open', 'b-hidden', 'c-hidden', 'd-open', 'e-hidden']) await scene.administrator.call('POST', '/workspaces', { body: { name, parentId: root } });
    const reader = await scene.key(root, { resources: { workspaces: { read: ['a-open', 'd-open'] } } });
    for (const limit of [1, 2, 3, 4, 200]) {
      const names: string[] = [];
      for (let cursor = ''; ; ) {
        const { body, text } = await reader.call<{ items: { name: string }[]; nextCursor: string | null }>('GET', `/workspaces?limit=${limit}${cursor}`);
        const told = `${text} ${Buffer.from(body.nextCursor ?? '', 'base64url').toString('utf8')}`;
        expect(told).not.toContain('hidden');
        expect(body.items.length).toBeLessThanOrEqual(limit);
        names.push(...body.items.map(({ name }) => name));
        if (body.nextCursor === null) break;
        cursor = `&cursor=${body.nextCursor}`;
      }
      expect(names).toEqual(['a-open', 'd-open']);
    }
  });
});

describe('what was taken is gone with the next call', () => {
  it('of a person who was removed, or disabled, or is no administrator any more', async () => {
    const person = await scene.person({ team: 'developer' });
    expect(await codeOf(person, 'GET', keys)).toBe(200);
    expect(await codeOf(by('admin'), 'PATCH', `${members}/${person.id}`, { role: 'viewer' })).toBe(200);
    expect(await codeOf(person, 'POST', keys, { kind: 'messenger', name: 'x' })).toBe('FORBIDDEN');
    expect(await codeOf(by('admin'), 'DELETE', `${members}/${person.id}`)).toBe(204);
    expect(await codeOf(person, 'GET', keys)).toBe('RESOURCE_NOT_FOUND');
    expect((await person.call<{ items: unknown[] }>('GET', '/workspaces')).body.items).toEqual([]);
    expect(await codeOf(scene.administrator, 'PATCH', `/users/${person.id}`, { disabled: true })).toBe(200);
    expect(await codeOf(person, 'GET', '/me')).toBe('CREDENTIAL_INVALID');
    // Enabled again, an old session stays ended.
    expect(await codeOf(scene.administrator, 'PATCH', `/users/${person.id}`, { disabled: false })).toBe(200);
    expect(await codeOf(person, 'GET', '/me')).toBe('CREDENTIAL_INVALID');
    const former = await scene.person({}, { administrator: true });
    expect(await codeOf(former, 'GET', '/users')).toBe(200);
    expect(await codeOf(scene.administrator, 'PATCH', `/users/${former.id}`, { administrator: false })).toBe(200);
    expect(await codeOf(former, 'GET', '/users')).toBe('FORBIDDEN');
    expect(await codeOf(scene.administrator, 'DELETE', `/users/${former.id}`)).toBe(204);
    expect(await codeOf(former, 'GET', '/me')).toBe('CREDENTIAL_INVALID');
  });

  it('sessions are listed and ended by whoever they are of, and nobody else', async () => {
    const [one, other] = [await scene.person(), await scene.person({}, { administrator: true })];
    const mine = (await one.call<{ items: { id: string; current: boolean }[] }>('GET', '/sessions')).body.items;
    expect(mine).toMatchObject([{ current: true }]);
    const id = mine[0]?.id ?? '';
    expect((await other.call('GET', '/sessions')).text).not.toContain(id);
    expect(await codeOf(other, 'DELETE', `/sessions/${id}`)).toBe('RESOURCE_NOT_FOUND');
    expect(await codeOf(other, 'DELETE', '/sessions')).toBe(204);
    expect(await codeOf(one, 'GET', '/me')).toBe(200);
    expect(await codeOf(one, 'DELETE', `/sessions/${id}`)).toBe(204);
    expect(await codeOf(one, 'GET', '/me')).toBe('CREDENTIAL_INVALID');
  });
});

it('no secret is let out, and nothing is said of what is inside', () => scene.expectNoLeaks());
