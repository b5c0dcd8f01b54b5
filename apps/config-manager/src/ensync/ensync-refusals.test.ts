import { ERRORS } from '@carillon/wire';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { startTestConfigManager, type TestConfigManager } from '../config-manager.fixture.ts';
import { callEnsync, EVERYTHING, makeKey, makeWorkspace, type TestAnswer } from './ensync.fixture.ts';

const REFUSALS = 'carillon_config_manager_refused_total';

let manager: TestConfigManager;
beforeAll(async () => {
  manager = await startTestConfigManager();
});
afterAll(() => manager.stop());

async function begin({ parentId = null, resources = EVERYTHING }: { readonly parentId?: string | null; readonly resources?: typeof EVERYTHING } = {}) {
  const workspace = await makeWorkspace(manager.store, { parentId });
  const { id, key } = await makeKey(manager.store, workspace, { resources });
  return { workspace, id, key, call: (line: string, body?: unknown) => callEnsync(manager.url, line, { key, body }) };
}

/** Every refusal is `{message, code}` with the status of the catalogue. */
function expectRefusal({ status, body }: TestAnswer, code: keyof typeof ERRORS): void {
  expect(body).toEqual({ message: expect.any(String) as string, code });
  expect(status).toBe(ERRORS[code].http);
}

const denials = async (workspaceId: string) => (await manager.store.audit.list({ limit: 50, workspaceIds: [workspaceId], outcome: 'denied' })).items;

describe('who may call', () => {
  it('is nobody without an account key that is in force', async () => {
    const { workspace, key } = await begin();
    expectRefusal(await callEnsync(manager.url, 'GET /event'), 'CREDENTIAL_REQUIRED');
    expectRefusal(await callEnsync(manager.url, 'GET /event', { headers: { 'X-ACCESS-KEY': '', 'X-API-KEY': '' } }), 'CREDENTIAL_REQUIRED');
    const expired = await makeKey(manager.store, workspace, { expiresAt: '2020-01-01T00:00:00.000Z' });
    const revoked = await makeKey(manager.store, workspace);
    await manager.store.keys.revoke(revoked.id);
    const wrong = key.slice(0, -1) + (key.endsWith('a') ? 'b' : 'a');
    for (const bad of [wrong, expired.key, revoked.key, 'nonsense', `cs_${'a'.repeat(43)}`, '\' OR 1=1 --', `${key}, ${key}`]) expectRefusal(await callEnsync(manager.url, 'GET /event', { key: bad }), 'CREDENTIAL_INVALID');
  });

  it('is no key of another type', async () => {
    const { workspace } = await begin();
    for (const kind of ['service', 'messenger'] as const) {
      const { key } = await makeKey(manager.store, workspace, { kind });
      expectRefusal(await callEnsync(manager.url, 'GET /event', { key }), 'FORBIDDEN');
    }
    expect(await denials(workspace.id)).toMatchObject([{ action: 'event-definition.read', code: 'FORBIDDEN' }]);
  });

  it('goes by the resources of the key', async () => {
    const { workspace, call } = await begin({ resources: { 'event-definitions': { read: ['*'] } } });
    expect((await call('GET /event')).status).toBe(200);
    const definition = await manager.store.definitions.create({ workspaceId: workspace.id, name: 'a', description: '', schema: {} });
    const key = await makeKey(manager.store, workspace, { kind: 'service' });
    for (const [line, body] of [
      ['POST /event', { name: 'b', payload: {} }], [`PUT /event/${definition.id}`, { payload: { a: 'string' } }], ['PUT /event/a', {}], ['GET /access-key'], ['POST /access-key', {}], [`GET /access-key/${key.id}`],
      [`DELETE /access-key/${key.id}`], [`POST /access-key/${key.id}/permissions`, {}], ['PUT /access/service-key-pair', { access_key: key.id }], [`GET /access/verify/${key.key}`], ['GET /workspace'], ['POST /workspace', { name: 'x' }],
    ] as const) expectRefusal(await call(line, body), 'FORBIDDEN');
    expect((await denials(workspace.id)).map(({ action }) => action)).toEqual(expect.arrayContaining(['event-definition.create', 'event-definition.update', 'key.read', 'key.delete', 'workspace.create']));
  });

  it('is told to wait when it asks too often', async () => {
    const slow = await startTestConfigManager({ env: { CARILLON_CONFIG_MANAGER_RATE_PER_SECOND: '1', CARILLON_CONFIG_MANAGER_RATE_BURST: '3' } });
    try {
      const { key } = await makeKey(slow.store, await makeWorkspace(slow.store));
      const answers: TestAnswer[] = [];
      for (let at = 0; at < 8; at += 1) answers.push(await callEnsync(slow.url, 'GET /event', { key }));
      const refused = answers.find(({ status }) => status === 429) as TestAnswer;
      expectRefusal(refused, 'RATE_LIMITED');
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    } finally {
      await slow.stop();
    }
  });
});

describe('two workspaces', () => {
  it('do not exist for one another', async () => {
    const [one, other] = [await begin(), await begin()];
    const event = (await other.call('POST /event', { name: 'secret/event', payload: { a: 'string' } })).body;
    const service = (await other.call('POST /access-key', { name: 'secret' })).body;
    for (const [line, body] of [
      [`GET /event/${event.id}`], ['GET /event/secret%2Fevent'], [`PUT /event/${event.id}`, { name: 'mine' }], ['PUT /event/secret%2Fevent', { payload: { a: 'int' } }],
      ...[service.id, service.accessKey, other.id, other.key].flatMap((text) => [
        [`GET /access-key/${text}`], [`GET /access-key/${text}/permissions`], [`GET /access-key/permissions/${text}`], [`POST /access-key/${text}/permissions`, { send: ['*'] }], [`POST /access-key/permissions/${text}`, { send: ['*'] }],
        [`DELETE /access-key/${text}`], ['PUT /access/service-key-pair', { access_key: text }],
      ] as const),
    ] as const) expectRefusal(await one.call(line, body), 'RESOURCE_NOT_FOUND');
    expect((await one.call(`GET /access/verify/${service.accessKey}`)).body).toEqual({ status: false });
    expect((await one.call('GET /event')).body).toEqual({ resultsLength: 0, results: [] });
    expect((await one.call('GET /access-key?limit=100')).body).toMatchObject({ resultsLength: 1, results: [{ id: one.id }] });
    expect((await one.call('GET /workspace')).body).toMatchObject({ resultsLength: 1, results: [{ id: one.workspace.id }] });
    expect((await other.call(`GET /event/${event.id}`)).body).toMatchObject({ name: 'secret/event', payload: { a: 'string' } });
    expect((await denials(one.workspace.id)).map(({ code }) => code)).toContain('RESOURCE_NOT_FOUND');
  });

  it('see what is below, never what is above', async () => {
    const above = await begin();
    const below = await begin({ parentId: above.workspace.id });
    const event = (await below.call('POST /event', { name: 'team/event', payload: {} })).body;
    const key = (await above.call('POST /access-key', {})).body;
    expect((await above.call('GET /event/team%2Fevent')).body).toMatchObject({ id: event.id });
    expect((await above.call('GET /event')).body).toMatchObject({ resultsLength: 1, results: [{ id: event.id }] });
    expect((await above.call(`GET /access-key/${below.id}`)).body).toMatchObject({ id: below.id, type: 'ACCOUNT' });
    expectRefusal(await below.call(`GET /access-key/${key.id}`), 'RESOURCE_NOT_FOUND');
    const tree = (await below.call('GET /workspace')).body;
    expect(tree.results).toMatchObject([{ id: below.workspace.id, parentId: null, path: below.workspace.name }]);
    expect(JSON.stringify(tree)).not.toContain(above.workspace.id);
  });

  it('are seen as far as the paths of the key reach', async () => {
    const top = await begin();
    const team = await makeWorkspace(manager.store, { name: 'team', parentId: top.workspace.id });
    const inner = await makeWorkspace(manager.store, { name: 'inner', parentId: team.id });
    const { key } = await makeKey(manager.store, top.workspace, { resources: { workspaces: { read: ['team', 'team/*'], create: ['team'] }, keys: { read: ['team/*'] } } });
    const call = (line: string, body?: unknown) => callEnsync(manager.url, line, { key, body });
    expect((await call('GET /workspace')).body).toMatchObject({ resultsLength: 1, results: [{ id: team.id, path: 'team', children: [{ id: inner.id, path: 'team/inner' }] }] });
    const hidden = await makeKey(manager.store, team, { kind: 'service' });
    const seen = await makeKey(manager.store, inner, { kind: 'service' });
    expectRefusal(await call(`GET /access-key/${hidden.id}`), 'RESOURCE_NOT_FOUND');
    expect((await call(`GET /access-key/${seen.id}`)).status).toBe(200);
    expectRefusal(await call(`DELETE /access-key/${seen.id}`), 'FORBIDDEN');
    expect((await call('POST /workspace', { name: 'team/new' })).status).toBe(201);
    for (const name of ['new', 'team/newer/deep']) expectRefusal(await call('POST /workspace', { name }), 'FORBIDDEN');
    expect(await manager.store.workspaces.byPath(`${team.path}/newer`)).toBeUndefined();
  });
});

describe('an ACCOUNT key', () => {
  const less = { keys: { read: ['*'], create: ['*'], update: ['*'], delete: ['*'] }, 'event-definitions': { read: ['team'] } };

  it('makes, changes and deletes none that may do more than it may itself', async () => {
    const { workspace, id: strong } = await begin();
    const { id, key } = await makeKey(manager.store, workspace, { resources: less });
    const call = (line: string, body?: unknown) => callEnsync(manager.url, line, { key, body });
    const make = (resources: unknown) => call('POST /access-key', { type: 'ACCOUNT', permissions: { resources } });
    for (const more of [{ workspaces: { read: ['*'] } }, { events: { read: ['*'] } }, { events: { read: ['team/*'] } }, { events: { write: ['team'] } }]) {
      expectRefusal(await make(more), 'FORBIDDEN');
      expectRefusal(await call(`POST /access-key/${id}/permissions`, { resources: more }), 'FORBIDDEN');
    }
    expect((await make({ access_keys: { write: ['*'] }, events: { read: ['team'] } })).status).toBe(201);
    expectRefusal(await call(`POST /access-key/${strong}/permissions`, { resources: {} }), 'FORBIDDEN');
    expectRefusal(await call(`DELETE /access-key/${strong}`), 'FORBIDDEN');
    expect((await manager.store.keys.get(strong))?.resources).toEqual(EVERYTHING);
  });

  it('counts the paths of a key further down from there', async () => {
    const { workspace } = await begin();
    const team = await makeWorkspace(manager.store, { name: 'team', parentId: workspace.id });
    const { key } = await makeKey(manager.store, workspace, { resources: { ...less, 'event-definitions': { read: ['team'] } } });
    const inner = await makeKey(manager.store, team, { resources: {} });
    const give = (read: string) => callEnsync(manager.url, `POST /access-key/${inner.id}/permissions`, { key, body: { resources: { events: { read: [read] } } } });
    expectRefusal(await give('*'), 'FORBIDDEN');
    expectRefusal(await give('deeper'), 'FORBIDDEN');
    expect((await give('team')).body.permissions.resources).toEqual({ events: { read: ['team'] } });
    expect((await manager.store.keys.get(inner.id))?.resources).toEqual({ 'event-definitions': { read: [''] } });
  });

  it('has no other resources, neither sends nor receives, and has no pair', async () => {
    const { id, call } = await begin();
    expectRefusal(await call('POST /access-key', { type: 'ACCOUNT', permissions: { resources: { integrations: { read: ['*'] } } } }), 'RESOURCE_INVALID');
    expectRefusal(await call('POST /access-key', { type: 'ACCOUNT', permissions: { send: ['a'] } }), 'RESOURCE_INVALID');
    expectRefusal(await call('POST /access-key', { type: 'SERVICE', permissions: { resources: { events: { read: ['*'] } } } }), 'RESOURCE_INVALID');
    expectRefusal(await call('PUT /access/service-key-pair', { access_key: id }), 'RESOURCE_INVALID');
    expectRefusal(await call('PUT /access/service-key-pair', {}), 'RESOURCE_INVALID');
  });
});

describe('what is asked wrongly', () => {
  it.each([
    'GET /event?pageIndex=-1', 'GET /event?limit=0', 'GET /event?limit=101', 'GET /event?limit=x', 'GET /event?order=up', 'GET /event?orderBy=payload', 'GET /event?limit=1&limit=2',
    'GET /access-key?orderBy=secret', 'GET /workspace?pageIndex=1e3',
  ])('is refused: %s', async (line) => {
    const { call } = await begin();
    expectRefusal(await call(line), 'RESOURCE_INVALID');
  });

  it.each([
    ['POST /event', { name: 'a' }], ['POST /event', { name: '', payload: {} }], ['POST /event', { name: 'a*', payload: {} }], ['POST /event', { name: 'a', payload: { f: 'date' } }],
    ['POST /event', { name: 'a', payload: { f: { g: 'string' } } }], ['POST /event', { name: 'half \ud800', payload: {} }], ['POST /event', { name: 'a', payload: { '\u0000': 'string' } }], ['POST /event', []],
    ['POST /access-key', { type: 'ROOT' }], ['POST /access-key', { permissions: { send: ['a/**/b'] } }], ['POST /access-key', { permissions: { send: [''] } }], ['POST /access-key', { permissions: { receive: ['x'.repeat(257)] } }],
    ['POST /workspace', { name: '../up' }], ['POST /workspace', { name: 'a//b' }], ['POST /workspace', { name: 'a/b/c/d/e/f/g/h/i/j' }], ['POST /workspace', {}],
  ])('is refused: %s %j', async (line, body) => {
    const { call } = await begin();
    expectRefusal(await call(line, body), 'RESOURCE_INVALID');
  });

  it('is refused before it is looked at when it is no JSON, too deep or too large', async () => {
    const { key } = await begin();
    const post = (raw: string) => callEnsync(manager.url, 'POST /event', { key, raw });
    expectRefusal(await post('{'), 'JSON_INVALID');
    expectRefusal(await post('{"__proto__":{}}'), 'JSON_KEY_FORBIDDEN');
    expectRefusal(await post(`{"a":${'['.repeat(10_000)}`), 'JSON_TOO_DEEP');
    expectRefusal(await post(`{"name":"${'a'.repeat(2_000_000)}"}`), 'BODY_TOO_LARGE');
    expectRefusal(await callEnsync(manager.url, 'POST /event', { raw: `{"name":"${'a'.repeat(2_000_000)}"}` }), 'CREDENTIAL_REQUIRED');
  });

  it('is not found where there is no route, and says what else there is where there is one', async () => {
    const { call } = await begin();
    for (const line of ['GET /nothing', 'GET /event/gms/ensync/report', 'GET /EVENT', 'GET /access-key/a/b']) expectRefusal(await call(line), 'ROUTE_NOT_FOUND');
    const answer = await call('DELETE /event/a');
    expectRefusal(answer, 'METHOD_NOT_ALLOWED');
    expect(answer.headers.get('allow')).toBe('GET, PUT');
    expectRefusal(await call('GET /event/%ff'), 'REQUEST_MALFORMED');
    expectRefusal(await call('GET /event/a%00b'), 'REQUEST_MALFORMED');
    expectRefusal(await call('GET /event?name=%ff'), 'REQUEST_MALFORMED');
  });

  it('is not found when nothing has the name', async () => {
    const { workspace, call } = await begin();
    const messenger = await makeKey(manager.store, workspace, { kind: 'messenger' });
    for (const line of ['GET /event/nothing', 'PUT /event/kd_nothing', 'GET /access-key/nothing', 'DELETE /access-key/nothing', `GET /access-key/${messenger.id}`, `DELETE /access-key/${messenger.key}`]) expectRefusal(await call(line, line.startsWith('PUT') ? {} : undefined), 'RESOURCE_NOT_FOUND');
  });

  it('is in conflict when the name is taken', async () => {
    const { call } = await begin();
    await call('POST /event', { name: 'a', payload: {} });
    const { id } = (await call('POST /event', { name: 'b', payload: {} })).body;
    expectRefusal(await call('POST /event', { name: 'a', payload: {} }), 'RESOURCE_EXISTS');
    expectRefusal(await call(`PUT /event/${id}`, { name: 'a' }), 'RESOURCE_EXISTS');
    expect((await call(`GET /event/${id}`)).body.name).toBe('b');
  });

  it.each(['\' OR 1=1 --', '" OR ""="', '$1', '%', '_', '\\', '../../etc', '{{7+7}}', '<script>'])('is data and nothing else: %s', async (text) => {
    const { workspace, call } = await begin();
    await call('POST /event', { name: 'other', payload: {} });
    const created = await call('POST /event', { name: text, payload: { [text]: 'string' } });
    expect(created).toMatchObject({ status: 201, body: { name: text, payload: { [text]: 'string' } } });
    expect((await call(`GET /event/${encodeURIComponent(text)}`)).body).toEqual(created.body);
    expect((await call(`GET /event?name=${encodeURIComponent(text)}`)).body).toMatchObject({ resultsLength: 1 });
    expect((await call(`GET /access-key?name=${encodeURIComponent(text)}`)).body).toMatchObject({ resultsLength: 0 });
    expect((await call(`GET /access-key?accessKey=${encodeURIComponent(text)}`)).body).toMatchObject({ resultsLength: 0 });
    expectRefusal(await call(`GET /access-key/${encodeURIComponent(text)}`), 'RESOURCE_NOT_FOUND');
    const named = await call('POST /access-key', { name: text });
    expect(named).toMatchObject({ status: 201, body: { name: text } });
    expect(await manager.store.workspaces.get(workspace.id)).toBeDefined();
  });

  it('is counted, by its code', async () => {
    const { call } = await begin();
    const before = await manager.metric(REFUSALS, 'ROUTE_NOT_FOUND');
    await call('GET /nothing');
    expect(await manager.metric(REFUSALS, 'ROUTE_NOT_FOUND')).toBe(before + 1);
  });

  it('never gets a secret back, and leaves none in the log', async () => {
    const { key, call } = await begin();
    const created = (await call('POST /access-key', {})).body;
    for (const line of [`GET /access-key/${key.slice(0, -1)}x`, 'GET /access-key', `GET /access-key/${created.accessKey}`, `GET /access/verify/${created.accessKey}`, `GET /nothing/${key}`]) {
      const { text } = await call(line);
      expect(text).not.toContain(created.accessKey.slice(-43));
      expect(text).not.toContain(key.slice(-43, -1));
    }
    const logged = manager.logs.join('');
    expect(logged).toContain('ensync GET /access-key/:key');
    for (const secret of [created.accessKey, key]) expect(logged).not.toContain(secret.slice(-43, -1));
  });
});
