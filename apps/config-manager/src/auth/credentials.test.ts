import { createAccessKey, hashAccessKey } from '@carillon/access';
import { DEFAULT_WORKSPACE_ID } from '@carillon/schemas';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { auditOf, startTestConfigManager, type TestConfigManager } from '../config-manager.fixture.ts';
import { route } from '../http/route.ts';

const who = z.object({ kind: z.string(), id: z.string().nullable() });
const shared = { method: 'GET', summary: '', tag: 'Test', answer: { status: 200, schema: who, description: '' } } as const;
const ROUTES = [
  route({ ...shared, path: '/test/public', name: 'testPublic', access: 'public', handle: async ({ actor }) => ({ body: actor }) }),
  route({ ...shared, path: '/test/signed-in', name: 'testSignedIn', access: 'signed-in', handle: async ({ actor }) => ({ body: actor }) }),
  route({ ...shared, path: '/test/person', name: 'testPerson', access: 'person', handle: async ({ actor }) => ({ body: actor }) }),
  route({ ...shared, path: '/test/workspaces/:workspaceId/rooms', name: 'testRooms', access: { resource: 'rooms', action: 'delete' }, answer: { status: 200, schema: z.object({ id: z.string() }), description: '' }, handle: async ({ workspace }) => ({ body: workspace }) }),
  route({ ...shared, path: '/test/workspaces/:workspaceId/denied', name: 'testDenied', access: { resource: 'rooms', action: 'read' }, handle: async ({ deny }) => deny('not today') }),
];
const ACCOUNT = { rooms: { delete: [''] } };
const secretOf = (accessKey: string, secret: string): string => `${accessKey.slice(0, -43)}${secret}`;

let manager: TestConfigManager;
let below: string;

beforeAll(async () => {
  manager = await startTestConfigManager({ routes: ROUTES });
  below = (await manager.store.workspaces.create({ name: 'below', parentId: DEFAULT_WORKSPACE_ID, validation: 'off', allowedOrigins: [], limits: {} })).id;
});
afterAll(() => manager.stop());

const ask = (path: string, headers: Record<string, string> = {}) => manager.as(headers).call('GET', `/test/${path}`);

describe('a credential', () => {
  it('is a session\'s token or an account key, in any of the headers', async () => {
    const { accessKey, key } = await manager.key();
    for (const headers of [{ authorization: `Bearer ${accessKey}` }, { authorization: `bearer  ${accessKey}` }, { 'x-access-key': accessKey }, { 'x-api-key': accessKey }, { 'x-api-key': accessKey, authorization: `Bearer ${accessKey}` }]) {
      expect((await ask('signed-in', headers as Record<string, string>)).body).toEqual({ kind: 'key', id: key.id });
    }
    expect((await ask('signed-in', { authorization: `Bearer ${manager.admin.token}` })).body).toEqual({ kind: 'user', id: manager.admin.user.id });
    expect((await manager.store.keys.get(key.id))?.lastUsedAt).not.toBeNull();
  });

  it('is asked for', async () => {
    const answer = await ask('signed-in');
    expect([answer.status, answer.code, answer.headers.get('www-authenticate')]).toEqual([401, 'CREDENTIAL_REQUIRED', 'Bearer']);
  });

  it.each([
    ['another scheme', { authorization: 'Basic YTpi' }], ['nothing', { authorization: 'Bearer' }], ['an unknown token', { authorization: `Bearer cs_${'a'.repeat(43)}` }], ['an unknown key', { 'x-access-key': `ck_${'a'.repeat(16)}_${'b'.repeat(43)}` }],
    ['no key at all', { 'x-access-key': 'hello' }], ['an empty one', { 'x-api-key': '' }], ['a long one', { authorization: `Bearer ${'x'.repeat(10_000)}` }],
  ])('that is %s is CREDENTIAL_INVALID, and on public routes nobody', async (_what, headers) => {
    expect(await ask('signed-in', headers as Record<string, string>)).toMatchObject({ status: 401, code: 'CREDENTIAL_INVALID' });
    expect((await ask('public', headers as Record<string, string>)).body).toEqual({ kind: 'anonymous', id: null });
  });

  it('is one', async () => {
    const [one, other] = [await manager.key(), await manager.key()];
    expect(await ask('signed-in', { authorization: `Bearer ${one.accessKey}`, 'x-api-key': other.accessKey })).toMatchObject({ status: 400, code: 'ACCESS_KEY_AMBIGUOUS' });
  });
});

describe('an account key', () => {
  it('has the whole of a secret in force, is not revoked, and has not expired', async () => {
    const { key, accessKey, call } = await manager.key();
    expect((await ask('signed-in', { 'x-access-key': secretOf(accessKey, 'x'.repeat(43)) })).code).toBe('CREDENTIAL_INVALID');
    await manager.store.keys.update(key.id, { expiresAt: new Date(manager.clock.now() + 60_000).toISOString() });
    expect((await call('GET', '/test/signed-in')).status).toBe(200);
    manager.clock.advance(60_000);
    expect((await call('GET', '/test/signed-in')).code).toBe('CREDENTIAL_INVALID');
    const revoked = await manager.key();
    expect((await revoked.call('GET', '/test/signed-in')).status).toBe(200);
    await manager.store.keys.revoke(revoked.key.id);
    expect((await revoked.call('GET', '/test/signed-in')).code).toBe('CREDENTIAL_INVALID');
  });

  it('has two secrets while it is rotated', async () => {
    const old = await manager.key();
    const next = secretOf(old.accessKey, createAccessKey().key.slice(-43));
    await manager.store.keys.rotate(old.key.id, { secretHash: hashAccessKey(next), previousExpiresAt: new Date(manager.clock.now() + 60_000).toISOString() });
    expect([(await old.call('GET', '/test/signed-in')).status, (await ask('signed-in', { 'x-access-key': next })).status]).toEqual([200, 200]);
    manager.clock.advance(60_000);
    expect([(await old.call('GET', '/test/signed-in')).status, (await ask('signed-in', { 'x-access-key': next })).status]).toEqual([401, 200]);
  });

  it.each(['messenger', 'repeater', 'hub-link', 'service'] as const)('is no key of kind %s', async (kind) => {
    const { call } = await manager.key({ kind });
    expect(await call('GET', '/test/signed-in')).toMatchObject({ status: 403, code: 'FORBIDDEN' });
    expect((await call('GET', '/test/public')).body).toMatchObject({ kind: 'anonymous' });
  });

  it('is no person', async () => {
    const { call } = await manager.key();
    for (const path of ['/test/person', '/me', '/users', '/sessions']) expect(await call('GET', path)).toMatchObject({ status: 403, code: 'FORBIDDEN' });
  });
});

describe('a route about a workspace', () => {
  const rooms = (workspaceId: string): string => `/test/workspaces/${workspaceId}/rooms`;

  it('is open to those whose role or key allows it, there and below', async () => {
    const developer = await manager.person('developer');
    expect((await developer.call('GET', rooms('default'))).body).toEqual({ id: 'default' });
    expect((await developer.call('GET', rooms(below))).body).toEqual({ id: below });
    const { call } = await manager.key({ resources: ACCOUNT });
    expect((await call('GET', rooms('default'))).body).toEqual({ id: 'default' });
    expect(await call('GET', rooms(below))).toMatchObject({ status: 404, code: 'RESOURCE_NOT_FOUND' });
    expect((await manager.admin.call('GET', rooms(below))).status).toBe(200);
  });

  it('is FORBIDDEN to those who may read the workspace and not do this', async () => {
    const viewer = await manager.person('viewer');
    expect(await viewer.call('GET', rooms('default'))).toMatchObject({ status: 403, code: 'FORBIDDEN' });
    const [record] = await auditOf(manager, 'room.delete');
    expect(record).toMatchObject({ actor: { kind: 'user', id: viewer.user.id }, outcome: 'denied', code: 'FORBIDDEN', workspaceId: 'default', resource: { kind: 'room', id: 'default' } });
  });

  it('does not tell strangers from the workspace being there', async () => {
    const stranger = await manager.person('owner', below);
    const answers = [await stranger.call('GET', rooms('default')), await stranger.call('GET', rooms('ws_01arz3ndektsv4rrffq69g5fav')), await stranger.call('GET', rooms('%E2%98%83'))];
    expect(new Set(answers.map(({ status, text }) => `${status} ${text.replace(/"instance":"[^"]*"/, '')}`)).size).toBe(1);
    expect(answers[0]).toMatchObject({ status: 404, code: 'RESOURCE_NOT_FOUND' });
    const denied = (await auditOf(manager, 'room.delete', 2)).filter(({ actor }) => actor.id === stranger.user.id);
    expect(denied.map(({ workspaceId, outcome, code }) => [workspaceId, outcome, code])).toContainEqual(['default', 'denied', 'RESOURCE_NOT_FOUND']);
  });

  it('asks for a credential before anything else', async () => {
    expect(await manager.anonymous.call('GET', rooms('default'))).toMatchObject({ status: 401, code: 'CREDENTIAL_REQUIRED' });
  });

  it('may deny by rules of its own, which is audited as well', async () => {
    const viewer = await manager.person('viewer');
    expect(await viewer.call('GET', '/test/workspaces/default/denied')).toMatchObject({ status: 403, code: 'FORBIDDEN', body: { detail: 'not today' } });
    expect((await auditOf(manager, 'room.read'))[0]).toMatchObject({ outcome: 'denied', workspaceId: 'default' });
  });

  it('cannot fill the audit log with denials', async () => {
    const viewer = await manager.person('viewer');
    manager.clock.stop();
    const before = await manager.metric('carillon_config_manager_audit_coalesced_total');
    const refusedBefore = await manager.metric('carillon_config_manager_refused_total', 'FORBIDDEN');
    for (let at = 0; at < 20; at += 1) await viewer.call('GET', rooms('default'));
    const mine = async () => (await manager.store.audit.list({ limit: 200, actor: viewer.user.id })).items.filter(({ outcome }) => outcome === 'denied');
    expect(await mine()).toHaveLength(1);
    expect(await manager.metric('carillon_config_manager_audit_coalesced_total') - before).toBe(19);
    expect(await manager.metric('carillon_config_manager_refused_total', 'FORBIDDEN') - refusedBefore).toBe(20);
    manager.clock.advance(10_000);
    await viewer.call('GET', rooms('default'));
    expect(await mine()).toHaveLength(2);
  });
});
