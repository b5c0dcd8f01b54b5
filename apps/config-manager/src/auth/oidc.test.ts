import type { SessionCreated } from '@carillon/schemas';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { auditOf, startTestConfigManager, type Answer, type TestConfigManager } from '../config-manager.fixture.ts';
import { startTestIssuer, TEST_CLIENT, type TestIssuer } from './oidc-issuer.fixture.ts';

const REDIRECT_URL = 'http://127.0.0.1:1/api/v1/oidc/callback';

let issuer: TestIssuer;
let manager: TestConfigManager;
let people = 0;

beforeAll(async () => {
  issuer = await startTestIssuer();
  manager = await startTestConfigManager({ env: environment() });
});
afterAll(async () => {
  await manager.stop();
  await issuer.stop();
});
afterEach(() => {
  issuer.twist = {};
  issuer.isDown = false;
});

const environment = (more: Record<string, string> = {}) => ({
  CARILLON_CONFIG_MANAGER_OIDC_ISSUER: issuer.url, CARILLON_CONFIG_MANAGER_OIDC_CLIENT_ID: TEST_CLIENT.id, CARILLON_CONFIG_MANAGER_OIDC_CLIENT_SECRET: TEST_CLIENT.secret,
  CARILLON_CONFIG_MANAGER_OIDC_REDIRECT_URL: REDIRECT_URL, CARILLON_CONFIG_MANAGER_OIDC_CREATE_USERS: 'true', ...more,
});

interface Visit {
  readonly cookie: string;
  /** Of the callback. */
  readonly search: string;
}

/** What a browser does: to us, to the provider, and as far as the way back. */
async function visit(of = manager): Promise<Visit> {
  const begun = await of.anonymous.call('GET', '/oidc/sign-in');
  expect(begun.status).toBe(302);
  const agreed = await fetch(begun.headers.get('location') ?? '', { redirect: 'manual' });
  const back = new URL(agreed.headers.get('location') ?? '');
  expect(back.origin + back.pathname).toBe(REDIRECT_URL);
  return { cookie: begun.headers.getSetCookie()[0]?.split(';', 1)[0] ?? '', search: back.search };
}

const comeBack = ({ cookie, search }: Visit, of = manager): Promise<Answer<SessionCreated>> => of.anonymous.call('GET', `/oidc/callback${search}`, { headers: cookie === '' ? {} : { cookie } });

function someone(more: Record<string, unknown> = {}): { readonly email: string } {
  const email = `person-${(people += 1)}@rooms.example`;
  issuer.claims = { sub: `subject-${people}`, email, email_verified: true, name: 'A Person', ...more };
  return { email };
}

describe('signing in with an identity provider', () => {
  it('makes a user without a role, who is the same the next time', async () => {
    const { email } = someone();
    const first = await comeBack(await visit());
    expect(first.status).toBe(200);
    expect(first.body.user).toMatchObject({ username: email, name: 'A Person', administrator: false, hasPassword: false, oidcLinked: true });
    const me = await manager.as({ authorization: `Bearer ${first.body.token}` }).call('GET', '/me');
    expect(me.body).toEqual({ user: first.body.user, roles: [] });
    issuer.claims = { ...issuer.claims, email: 'another-address@rooms.example' };
    const again = await comeBack(await visit());
    expect(again.body.user.id).toBe(first.body.user.id);
    expect((await auditOf(manager, 'session.create'))[0]).toMatchObject({ outcome: 'done', after: { by: 'oidc' }, actor: { id: first.body.user.id } });
  });

  it('sends the browser with state, nonce and a challenge, and a cookie that scripts and other sites do not get', async () => {
    const { headers } = await manager.anonymous.call('GET', '/oidc/sign-in');
    const location = new URL(headers.get('location') ?? '');
    expect(location.origin + location.pathname).toBe(`${issuer.url}/authorize`);
    expect(Object.fromEntries(location.searchParams)).toMatchObject({ response_type: 'code', code_challenge_method: 'S256', client_id: TEST_CLIENT.id, redirect_uri: REDIRECT_URL, scope: expect.stringContaining('openid') as string });
    for (const name of ['state', 'nonce', 'code_challenge']) expect(location.searchParams.get(name)?.length).toBeGreaterThanOrEqual(43);
    const [cookie = ''] = headers.getSetCookie();
    expect(cookie).toMatch(/^carillon_oidc=[A-Za-z0-9_-]+; Path=\/api\/v1\/oidc\/callback; Max-Age=600; HttpOnly; SameSite=Lax$/);
    expect(cookie).not.toContain(location.searchParams.get('state'));
  });

  it('finds a user of that name when the provider has verified the address', async () => {
    const { email } = someone();
    const { body } = await manager.admin.call<{ id: string }>('POST', '/users', { body: { username: email, name: 'Known', password: 'a password that is fit' } });
    const answer = await comeBack(await visit());
    expect(answer.body.user).toMatchObject({ id: body.id, name: 'Known', oidcLinked: true, hasPassword: true });
    // Somebody else with the same address at the provider is not this person.
    issuer.claims = { ...issuer.claims, sub: 'somebody-else' };
    expect(await comeBack(await visit())).toMatchObject({ status: 401, code: 'OIDC_FAILED' });
  });

  it.each([[{ email_verified: false }], [{ email_verified: undefined }], [{ email: undefined }], [{ email: 'not an address' }]])('knows nobody by %j', async (claims) => {
    someone(claims);
    expect(await comeBack(await visit())).toMatchObject({ status: 401, code: 'OIDC_FAILED' });
  });

  it('lets no disabled user in', async () => {
    someone();
    const { body: { user } } = await comeBack(await visit());
    await manager.admin.call('PATCH', `/users/${user.id}`, { body: { disabled: true } });
    expect(await comeBack(await visit())).toMatchObject({ status: 401, code: 'OIDC_FAILED' });
  });

  it('makes nobody a user unless it is told to', async () => {
    const strict = await startTestConfigManager({ env: environment({ CARILLON_CONFIG_MANAGER_OIDC_CREATE_USERS: 'false' }) });
    try {
      someone();
      expect(await comeBack(await visit(strict), strict)).toMatchObject({ status: 401, code: 'OIDC_FAILED' });
      // Any config-manager with the same client secret can take the answer.
      someone();
      expect((await comeBack(await visit(strict), manager)).status).toBe(200);
    } finally {
      await strict.stop();
    }
  });
});

describe('an answer of the provider', () => {
  const refused = { status: 401, code: 'OIDC_FAILED' };

  it('is refused without the cookie of its attempt, with another\'s, and with one that was changed', async () => {
    someone();
    const [one, other] = [await visit(), await visit()];
    expect(await comeBack({ ...one, cookie: '' })).toMatchObject(refused);
    expect(await comeBack({ ...one, cookie: other.cookie })).toMatchObject(refused);
    expect(await comeBack({ ...one, cookie: `${one.cookie.slice(0, -4)}AAAA` })).toMatchObject(refused);
    expect(await comeBack({ ...one, cookie: 'carillon_oidc=' })).toMatchObject(refused);
  });

  it('is refused with another state, or none', async () => {
    someone();
    for (const change of [(search: URLSearchParams) => search.set('state', 'x'), (search: URLSearchParams) => search.delete('state')]) {
      const { cookie, search } = await visit();
      const changed = new URLSearchParams(search);
      change(changed);
      expect(await comeBack({ cookie, search: `?${changed.toString()}` })).toMatchObject(refused);
    }
  });

  it('is taken once', async () => {
    someone();
    const answer = await visit();
    expect((await comeBack(answer)).status).toBe(200);
    expect(await comeBack(answer)).toMatchObject(refused);
    // Nor is a code that was taken good for another attempt.
    const next = await visit();
    const search = new URLSearchParams(next.search);
    search.set('code', new URLSearchParams(answer.search).get('code') ?? '');
    expect(await comeBack({ ...next, search: `?${search.toString()}` })).toMatchObject(refused);
  });

  it('is refused after ten minutes', async () => {
    someone();
    const answer = await visit();
    manager.clock.advance(10 * 60_000);
    expect(await comeBack(answer)).toMatchObject(refused);
  });

  it.each([
    ['another nonce', { claims: { nonce: 'x' } }], ['no nonce', { claims: { nonce: undefined } }], ['an expired identity', { claims: { exp: Math.floor(Date.now() / 1_000) - 600 } }], ['another issuer', { claims: { iss: 'https://evil.example' } }],
    ['another audience', { claims: { aud: 'somebody-else' } }], ['a foreign signature', { foreignKey: true }], ['no subject', { claims: { sub: undefined } }],
  ])('is refused with %s', async (_what, twist) => {
    someone();
    const answer = await visit();
    issuer.twist = twist as TestIssuer['twist'];
    expect(await comeBack(answer)).toMatchObject(refused);
  });

  it('is refused when the person did not agree', async () => {
    someone();
    const { cookie, search } = await visit();
    const state = new URLSearchParams(search).get('state') ?? '';
    expect(await comeBack({ cookie, search: `?${new URLSearchParams({ error: 'access_denied', state }).toString()}` })).toMatchObject(refused);
  });

  it('that is refused is audited', async () => {
    manager.clock.advance(60_000);
    expect(await comeBack({ cookie: '', search: '?code=x&state=y' })).toMatchObject(refused);
    const denied = (await auditOf(manager, 'session.create')).filter(({ outcome }) => outcome === 'denied');
    expect(denied[0]).toMatchObject({ code: 'OIDC_FAILED', actor: { kind: 'anonymous' } });
  });
});

describe('a provider that cannot be reached', () => {
  it('is OIDC_UNAVAILABLE, at the start and on the way back, and is asked again later', async () => {
    const late = await startTestConfigManager({ env: environment() });
    try {
      someone();
      issuer.isDown = true;
      expect(await late.anonymous.call('GET', '/oidc/sign-in')).toMatchObject({ status: 503, code: 'OIDC_UNAVAILABLE' });
      issuer.isDown = false;
      const one = await visit(late);
      issuer.isDown = true;
      expect(await comeBack(one, late)).toMatchObject({ status: 503, code: 'OIDC_UNAVAILABLE' });
      issuer.isDown = false;
      const other = await visit(late);
      issuer.twist = { tokenStatus: 502 };
      expect(await comeBack(other, late)).toMatchObject({ status: 503, code: 'OIDC_UNAVAILABLE' });
      issuer.twist = {};
      expect((await comeBack(await visit(late), late)).status).toBe(200);
    } finally {
      await late.stop();
    }
  });

  it('is OIDC_UNAVAILABLE when there is none', async () => {
    const without = await startTestConfigManager();
    try {
      for (const path of ['/oidc/sign-in', '/oidc/callback?code=x&state=y']) expect(await without.anonymous.call('GET', path)).toMatchObject({ status: 503, code: 'OIDC_UNAVAILABLE' });
    } finally {
      await without.stop();
    }
  });
});
