import { parseAccessKey } from '@carillon/access';
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { startApi, type Api, type Caller } from './api.fixture.ts';

interface Key {
  readonly id: string;
  readonly version: number;
  readonly kind: string;
  readonly name: string;
  readonly revokedAt: string | null;
  readonly publicKey: string | null;
  readonly secrets: readonly { readonly createdAt: string; readonly expiresAt: string | null }[];
}
interface Made {
  readonly key: Key;
  readonly accessKey: string;
  readonly privateKey: string | null;
}

let api: Api;
let team: string;
let other: string;
let keys: string;
let owner: Caller;
let admin: Caller;
let developer: Caller;
let operator: Caller;
let viewer: Caller;
beforeAll(async () => {
  api = await startApi();
  team = await api.workspace('team');
  other = await api.workspace('other');
  keys = `/workspaces/${team}/keys`;
  ({ owner, admin, developer, operator, viewer } = await api.people(team, 'owner', 'admin', 'developer', 'operator', 'viewer'));
});
afterAll(() => api.stop());

const make = async (by: Caller, fields: object = {}, at = keys): Promise<Made> => (await by.post<Made>(at, { kind: 'messenger', name: 'a key', ...fields })).done(201);
const account = (resources: object) => ({ kind: 'account', name: 'an account key', resources });
const later = (ms: number) => new Date(Date.now() + ms).toISOString();

describe('making keys', () => {
  it('shows the secret once, and never in a read, a list, the audit or the feed', async () => {
    const made = await make(developer, { permissions: { send: ['ITB-*'] } });
    expect(parseAccessKey(made.accessKey)?.id).toBe(made.key.id);
    const secret = made.accessKey.slice(-43);
    const seen = [
      await viewer.get(`${keys}/${made.key.id}`), await viewer.get(`${keys}?limit=200`), await admin.get(`/workspaces/${team}/audit?limit=200`), await api.administrator.get('/audit?limit=200'),
    ].map(({ status, text }) => {
      expect(status).toBe(200);
      return text;
    });
    for (const text of [...seen, await api.everythingStored()]) {
      expect(text).toContain(made.key.id);
      expect(text).not.toContain(secret);
    }
  });

  it('gives service keys an Ed25519 pair and keeps its public half', async () => {
    const { key, privateKey } = await make(developer, { kind: 'service' });
    const bytes = Buffer.from(privateKey ?? '', 'base64');
    expect(bytes).toHaveLength(64);
    expect(bytes.subarray(32).toString('base64')).toBe(key.publicKey);
    const [d, x] = [bytes.subarray(0, 32).toString('base64url'), bytes.subarray(32).toString('base64url')];
    const signature = sign(null, Buffer.from('text'), createPrivateKey({ key: { kty: 'OKP', crv: 'Ed25519', d, x }, format: 'jwk' }));
    expect(verify(null, Buffer.from('text'), createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' }), signature)).toBe(true);
    expect(await api.everythingStored()).not.toContain(bytes.subarray(0, 32).toString('base64').slice(0, 40));
  });

  it.each([
    ['permissions of an account key', { kind: 'account', permissions: { send: ['*'] } }, '/permissions'],
    ['resources of another', { resources: { keys: { read: ['*'] } } }, '/resources'],
    ['an end that has been', { expiresAt: '2001-01-01T00:00:00Z' }, '/expiresAt'],
    ['a field of another schema', { workspaceId: 'default' }, '/workspaceId'],
    ['a version', { version: 7 }, '/version'],
    ['an id', { id: 'AAAAAAAAAAAAAAAA' }, '/id'],
    ['a prototype', { limits: { connections: 0 } }, '/limits/connections'],
    ['a pattern that is none', { permissions: { receive: ['a**b'] } }, '/permissions/receive/0'],
    ['an unknown kind', { kind: 'root' }, '/kind'],
  ])('refuses %s', async (_what, fields, pointer) => {
    const { status, body } = await owner.post<{ code: string; errors: { pointer: string }[] }>(keys, { kind: 'messenger', name: 'a key', ...fields });

    expect([status, body.code]).toEqual([400, 'RESOURCE_INVALID']);
    expect(body.errors.map((error) => error.pointer)).toContain(pointer);
  });

  it('is for developers and above, of account keys for admins and above', async () => {
    for (const [by, plain, of] of [[viewer, 403, 403], [operator, 403, 403], [developer, 201, 403], [admin, 201, 201], [owner, 201, 201]] as const) {
      expect((await by.post(keys, { kind: 'repeater', name: 'k' })).status).toBe(plain);
      expect((await by.post(keys, account({ devices: { read: ['*'] } }))).status).toBe(of);
    }
  });

  it('gives an account key no more than its maker has', async () => {
    (await admin.post(keys, account({ workspaces: { delete: ['*'] } }))).refused('FORBIDDEN');
    (await owner.post(keys, account({ workspaces: { delete: ['*'] } }))).done(201);
    const { accessKey } = await make(admin, account({ keys: { create: ['', 'lab/*'], read: ['*'] }, devices: { read: [''] } }));
    const machine = api.as(accessKey);

    (await machine.post(keys, account({ devices: { read: [''] } }))).done(201);
    (await machine.post(keys, account({ devices: { read: ['*'] } }))).refused('FORBIDDEN');
    (await machine.post(keys, account({ devices: { update: [''] } }))).refused('FORBIDDEN');
    (await machine.post(keys, account({ audit: { read: [''] } }))).refused('FORBIDDEN');
  });

  it('makes one key for one Idempotency-Key', async () => {
    const headers = { 'idempotency-key': 'a-key-of-sixteen-or-more' };
    const [one, two] = [await owner.post<Made>(keys, { kind: 'messenger', name: 'once' }, headers), await owner.post<Made>(keys, { kind: 'messenger', name: 'once' }, headers)];

    expect(two.text).toBe(one.text);
    (await owner.post(keys, { kind: 'messenger', name: 'twice' }, headers)).refused('IDEMPOTENCY_KEY_REUSED');
  });
});

describe('changing keys', () => {
  it('is for developers and above: operators only rotate and revoke', async () => {
    const { key } = await make(developer);
    (await viewer.patch(`${keys}/${key.id}`, { name: 'x' })).refused('FORBIDDEN');
    (await operator.patch(`${keys}/${key.id}`, { permissions: { send: ['*'] } })).refused('FORBIDDEN');
    (await viewer.post(`${keys}/${key.id}/rotate`, {})).refused('FORBIDDEN');
    (await viewer.delete(`${keys}/${key.id}`)).refused('FORBIDDEN');
    (await operator.post(`${keys}/${key.id}/rotate`, {})).done(200);
    (await operator.delete(`${keys}/${key.id}`)).done(204);
  });

  it('takes If-Match', async () => {
    const { key } = await make(developer);
    const changed = await developer.patch<Key>(`${keys}/${key.id}`, { name: 'new' }, { 'if-match': `"${key.version}"` });
    expect(changed.done(200)).toMatchObject({ name: 'new', version: key.version + 1 });
    expect(changed.headers.get('etag')).toBe(`"${key.version + 1}"`);
    (await developer.patch(`${keys}/${key.id}`, { name: 'old' }, { 'if-match': `"${key.version}"` })).refused('PRECONDITION_FAILED');
    (await developer.delete(`${keys}/${key.id}`, { 'if-match': `"${key.version}"` })).refused('PRECONDITION_FAILED');
  });

  it('rotates to a new secret, and lets the one before live as long as asked', async () => {
    const { key, accessKey } = await make(developer);
    const first = (await developer.post<Made>(`${keys}/${key.id}/rotate`, { overlapSeconds: 600 })).done(200);
    expect(parseAccessKey(first.accessKey)?.id).toBe(key.id);
    expect(first.accessKey).not.toBe(accessKey);
    expect(first.key.secrets.filter(({ expiresAt }) => expiresAt !== null && Date.parse(expiresAt) > Date.now())).toHaveLength(1);
    expect(first.key.secrets).toHaveLength(2);
    const second = (await developer.post<Made>(`${keys}/${key.id}/rotate`, { overlapSeconds: 0 })).done(200);
    expect(second.key.secrets.filter(({ expiresAt }) => expiresAt === null || Date.parse(expiresAt) > Date.now())).toHaveLength(1);
    (await developer.post(`${keys}/${key.id}/rotate`, { overlapSeconds: 2_592_001 })).refused('RESOURCE_INVALID');
  });

  it('revokes for good: the key stays to be seen and opens nothing', async () => {
    const { key, accessKey } = await make(admin, account({ keys: { read: ['*'] } }));
    (await api.as(accessKey).get(keys)).done(200);
    (await admin.delete(`${keys}/${key.id}`)).done(204);
    (await api.as(accessKey).get(keys)).refused('CREDENTIAL_INVALID');
    expect((await viewer.get<Key>(`${keys}/${key.id}`)).done(200).revokedAt).not.toBeNull();
    (await admin.delete(`${keys}/${key.id}`)).done(204);
    (await admin.post(`${keys}/${key.id}/rotate`, {})).refused('RESOURCE_INVALID');
    (await admin.patch(`${keys}/${key.id}`, { name: 'back' })).refused('RESOURCE_INVALID');
  });

  it('lets nobody take over an account key that may do more than they', async () => {
    const strong = await make(owner, account({ workspaces: { delete: ['*'] } }));
    const weak = await make(owner, account({ keys: { update: ['*'], read: ['*'], delete: ['*'] } }));
    const machine = api.as(weak.accessKey);

    (await admin.post(`${keys}/${strong.key.id}/rotate`, {})).refused('FORBIDDEN');
    (await machine.post(`${keys}/${strong.key.id}/rotate`, {})).refused('FORBIDDEN');
    (await machine.patch(`${keys}/${weak.key.id}`, { resources: { workspaces: { delete: ['*'] } } })).refused('FORBIDDEN');
    for (const by of [developer, operator]) {
      (await by.post(`${keys}/${weak.key.id}/rotate`, {})).refused('FORBIDDEN');
      (await by.delete(`${keys}/${weak.key.id}`)).refused('FORBIDDEN');
    }
    (await developer.patch(`${keys}/${weak.key.id}`, { name: 'x' })).refused('FORBIDDEN');
    (await admin.delete(`${keys}/${strong.key.id}`)).done(204);
  });

  it('lets an account key revoke that may delete and nothing else', async () => {
    const { key } = await make(developer);
    const [reader, remover] = [await make(owner, account({ keys: { read: ['*'], update: ['*'] } })), await make(owner, account({ keys: { delete: [''] } }))];
    (await api.as(reader.accessKey).delete(`${keys}/${key.id}`)).refused('RESOURCE_NOT_FOUND');
    (await api.as(remover.accessKey).delete(`${keys}/${key.id}`)).done(204);
  });
});

describe('keys of another workspace', () => {
  it('are not found, by any way to name them', async () => {
    const { key } = await make(api.administrator, {}, `/workspaces/${other}/keys`);
    for (const by of [owner, api.administrator]) {
      (await by.get(`${keys}/${key.id}`)).refused('RESOURCE_NOT_FOUND');
      (await by.patch(`${keys}/${key.id}`, { name: 'mine' })).refused('RESOURCE_NOT_FOUND');
      (await by.post(`${keys}/${key.id}/rotate`, {})).refused('RESOURCE_NOT_FOUND');
      (await by.delete(`${keys}/${key.id}`)).refused('RESOURCE_NOT_FOUND');
    }
    (await owner.get(`/workspaces/${other}/keys/${key.id}`)).refused('RESOURCE_NOT_FOUND');
    (await owner.delete(`/workspaces/${other}/keys/${key.id}`)).refused('RESOURCE_NOT_FOUND');
    expect((await owner.get(`${keys}?limit=200`)).text).not.toContain(key.id);
  });

  it.each(["'; DROP TABLE access_keys; --", '" OR 1=1', '../../other', '%', '*', '__proto__', '${7*7}', 'é'.repeat(40)])('takes %j for an id that is not there', async (id) => {
    (await owner.get(`${keys}/${encodeURIComponent(id)}`)).refused('RESOURCE_NOT_FOUND');
    (await owner.get(`/workspaces/${encodeURIComponent(id)}/keys`)).refused('RESOURCE_NOT_FOUND');
  });
});

describe('listing keys', () => {
  it('pages without repeating or leaving out, and by kind', async () => {
    const paged = await api.workspace('paged');
    const path = `/workspaces/${paged}/keys`;
    const ids: string[] = [];
    for (let count = 0; count < 7; count += 1) ids.unshift((await make(api.administrator, { kind: count % 2 === 0 ? 'messenger' : 'repeater', expiresAt: later(60_000) }, path)).key.id);
    const seen = (await api.administrator.all<Key>(`${path}?limit=2`)).map(({ id }) => id);

    expect(seen).toEqual(ids);
    expect((await api.administrator.all<Key>(`${path}?kind=repeater&limit=2`)).map(({ kind }) => kind)).toEqual(['repeater', 'repeater', 'repeater']);
  });

  it.each(['limit=1000000000', 'limit=0', 'limit=-1', 'limit=1.5', 'limit=NaN', 'limit=', 'kind=root', 'where=1', 'limit=1&limit=2'])('refuses ?%s', async (query) => {
    (await viewer.get(`${keys}?${query}`)).refused('RESOURCE_INVALID');
  });

  it('refuses a cursor that is none, or of another listing', async () => {
    (await viewer.get(`${keys}?cursor=nonsense`)).refused('CURSOR_INVALID');
    (await viewer.get(`${keys}?cursor=${encodeURIComponent("' OR 1=1 --")}`)).refused('CURSOR_INVALID');
  });
});
