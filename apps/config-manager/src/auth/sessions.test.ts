import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { auditOf, startTestConfigManager, type Caller, type TestConfigManager, type TestPerson } from '../config-manager.fixture.ts';
import { Passwords } from './passwords.ts';

let manager: TestConfigManager;
let ada: TestPerson;

beforeAll(async () => {
  manager = await startTestConfigManager({ env: { CARILLON_CONFIG_MANAGER_SESSION_TTL_MS: '7200000', CARILLON_CONFIG_MANAGER_SESSION_IDLE_MS: '3600000' } });
});
afterAll(() => manager.stop());

const anew = async (): Promise<TestPerson> => {
  const { body } = await manager.signIn(ada.user.username, ada.password);
  return { ...ada, token: body.token, ...manager.as({ authorization: `Bearer ${body.token}` }) };
};
const isIn = async (by: Caller): Promise<boolean> => (await by.call('GET', '/me')).status === 200;

describe('signing in', () => {
  beforeAll(async () => {
    ada = await manager.person('developer');
  });

  it('gives a token that says who one is, and tells the audit log', async () => {
    const answer = await manager.signIn(ada.user.username.toUpperCase(), ada.password);
    expect([answer.status, answer.body.token, answer.body.user.username]).toEqual([201, expect.stringMatching(/^cs_[A-Za-z0-9]{43}$/), ada.user.username]);
    const me = await manager.as({ authorization: `bearer ${answer.body.token}` }).call('GET', '/me');
    expect(me.body).toEqual({ user: ada.user, roles: [{ workspaceId: 'default', path: 'default', role: 'developer' }] });
    const [record] = await auditOf(manager, 'session.create');
    expect(record).toMatchObject({ actor: { kind: 'user', id: ada.user.id }, outcome: 'done', source: '127.0.0.1' });
  });

  it('keeps the token nowhere', async () => {
    const { body: { token } } = await manager.signIn(ada.user.username, ada.password);
    expect(JSON.stringify(await manager.store.audit.list({ limit: 200 }))).not.toContain(token);
    expect(manager.logs.join('')).not.toContain(token);
    expect(manager.logs.join('')).not.toContain(ada.password);
  });

  it('with a wrong password, an unknown name, no password at all or a disabled user looks the same', async () => {
    const without = await manager.admin.call<{ id: string; username: string }>('POST', '/users', { body: { username: 'without', name: 'Without' } });
    const disabled = await manager.person();
    await manager.admin.call('PATCH', `/users/${disabled.user.id}`, { body: { disabled: true } });
    const answers = [
      await manager.signIn(ada.user.username, `${ada.password}x`), await manager.signIn('nobody', ada.password), await manager.signIn(without.body.username, ''), await manager.signIn(disabled.user.username, disabled.password),
    ];
    const shape = answers.map(({ status, code, headers, text }) => [status, code, headers.get('www-authenticate'), text.replace(/"instance":"[^"]*"/, '')]);
    expect(new Set(shape.map((each) => JSON.stringify(each))).size).toBe(1);
    expect(shape[0]?.slice(0, 3)).toEqual([401, 'LOGIN_FAILED', 'Bearer']);
  });

  it('hashes the password anew when it costs more than it did', async () => {
    const cheap = await new Passwords({ logN: 4, r: 8, p: 1 }).hash(ada.password);
    await manager.store.users.update(ada.user.id, { passwordHash: cheap });
    expect((await manager.signIn(ada.user.username, ada.password)).status).toBe(201);
    expect((await manager.store.users.credentials(ada.user.username))?.passwordHash).toMatch(/^scrypt\$10\$/);
    expect((await manager.signIn(ada.user.username, ada.password)).status).toBe(201);
  });
});

describe('a session', () => {
  beforeAll(async () => {
    ada = await manager.person();
  });

  it('is listed for its person, ended by its person, and is nobody else\'s', async () => {
    const second = await anew();
    const listed = await ada.call<{ items: { id: string; current: boolean }[] }>('GET', '/sessions');
    const other = listed.body.items.find(({ current }) => !current)!;
    expect(listed.body.items.map(({ current }) => current).sort()).toEqual([false, true]);
    expect(await manager.admin.call('DELETE', `/sessions/${other.id}`)).toMatchObject({ status: 404, code: 'RESOURCE_NOT_FOUND' });
    expect(await isIn(second)).toBe(true);
    expect((await ada.call('DELETE', `/sessions/${other.id}`)).status).toBe(204);
    expect(await second.call('GET', '/me')).toMatchObject({ status: 401, code: 'CREDENTIAL_INVALID' });
    expect(await isIn(ada)).toBe(true);
  });

  it('can be ended by itself, and leaves the others when they are ended', async () => {
    const [one, other] = [await anew(), await anew()];
    expect((await one.call('DELETE', '/sessions')).status).toBe(204);
    expect([await isIn(one), await isIn(other), await isIn(ada)]).toEqual([true, false, false]);
    const { body: { items: [own] } } = await one.call<{ items: { id: string }[] }>('GET', '/sessions');
    await one.call('DELETE', `/sessions/${own?.id}`);
    expect(await isIn(one)).toBe(false);
    ada = await anew();
  });

  it('ends when it was not used for an hour, and lives on while it is', async () => {
    const used = await anew();
    const unused = await anew();
    manager.clock.advance(3_000_000);
    expect(await isIn(used)).toBe(true);
    manager.clock.advance(700_000);
    expect([await isIn(used), await isIn(unused)]).toEqual([true, false]);
    expect(await unused.call('GET', '/me')).toMatchObject({ status: 401, code: 'CREDENTIAL_INVALID' });
  });

  it('ends at its end, used or not', async () => {
    const session = await anew();
    for (let minutes = 0; minutes < 115; minutes += 23) {
      expect(await isIn(session)).toBe(true);
      manager.clock.advance(23 * 60_000);
    }
    manager.clock.advance(6 * 60_000);
    expect(await session.call('GET', '/me')).toMatchObject({ status: 401, code: 'CREDENTIAL_INVALID' });
  });

  it('ends when its user is disabled or removed', async () => {
    const [one, other] = [await manager.person(), await manager.person()];
    const { body: { token } } = await manager.signIn('admin', manager.admin.password);
    const admin = manager.as({ authorization: `Bearer ${token}` });
    await admin.call('PATCH', `/users/${one.user.id}`, { body: { disabled: true } });
    await admin.call('DELETE', `/users/${other.user.id}`);
    expect([await isIn(one), await isIn(other)]).toEqual([false, false]);
  });
});

describe('changing one\'s password', () => {
  beforeAll(async () => {
    ada = await manager.person();
  });
  const change = (currentPassword: string, newPassword: string) => ada.call('PATCH', '/me/password', { body: { currentPassword, newPassword } });

  it('takes the current one', async () => {
    expect(await change('not the current one', 'another good password')).toMatchObject({ status: 401, code: 'LOGIN_FAILED' });
  });

  it.each(['short', 'password123456', 'x'.repeat(257)])('refuses %s', async (unfit) => {
    expect(await change(ada.password, unfit)).toMatchObject({ status: 400, code: 'PASSWORD_UNFIT' });
  });

  it('ends all sessions but this one, and the old password', async () => {
    const other = await anew();
    expect((await change(ada.password, 'another good password')).status).toBe(204);
    expect([await isIn(ada), await isIn(other)]).toEqual([true, false]);
    expect((await manager.signIn(ada.user.username, ada.password)).code).toBe('LOGIN_FAILED');
    expect((await manager.signIn(ada.user.username, 'another good password')).status).toBe(201);
    const [record] = await auditOf(manager, 'user.password');
    expect(JSON.stringify(record)).not.toContain('another good');
  });
});
