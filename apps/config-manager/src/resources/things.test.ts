import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { startApi, type Api, type Caller } from './api.fixture.ts';

interface Thing {
  readonly id: string;
  readonly workspaceId: string;
  readonly version: number;
}

let api: Api;
let team: string;
let other: string;
let developer: Caller;
let operator: Caller;
let viewer: Caller;
beforeAll(async () => {
  api = await startApi();
  team = await api.workspace('team');
  other = await api.workspace('other');
  ({ developer, operator, viewer } = await api.people(team, 'developer', 'operator', 'viewer'));
});
afterAll(() => api.stop());

const kinds = [
  { path: 'event-definitions', type: 'event-definition', make: (n: number) => ({ name: `power-${n}`, schema: { type: 'object' } }), change: { description: 'new', schema: { type: 'array' } }, fed: { schema: { type: 'array' }, version: 2 } },
  { path: 'rooms', type: 'room', make: (n: number) => ({ pattern: `ITB-${n}-*`, lane: 'live' }), change: { lane: 'durable' }, fed: { lane: 'durable' } },
  { path: 'devices', type: 'device', make: (n: number) => ({ room: 'ITB-1101', name: `CP${n}`, repeater: 'r1', address: 'ws://10.0.0.17:7101/' }), change: { enabled: false }, fed: { enabled: false } },
] as const;

describe.each(kinds)('$path', ({ path, type, make, change, fed }) => {
  const at = () => `/workspaces/${team}/${path}`;
  const by = () => (type === 'device' ? operator : developer);

  it('are made, read, changed and removed, and hubs hear of it', async () => {
    const made = await by().post<Thing>(at(), make(1));
    const thing = made.done(201);
    expect(made.headers.get('location')).toBe(`/api/v1${at()}/${thing.id}`);
    expect(made.headers.get('etag')).toBe('"1"');
    expect((await viewer.get<Thing>(`${at()}/${thing.id}`)).done(200)).toEqual(thing);
    expect(await api.fed(`${team}.${type}.${thing.id}`)).toMatchObject({ type, id: thing.id });
    const changed = (await by().patch<Thing>(`${at()}/${thing.id}`, change, { 'if-match': '"1"' })).done(200);
    expect(changed).toMatchObject({ ...change, version: 2 });
    expect(await api.fed(`${team}.${type}.${thing.id}`)).toMatchObject(fed);
    (await by().patch(`${at()}/${thing.id}`, change, { 'if-match': '"1"' })).refused('PRECONDITION_FAILED');
    (await by().delete(`${at()}/${thing.id}`, { 'if-match': '"1"' })).refused('PRECONDITION_FAILED');
    (await by().delete(`${at()}/${thing.id}`)).done(204);
    expect(await api.fed(`${team}.${type}.${thing.id}`)).toBeNull();
    (await by().delete(`${at()}/${thing.id}`)).refused('RESOURCE_NOT_FOUND');
  });

  it('exist once', async () => {
    (await by().post(at(), make(2))).done(201);
    (await by().post(at(), make(2))).refused('RESOURCE_EXISTS');
    (await api.administrator.post(`/workspaces/${other}/${path}`, make(2))).done(201);
  });

  it('are told in the audit, before and after', async () => {
    const thing = (await by().post<Thing>(at(), make(3))).done(201);
    (await by().patch(`${at()}/${thing.id}`, change)).done(200);
    (await by().delete(`${at()}/${thing.id}`)).done(204);
    const records = await api.administrator.all<{ action: string; before: Thing | null; after: Thing | null }>(`/audit?resource=${thing.id}`);

    expect(records.map(({ action, before, after }) => [action, before?.version, after?.version])).toEqual([[`${type}.delete`, 2, undefined], [`${type}.update`, 1, 2], [`${type}.create`, undefined, 1]]);
  });

  it('of another workspace are not found', async () => {
    const thing = (await api.administrator.post<Thing>(`/workspaces/${other}/${path}`, make(4))).done(201);
    for (const caller of [by(), api.administrator]) {
      (await caller.get(`${at()}/${thing.id}`)).refused('RESOURCE_NOT_FOUND');
      (await caller.patch(`${at()}/${thing.id}`, change)).refused('RESOURCE_NOT_FOUND');
      (await caller.delete(`${at()}/${thing.id}`)).refused('RESOURCE_NOT_FOUND');
    }
    (await by().get(`/workspaces/${other}/${path}`)).refused('RESOURCE_NOT_FOUND');
    (await by().post(`/workspaces/${other}/${path}`, make(5))).refused('RESOURCE_NOT_FOUND');
  });

  it('are changed by those who may', async () => {
    const thing = (await by().post<Thing>(at(), make(6))).done(201);
    (await viewer.post(at(), make(7))).refused('FORBIDDEN');
    (await viewer.patch(`${at()}/${thing.id}`, change)).refused('FORBIDDEN');
    (await viewer.delete(`${at()}/${thing.id}`)).refused('FORBIDDEN');
    if (type !== 'device') (await operator.post(at(), make(7))).refused('FORBIDDEN');
  });

  it.each(['id', 'workspaceId', 'version', 'revision', 'createdAt', '__proto__x', 'constructor'])('take no %s from outside', async (field) => {
    (await by().post(at(), { ...make(8), [field]: 'default' })).refused('RESOURCE_INVALID');
    const thing = (await by().post<Thing>(at(), make(9))).done(201);
    (await by().patch(`${at()}/${thing.id}`, { ...change, [field]: 'default' })).refused('RESOURCE_INVALID');
    (await by().delete(`${at()}/${thing.id}`)).done(204);
  });

  it.each(["'; DROP TABLE devices; --", '" OR ""="', '%', '__proto__'])('take %j for an id that is not there', async (id) => {
    (await by().get(`${at()}/${encodeURIComponent(id)}`)).refused('RESOURCE_NOT_FOUND');
    (await by().delete(`${at()}/${encodeURIComponent(id)}`)).refused('RESOURCE_NOT_FOUND');
  });

  it('are listed page by page', async () => {
    const paged = await api.workspace(`paged-${path}`);
    const ids = new Set<string>();
    for (let n = 10; n < 15; n += 1) ids.add((await api.administrator.post<Thing>(`/workspaces/${paged}/${path}`, make(n))).done(201).id);
    const seen = (await api.administrator.all<Thing>(`/workspaces/${paged}/${path}?limit=2`)).map(({ id }) => id);

    expect(seen).toHaveLength(5);
    expect(new Set(seen)).toEqual(ids);
    (await viewer.get(`${at()}?limit=1000000000`)).refused('RESOURCE_INVALID');
    (await viewer.get(`${at()}?cursor=x`)).refused('CURSOR_INVALID');
  });
});

describe('event definitions', () => {
  const at = () => `/workspaces/${team}/event-definitions`;

  it('count a revision with each change of the schema, and only then', async () => {
    const thing = (await developer.post<Thing>(at(), { name: 'revised', schema: {} })).done(201);
    expect((await developer.patch(`${at()}/${thing.id}`, { description: 'words' })).done(200)).toMatchObject({ version: 2, revision: 1 });
    expect((await developer.patch(`${at()}/${thing.id}`, { schema: { type: 'object' } })).done(200)).toMatchObject({ version: 3, revision: 2 });
  });

  it.each([
    ['what is no schema', { type: 'nonsense' }, '/schema/type'],
    ['a remote reference', { $ref: 'https://rooms.example/schema' }, '/schema/$ref'],
    ['an expression that runs away', { properties: { a: { pattern: '(a+)+$' } } }, '/schema/properties/a/pattern'],
  ])('refuse %s with a pointer', async (_what, schema, pointer) => {
    const { errors } = (await developer.post(at(), { name: 'unfit', schema })).refused('RESOURCE_INVALID');
    expect(errors?.map((error) => error.pointer)).toContain(pointer);
    const thing = (await developer.post<Thing>(at(), { name: `fit${pointer}`, schema: {} })).done(201);
    (await developer.patch(`${at()}/${thing.id}`, { schema })).refused('RESOURCE_INVALID');
  });

  it.each([['U+0000', { const: 'a\u0000' }], ['half a pair', { const: '\ud800' }], ['U+0000 in a name', { properties: { '\u0000': {} } }]])('refuse %s, which no database holds', async (_what, schema) => {
    (await developer.post(at(), { name: 'unstorable', schema })).refused('RESOURCE_INVALID');
  });

  it('are found by name', async () => {
    (await developer.post(at(), { name: 'named/thing', schema: {} })).done(201);
    expect(await viewer.all<{ name: string }>(`${at()}?name=${encodeURIComponent('named/thing')}`)).toMatchObject([{ name: 'named/thing' }]);
    expect(await viewer.all(`${at()}?name=${encodeURIComponent("' OR 1=1 --")}`)).toEqual([]);
    (await viewer.get(`${at()}?name=%00`)).refused('RESOURCE_INVALID');
  });
});

describe('devices', () => {
  const at = () => `/workspaces/${team}/devices`;

  it('are found by room and by repeater', async () => {
    (await operator.post(at(), { room: 'R1', name: 'a', repeater: 'east', address: 'http://10.0.0.1/' })).done(201);
    (await operator.post(at(), { room: 'R1', name: 'b', repeater: 'west', address: 'http://10.0.0.1/' })).done(201);
    expect(await viewer.all<{ name: string }>(`${at()}?room=R1&repeater=east`)).toMatchObject([{ name: 'a' }]);
  });

  it.each(['ftp://10.0.0.1/', 'http://user:password@10.0.0.1/', 'not a url', 'http://10.0.0.1/\u0000', ''])('refuse the address %j', async (address) => {
    (await operator.post(at(), { room: 'R2', name: 'a', repeater: 'east', address })).refused('RESOURCE_INVALID');
  });
});
