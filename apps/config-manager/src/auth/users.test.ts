import type { User } from '@carillon/schemas';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { auditOf, startTestConfigManager, type TestConfigManager } from '../config-manager.fixture.ts';

let manager: TestConfigManager;
beforeAll(async () => {
  manager = await startTestConfigManager();
});
afterAll(() => manager.stop());

const add = (body: unknown) => manager.admin.call<User>('POST', '/users', { body });

describe('people', () => {
  it('are added, read, changed and removed by administrators, and the audit log has it without the password', async () => {
    const made = await add({ username: 'Grace@Rooms.example', name: ' Grace ', password: 'a password that is fit' });
    expect([made.status, made.headers.get('etag'), made.headers.get('location')]).toEqual([201, '"1"', `/api/v1/users/${made.body.id}`]);
    expect(made.body).toMatchObject({ username: 'grace@rooms.example', name: 'Grace', administrator: false, disabled: false, hasPassword: true, oidcLinked: false, version: 1 });
    const path = `/users/${made.body.id}`;
    expect((await manager.admin.call('GET', path)).body).toEqual(made.body);
    const changed = await manager.admin.call<User>('PATCH', path, { body: { name: 'Grace H.' }, headers: { 'if-match': '"1"' } });
    expect([changed.status, changed.headers.get('etag'), changed.body.name]).toEqual([200, '"2"', 'Grace H.']);
    expect(await manager.admin.call('PATCH', path, { body: { name: 'G' }, headers: { 'if-match': '"1"' } })).toMatchObject({ status: 412, code: 'PRECONDITION_FAILED' });
    expect(await manager.admin.call('DELETE', path, { headers: { 'if-match': '"1"' } })).toMatchObject({ status: 412, code: 'PRECONDITION_FAILED' });
    expect((await manager.admin.call('DELETE', path)).status).toBe(204);
    for (const method of ['GET', 'PATCH', 'DELETE']) expect(await manager.admin.call(method, path, method === 'PATCH' ? { body: {} } : {})).toMatchObject({ status: 404, code: 'RESOURCE_NOT_FOUND' });
    const records = [...await auditOf(manager, 'user.create'), ...await auditOf(manager, 'user.update'), ...await auditOf(manager, 'user.delete')].filter(({ resource }) => resource.id === made.body.id);
    expect(records.map(({ action, actor, outcome }) => [action, actor.name, outcome])).toEqual([['user.create', 'admin', 'done'], ['user.update', 'admin', 'done'], ['user.delete', 'admin', 'done']]);
    expect(records[1]).toMatchObject({ before: { name: 'Grace' }, after: { name: 'Grace H.' } });
    expect(JSON.stringify(records)).not.toMatch(/a password that is fit|scrypt/);
  });

  it('have names of their own, whatever their case', async () => {
    await add({ username: 'twin', name: 'One' });
    expect(await add({ username: 'TWIN', name: 'Two' })).toMatchObject({ status: 409, code: 'RESOURCE_EXISTS' });
  });

  it.each([[{ username: 'a b', name: 'x' }, '/username'], [{ username: 'ab', name: '' }, '/name'], [{ username: 'ab', name: 'x', id: 'us_1' }, '/id'], [{ username: 'ab', name: 'x', passwordHash: 'x' }, '/passwordHash']])('%j is refused', async (body, pointer) => {
    expect(await add(body)).toMatchObject({ status: 400, code: 'RESOURCE_INVALID', body: { errors: [{ pointer }] } });
  });

  it('have a password that is fit', async () => {
    expect(await add({ username: 'weak', name: 'x', password: 'weak' })).toMatchObject({ status: 400, code: 'PASSWORD_UNFIT' });
    const person = await manager.person();
    expect(await manager.admin.call('PATCH', `/users/${person.user.id}`, { body: { password: person.user.username } })).toMatchObject({ code: 'PASSWORD_UNFIT' });
  });

  it('whose password an administrator sets have to sign in anew', async () => {
    const person = await manager.person();
    expect((await manager.admin.call('PATCH', `/users/${person.user.id}`, { body: { password: 'set by an administrator' } })).status).toBe(200);
    expect((await person.call('GET', '/me')).code).toBe('CREDENTIAL_INVALID');
    expect((await manager.signIn(person.user.username, 'set by an administrator')).status).toBe(201);
  });

  it('always have an administrator among them', async () => {
    const path = `/users/${manager.admin.user.id}`;
    for (const [method, body] of [['PATCH', { administrator: false }], ['PATCH', { disabled: true }], ['DELETE', undefined]] as const) {
      expect(await manager.admin.call(method, path, body === undefined ? {} : { body })).toMatchObject({ status: 409, code: 'RESOURCE_IN_USE' });
    }
    expect((await manager.admin.call('GET', '/me')).status).toBe(200);
  });

  it('are listed page by page', async () => {
    const first = await manager.admin.call<{ items: User[]; nextCursor: string }>('GET', '/users?limit=1');
    const second = await manager.admin.call<{ items: User[] }>('GET', `/users?limit=1&cursor=${encodeURIComponent(first.body.nextCursor)}`);
    expect([first.body.items.length, second.body.items.length]).toEqual([1, 1]);
    expect(first.body.items[0]?.id).not.toBe(second.body.items[0]?.id);
    expect(await manager.admin.call('GET', '/users?cursor=made-up')).toMatchObject({ status: 400, code: 'CURSOR_INVALID' });
  });

  it('are nobody else\'s business, whatever their role', async () => {
    const owner = await manager.person('owner');
    for (const [method, path] of [['GET', '/users'], ['POST', '/users'], ['GET', `/users/${owner.user.id}`], ['PATCH', `/users/${owner.user.id}`], ['DELETE', `/users/${owner.user.id}`]] as const) {
      expect(await owner.call(method, path, method === 'POST' || method === 'PATCH' ? { body: { administrator: true } } : {})).toMatchObject({ status: 403, code: 'FORBIDDEN' });
      expect(await manager.anonymous.call(method, path)).toMatchObject({ status: 401, code: 'CREDENTIAL_REQUIRED' });
    }
    expect((await manager.store.users.get(owner.user.id))?.administrator).toBe(false);
  });
});
