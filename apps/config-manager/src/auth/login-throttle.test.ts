import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { auditOf, startTestConfigManager, type TestConfigManager, type TestPerson } from '../config-manager.fixture.ts';

// One proxy is trusted, so that a header says where somebody is.

let manager: TestConfigManager;
let ada: TestPerson;
let addresses = 0;

beforeAll(async () => {
  manager = await startTestConfigManager({ env: { CARILLON_CONFIG_MANAGER_TRUST_PROXY_HOPS: '1' } });
  manager.clock.stop();
});
afterAll(() => manager.stop());
// All buckets are full again.
afterEach(() => manager.clock.advance(20 * 60_000));

const somewhere = (): string => `10.${(addresses += 1) >> 8}.${addresses & 255}.1`;
const signIn = (from: string, password = 'a wrong password', username = ada.user.username) => manager.signIn(username, password, { 'x-forwarded-for': from });
const codes = async (count: number, next: (at: number) => ReturnType<typeof signIn>): Promise<(string | undefined)[]> => {
  const all = [];
  for (let at = 0; at < count; at += 1) all.push((await next(at)).code);
  return all;
};
const times = (count: number, code: string): string[] => Array.from({ length: count }, () => code);

describe('guessing', () => {
  beforeAll(async () => {
    ada = await manager.person();
  });

  it('from one source is slowed after ten tries, over all names, to one in 30 s', async () => {
    const source = somewhere();
    expect(await codes(11, (at) => signIn(source, 'a wrong password', `nobody-${at}`))).toEqual([...times(10, 'LOGIN_FAILED'), 'LOGIN_THROTTLED']);
    const answer = await signIn(source);
    expect([answer.status, answer.code, answer.headers.get('retry-after')]).toEqual([429, 'LOGIN_THROTTLED', '30']);
    manager.clock.advance(30_000);
    expect(await codes(2, () => signIn(source))).toEqual(['LOGIN_FAILED', 'LOGIN_THROTTLED']);
  });

  it('at one account from many sources slows strangers, to one a minute', async () => {
    expect(await codes(12, () => signIn(somewhere()))).toEqual([...times(10, 'LOGIN_FAILED'), ...times(2, 'LOGIN_THROTTLED')]);
    expect(await signIn(somewhere(), ada.password)).toMatchObject({ status: 429, code: 'LOGIN_THROTTLED' });
    manager.clock.advance(60_000);
    expect((await signIn(somewhere(), ada.password)).status).toBe(201);
  });

  it('at a name that nobody has looks the same', async () => {
    expect(await codes(12, () => signIn(somewhere(), 'a wrong password', 'no-such-name'))).toEqual([...times(10, 'LOGIN_FAILED'), ...times(2, 'LOGIN_THROTTLED')]);
  });

  it('locks nobody out who comes from where they signed in before', async () => {
    const home = somewhere();
    expect((await signIn(home, ada.password)).status).toBe(201);
    await codes(12, () => signIn(somewhere()));
    expect((await signIn(somewhere(), ada.password)).code).toBe('LOGIN_THROTTLED');
    expect((await signIn(home, ada.password)).status).toBe(201);
    // Not even by somebody at home who tries other names.
    await codes(12, (at) => signIn(home, 'a wrong password', `nobody-${at}`));
    expect((await signIn(home, 'a wrong password', 'nobody-12')).code).toBe('LOGIN_THROTTLED');
    expect((await signIn(home, ada.password)).status).toBe(201);
  });

  it('locks nobody out who sits at the machine', async () => {
    await codes(12, () => signIn(somewhere()));
    expect((await manager.signIn(ada.user.username, ada.password)).status).toBe(201);
    // A proxy on this machine is not somebody who sits at it.
    expect(await codes(12, () => signIn('127.0.0.1'))).toContain('LOGIN_THROTTLED');
  });

  it('with many tries at once gets no further', async () => {
    const source = somewhere();
    const answers = await Promise.all(Array.from({ length: 30 }, () => signIn(source)));
    expect(answers.map(({ code }) => code).sort()).toEqual([...times(10, 'LOGIN_FAILED'), ...times(20, 'LOGIN_THROTTLED')]);
  });

  it('costs nothing to whoever knows the password', async () => {
    const source = somewhere();
    for (let at = 0; at < 12; at += 1) expect((await signIn(source, ada.password)).status).toBe(201);
  });

  it('cannot fill the audit log', async () => {
    const person = await manager.person();
    const before = await manager.metric('carillon_config_manager_audit_coalesced_total', 'session.create');
    const source = somewhere();
    for (let at = 0; at < 9; at += 1) await signIn(source, 'a wrong password', person.user.username);
    const denied = (await auditOf(manager, 'session.create')).filter(({ outcome, resource }) => outcome === 'denied' && resource.id === person.user.id);
    expect(denied.map(({ code, source: from, actor }) => [code, from, actor.kind])).toEqual([['LOGIN_FAILED', source, 'anonymous']]);
    expect(await manager.metric('carillon_config_manager_audit_coalesced_total', 'session.create') - before).toBe(8);
    await signIn(somewhere(), 'a wrong password', 'my password by mistake');
    expect(JSON.stringify(await manager.store.audit.list({ limit: 200 }))).not.toContain('my password by mistake');
  });

  it('of one\'s own password by somebody with a stolen session is slowed as well', async () => {
    const { body: { token } } = await signIn(somewhere(), ada.password);
    const stolen = manager.as({ authorization: `Bearer ${token}`, 'x-forwarded-for': somewhere() });
    const all = [];
    for (let at = 0; at < 12; at += 1) all.push((await stolen.call('PATCH', '/me/password', { body: { currentPassword: 'a guess', newPassword: 'another good password' } })).code);
    expect(all).toEqual([...times(10, 'LOGIN_FAILED'), ...times(2, 'LOGIN_THROTTLED')]);
  });
});

describe('too many requests', () => {
  it('of one credential or one source are RATE_LIMITED with the time to wait', async () => {
    const small = await startTestConfigManager({
      env: {
        CARILLON_CONFIG_MANAGER_TRUST_PROXY_HOPS: '1', CARILLON_CONFIG_MANAGER_RATE_PER_SECOND: '1', CARILLON_CONFIG_MANAGER_RATE_BURST: '5',
        CARILLON_CONFIG_MANAGER_SOURCE_RATE_PER_SECOND: '1', CARILLON_CONFIG_MANAGER_SOURCE_RATE_BURST: '3',
      },
    });
    small.clock.stop();
    try {
      const from = (address: string, headers: Record<string, string> = {}) => small.as({ 'x-forwarded-for': address, ...headers });
      const statuses = async (count: number, call: () => Promise<{ readonly status: number; readonly code: string | undefined; readonly headers: Headers }>) => {
        const all = [];
        for (let at = 0; at < count; at += 1) all.push((await call()).status);
        return all;
      };
      const stranger = from('192.0.2.1');
      expect(await statuses(5, () => stranger.call('GET', '/users'))).toEqual([401, 401, 401, 429, 429]);
      const refused = await stranger.call('GET', '/users');
      expect([refused.code, refused.headers.get('retry-after')]).toEqual(['RATE_LIMITED', '1']);
      // Made-up credentials are counted with their source; a good one of the same source is not, once it is known.
      let made = 0;
      expect(await statuses(5, () => from('192.0.2.2', { authorization: `Bearer cs_${String((made += 1)).padStart(43, 'a')}` }).call('GET', '/users'))).toEqual([401, 401, 401, 429, 429]);
      const admin = { authorization: `Bearer ${small.admin.token}` };
      expect((await from('192.0.2.3', admin).call('GET', '/users')).status).toBe(200);
      expect(await statuses(5, () => from('192.0.2.2', admin).call('GET', '/users'))).toEqual([200, 200, 200, 200, 429]);
      small.clock.advance(1_000);
      expect((await from('192.0.2.2', admin).call('GET', '/users')).status).toBe(200);
      expect(await small.metric('carillon_config_manager_refused_total', 'RATE_LIMITED')).toBeGreaterThan(4);
    } finally {
      await small.stop();
    }
  });
});
