import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { startTestConfigManager, type TestConfigManager } from '../config-manager.fixture.ts';
import { callEnsync, makeKey, makeWorkspace } from './ensync.fixture.ts';

const YEAR_1 = '0001-01-01T00:00:00Z';
const EVENT = 'gms/ensync/report';

let manager: TestConfigManager;
beforeAll(async () => {
  manager = await startTestConfigManager();
});
afterAll(() => manager.stop());

/** A workspace, its account key, and calls with it. */
async function begin() {
  const workspace = await makeWorkspace(manager.store);
  const { id, key } = await makeKey(manager.store, workspace);
  const call = (line: string, body?: unknown) => callEnsync(manager.url, line, { key, body });
  const records = async () => (await manager.store.feed.all(undefined, 10_000)).filter((one) => one.key.startsWith(`${workspace.id}.`));
  const audited = async () => (await manager.store.audit.list({ limit: 50, workspaceIds: [workspace.id] })).items;
  return { workspace, id, key, call, records, audited };
}

describe('EnSync\'s command line', () => {
  it('pings without a key, at both addresses', async () => {
    for (const prefix of ['/api/v1/ensync', '/v1'] as const) {
      const answer = await callEnsync(manager.url, 'GET /ping', { prefix });
      expect(answer).toMatchObject({ status: 200, text: 'pong' });
    }
  });

  it('is let in by either header at either address, by the first that is not empty', async () => {
    const { key } = await begin();
    for (const prefix of ['/api/v1/ensync', '/v1'] as const) {
      for (const headers of [{ 'X-ACCESS-KEY': key }, { 'X-API-KEY': key }, { 'X-ACCESS-KEY': '', 'X-API-KEY': key }, { 'X-ACCESS-KEY': key, 'X-API-KEY': 'other' }]) {
        expect((await callEnsync(manager.url, 'GET /event', { prefix, headers })).body).toEqual({ resultsLength: 0, results: [] });
      }
    }
  });

  it('makes, lists, reads and changes an event', async () => {
    const { workspace, call, records, audited } = await begin();
    const created = await call('POST /event', { name: EVENT, payload: { id: 'string', total: 'double' }, createdAt: YEAR_1, updatedAt: YEAR_1 });
    expect(created.status).toBe(201);
    const { id, createdAt } = created.body;
    expect(typeof id).toBe('string');
    expect(Date.parse(createdAt)).toBeGreaterThan(Date.now() - 60_000);
    const shown = { id, name: EVENT, payload: { id: 'string', total: 'double' }, createdAt, updatedAt: createdAt };
    expect(created.body).toEqual(shown);
    expect((await call('GET /event?pageIndex=0&limit=10&order=desc&orderBy=name')).body).toEqual({ resultsLength: 1, results: [shown] });
    expect((await call(`GET /event/${encodeURIComponent(EVENT)}`)).body).toEqual(shown);
    expect((await call(`GET /event/${id}`)).body).toEqual(shown);

    const withoutName = await call(`PUT /event/${id}`, { name: '', payload: { id: 'string', count: 'int' }, createdAt: YEAR_1 });
    expect(withoutName).toMatchObject({ status: 200, body: { id, name: EVENT, payload: { id: 'string', count: 'int' } } });
    const withoutPayload = await call(`PUT /event/${id}`, { name: 'gms/ensync/summary', payload: {} });
    expect(withoutPayload).toMatchObject({ status: 200, body: { name: 'gms/ensync/summary', payload: { id: 'string', count: 'int' } } });
    expect((await call(`GET /event/${encodeURIComponent(EVENT)}`)).status).toBe(404);

    const entries = (await records()).flatMap(({ record: { entry } }) => (entry?.type === 'event-definition' ? [entry] : []));
    expect(entries).toMatchObject([{ name: 'gms/ensync/summary', schema: { required: ['id', 'count'] } }]);
    expect((await audited()).map(({ action, outcome, actor }) => [action, outcome, actor.kind])).toEqual([
      ['event-definition.update', 'done', 'key'], ['event-definition.update', 'done', 'key'], ['event-definition.create', 'done', 'key'],
    ]);
    expect(workspace.id).toBe((await manager.store.definitions.byName(workspace.id, 'gms/ensync/summary'))?.workspaceId);
  });

  it('may leave out what its body is', async () => {
    const { key, call } = await begin();
    for (const [name, type] of [['a', 'text/plain'], ['b', 'application/x-www-form-urlencoded']] as const) {
      expect((await callEnsync(manager.url, 'POST /event', { key, raw: JSON.stringify({ name, payload: {} }), headers: { 'content-type': type } })).status).toBe(201);
    }
    expect((await call('GET /event')).body.resultsLength).toBe(2);
    expect(await call('HEAD /event')).toMatchObject({ status: 200, text: '' });
  });

  it('sees definitions made elsewhere as well as it can', async () => {
    const { workspace, call } = await begin();
    const schema = { type: 'object', properties: { id: { type: 'string', format: 'uuid' }, count: { type: 'integer' } } };
    const { id } = await manager.store.definitions.create({ workspaceId: workspace.id, name: 'a', description: 'of ours', schema });
    expect((await call('GET /event/a')).body).toMatchObject({ id, payload: { id: 'string', count: 'long' } });
    expect((await call('PUT /event/a', { name: '', payload: {} })).status).toBe(200);
    expect((await manager.store.definitions.get(id))?.schema).toEqual(schema);
  });

  it('makes a SERVICE key, whose text and private key are shown once', async () => {
    const { call, records, audited } = await begin();
    const created = await call('POST /access-key', { type: 'SERVICE', name: 'billing', permissions: null });
    expect(created.status).toBe(201);
    const { id, accessKey, createdAt, service_key_pair: pair } = created.body;
    expect(created.body).toEqual({ id, accessKeyId: id, accessKey, name: 'billing', type: 'SERVICE', createdAt, permissions: { send: [], receive: [], resources: {} }, service_key_id: id, service_key_pair: pair });
    expect(accessKey).toMatch(new RegExp(`^ck_${id}_[0-9A-Za-z]{43}$`));
    expect(isPair(pair)).toBe(true);

    const shown = { id, key: `ck_${id}`, name: 'billing', type: 'SERVICE', createdAt, permissions: { send: [], receive: [], resources: {} }, service_key_id: id, service_key_pair: { public_key: pair.public_key } };
    for (const text of [id, `ck_${id}`, accessKey]) {
      for (const path of [`/access-key/${text}`, `/access-key/${text}/permissions`, `/access-key/permissions/${text}`]) expect((await call(`GET ${path}`)).body).toEqual(shown);
    }
    const listed = await call(`GET /access-key?accessKey=${accessKey}&orderBy=key&order=Asc`);
    expect(listed.body).toEqual({ resultsLength: 1, results: [shown] });
    expect((await call('GET /access-key?name=BILL')).body.resultsLength).toBe(1);
    expect(JSON.stringify([await records(), await audited()])).not.toMatch(new RegExp(`${accessKey.slice(-43)}|${pair.private_key.slice(0, 40).replaceAll('+', '\\+')}`));
    expect(await records()).toMatchObject([{ key: expect.stringContaining(`.key.${id}`) as string, record: { entry: { kind: 'service' } } }]);
  });

  it('gives and takes permissions by both paths: null keeps a list, [] clears it', async () => {
    const { call, records } = await begin();
    const { id } = (await call('POST /access-key', { permissions: { send: ['order/*'], receive: ['*'], resources: null } })).body;
    const permissions = async (): Promise<unknown> => (await call(`GET /access-key/${id}/permissions`)).body.permissions;
    expect(await permissions()).toEqual({ send: ['order/*'], receive: ['*'], resources: {} });
    expect(await records()).toMatchObject([{ record: { entry: { permissions: { send: [{ room: 'order/**' }], receive: [{ room: '*' }] } } } }]);
    expect((await call(`POST /access-key/${id}/permissions`, { send: ['order/created', 'a/*/b'], receive: null })).status).toBe(200);
    expect(await permissions()).toEqual({ send: ['order/created', 'a/*/b'], receive: ['*'], resources: {} });
    expect((await call(`POST /access-key/permissions/${id}`, { send: null, receive: [] })).body).toMatchObject({ id, permissions: { send: ['order/created', 'a/*/b'], receive: [] } });
    expect((await call(`POST /access-key/permissions/${id}`, {})).body).toMatchObject({ permissions: { send: ['order/created', 'a/*/b'], receive: [] } });
    expect(await records()).toMatchObject([{ record: { entry: { permissions: { send: [{ room: 'order/created' }, { room: 'a/*/b' }], receive: [] } } } }]);
  });

  it('leaves what is denied to a key denied', async () => {
    const { workspace, call } = await begin();
    const { id } = await makeKey(manager.store, workspace, { kind: 'service' });
    const deny = { send: [{ room: 'order/secret' }], receive: [] };
    await manager.store.keys.update(id, { permissions: { send: [{ room: '*', event: 'power' }], receive: [], deny } });
    expect((await call(`GET /access-key/${id}`)).body.permissions.send).toEqual([]);
    await call(`POST /access-key/${id}/permissions`, { send: ['order/*'] });
    expect((await manager.store.keys.get(id))?.permissions).toEqual({ send: [{ room: 'order/**' }], receive: [], deny });
  });

  it('makes an ACCOUNT key in its own words, with which it may call', async () => {
    const { call, records } = await begin();
    const resources = { events: { read: ['*'], write: ['*'] }, access_keys: { read: ['*'] }, workspaces: { read: ['*'] }, logs: { read: ['*'] } };
    const created = await call('POST /access-key', { type: 'ACCOUNT', name: 'ci', permissions: { send: [], receive: [], resources } });
    expect(created).toMatchObject({ status: 201, body: { type: 'ACCOUNT', permissions: { resources: { ...resources, events: { read: ['*'], write: ['*'], create: ['*'], update: ['*'], delete: ['*'] } } } } });
    expect(created.body).not.toHaveProperty('service_key_pair');
    const { accessKey: key } = created.body;
    expect((await callEnsync(manager.url, 'POST /event', { key, body: { name: 'a', payload: {} } })).status).toBe(201);
    expect(await callEnsync(manager.url, 'POST /access-key', { key, body: {} })).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } });
    expect((await records()).filter(({ key: path }) => path.includes('.key.'))).toEqual([]);
  });

  it('rotates the pair of a SERVICE key and nothing else of it', async () => {
    const { call } = await begin();
    const { id, accessKey, service_key_pair: first } = (await call('POST /access-key', { name: 'billing' })).body;
    for (const body of [{ access_key: accessKey }, { accessKey }, { access_key: id }]) {
      const rotated = await call('PUT /access/service-key-pair', body);
      expect(rotated.status).toBe(200);
      expect(isPair(rotated.body)).toBe(true);
      expect(rotated.body.public_key).not.toBe(first.public_key);
      expect((await call(`GET /access-key/${id}`)).body.service_key_pair).toEqual({ public_key: rotated.body.public_key });
    }
    expect((await call(`GET /access/verify/${accessKey}`)).body).toEqual({ status: true });
  });

  it('verifies a key by its secret', async () => {
    const { workspace, call } = await begin();
    const { id, accessKey } = (await call('POST /access-key', {})).body;
    const wrong = accessKey.slice(0, -1) + (accessKey.endsWith('a') ? 'b' : 'a');
    const { key: expired } = await makeKey(manager.store, workspace, { kind: 'service', expiresAt: '2020-01-01T00:00:00.000Z' });
    const { key: messenger } = await makeKey(manager.store, workspace, { kind: 'messenger' });
    const status = async (text: string): Promise<unknown> => (await call(`GET /access/verify/${text}`)).body;
    expect(await status(accessKey)).toEqual({ status: true });
    for (const text of [wrong, id, `ck_${id}`, 'nonsense', expired, messenger]) expect(await status(text)).toEqual({ status: false });
    await manager.store.keys.revoke(id);
    expect(await status(accessKey)).toEqual({ status: false });
    expect((await call(`GET /access-key/${id}`)).status).toBe(404);
  });

  it('deletes a key for good, and hubs hear of it', async () => {
    const { workspace, call, records, audited } = await begin();
    const { id, accessKey } = (await call('POST /access-key', { name: 'billing' })).body;
    await manager.store.workspaces.update(workspace.id, { anonymousKeyId: id });
    expect(await call(`DELETE /access-key/${id}`)).toMatchObject({ status: 204, text: '' });
    expect((await call(`DELETE /access-key/${id}`)).status).toBe(404);
    expect((await call(`GET /access/verify/${accessKey}`)).body).toEqual({ status: false });
    expect(await manager.store.keys.get(id)).toBeUndefined();
    const told = new Map((await records()).map(({ key, record }) => [key, record.entry]));
    expect(told.get(`${workspace.id}.key.${id}`)).toBeNull();
    expect(told.get(`${workspace.id}.workspace.${workspace.id}`)).toMatchObject({ anonymousKeyId: null });
    expect((await audited())[0]).toMatchObject({ action: 'key.delete', resource: { id, name: 'billing' }, before: { id }, after: null });
  });

  it('makes workspaces by path and sees them as a tree', async () => {
    const { workspace, call, records } = await begin();
    const { name } = workspace;
    expect(await call('POST /workspace', { name: 'gms/team' })).toMatchObject({ status: 201, body: { name: 'team', path: 'gms/team', children: [] } });
    expect((await call('POST /workspace', { name: 'GMS/other' })).body.path).toBe('gms/other');
    expect((await call('POST /workspace', { name: `${name}/zebra` })).body.path).toBe('zebra');
    for (const again of ['gms', 'gms/team', name]) expect(await call('POST /workspace', { name: again })).toMatchObject({ status: 409, body: { code: 'RESOURCE_EXISTS' } });
    const { body } = await call('GET /workspace?order=asc');
    expect(body).toMatchObject({
      resultsLength: 1,
      results: [{ id: workspace.id, name, parentId: null, path: name, children: [{ name: 'gms', parentId: workspace.id, path: 'gms', children: [{ path: 'gms/other' }, { path: 'gms/team' }] }, { path: 'zebra', children: [] }] }],
    });
    const made = body.results[0]?.children[0];
    expect((await manager.store.feed.all(undefined, 10_000)).some(({ key }) => key === `${made?.id}.workspace.${made?.id}`)).toBe(true);
    expect(await records()).toEqual([]);
  });

  it('pages with the number of all in every page', async () => {
    const { call } = await begin();
    for (const name of ['b', 'a', 'd', 'c', 'e']) await call('POST /event', { name, payload: {} });
    const page = async (query: string): Promise<[number, string]> => {
      const { resultsLength, results } = (await call(`GET /event?${query}`)).body;
      return [resultsLength, results.map(({ name }) => name).join('')];
    };
    expect(await page('')).toEqual([5, 'ecdab']);
    expect(await page('orderBy=name&order=ASC&limit=2&pageIndex=1')).toEqual([5, 'cd']);
    expect(await page('orderBy=name&order=dEsC&limit=2&pageIndex=2')).toEqual([5, 'a']);
    expect(await page('pageIndex=9')).toEqual([5, '']);
    expect(await page('name=C')).toEqual([1, 'c']);
  });

  it('changes one key from two places at once, and neither change is lost', async () => {
    const { call } = await begin();
    const { id } = (await call('POST /access-key', {})).body;
    const answers = await Promise.all([call(`POST /access-key/${id}/permissions`, { send: ['a'] }), call(`POST /access-key/${id}/permissions`, { receive: ['b'] })]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect((await call(`GET /access-key/${id}`)).body.permissions).toMatchObject({ send: ['a'], receive: ['b'] });
  });
});

function isPair({ public_key, private_key }: { readonly public_key: string; readonly private_key: string }): boolean {
  const [address, secret] = [Buffer.from(public_key, 'base64'), Buffer.from(private_key, 'base64')];
  if (address.length !== 32 || secret.length !== 64 || !secret.subarray(32).equals(address)) return false;
  const x = address.toString('base64url');
  const privateKey = createPrivateKey({ key: { kty: 'OKP', crv: 'Ed25519', d: secret.subarray(0, 32).toString('base64url'), x }, format: 'jwk' });
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  return verify(null, Buffer.from('event'), publicKey, sign(null, Buffer.from('event'), privateKey));
}
