import { createAccessKey } from '@carillon/access';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Answer } from '../config-manager.fixture.ts';
import type { Route } from '../http/route.ts';
import { createSessionToken } from '../auth/tokens.ts';
import { EVERYTHING, everythingBut, openScene, type Scene, type Walker } from './scene.fixture.ts';
import { everythingStored } from './stored.fixture.ts';
import { LADDER, makeThing, pathOf, WALKED, type Aim, type Walked } from './walked-routes.fixture.ts';

let scene: Scene;
let refusedEverywhere: Readonly<Record<string, Walker>>;
let outsiders: Readonly<Record<string, Walker>>;
let messenger: Walker;
let poorKey: Walker;
let fullKey: Walker;
const people = new Map<string, Walker>();
const above = new Map<string, Walker>();

beforeAll(async () => {
  scene = await openScene();
  for (const role of LADDER) {
    people.set(role, await scene.person({ team: role }));
    above.set(role, await scene.person({ root: role }));
  }
  fullKey = await scene.key('team', { resources: EVERYTHING });
  poorKey = await scene.key('team', { resources: {} });
  messenger = await scene.key('team', { kind: 'messenger' });
  outsiders = {
    'a person without a role': await scene.person(),
    'an owner elsewhere': await scene.person({ foreign: 'owner' }), 'an owner beside': await scene.person({ sibling: 'owner' }), 'an owner below': await scene.person({ lab: 'owner' }),
    'a key of elsewhere': await scene.key('foreign', { resources: EVERYTHING }), 'a key of beside': await scene.key('sibling', { resources: EVERYTHING }), 'a key of below': await scene.key('lab', { resources: EVERYTHING }),
    'a key of above for above alone': await scene.key('root', { resources: onlyAt('') }),
    'a key of above for beside': await scene.key('root', { resources: onlyAt('team-b', 'team-b/*', 'tea', 'tea*', 'team*', '*/x', '/team', 'team/') }),
    'a key without rights': poorKey,
  };
  refusedEverywhere = await withoutGoodCredential();
}, 60_000);
afterAll(() => scene.stop());

function onlyAt(...paths: readonly string[]) {
  return Object.fromEntries(Object.entries(EVERYTHING).map(([resource, actions]) => [resource, Object.fromEntries(Object.keys(actions).map((action) => [action, [...paths]]))]));
}

async function withoutGoodCredential(): Promise<Readonly<Record<string, Walker>>> {
  const { store } = scene.manager;
  const past = new Date(Date.now() - 1_000).toISOString();
  const bearer = (text: string) => scene.as({ authorization: `Bearer ${text}` });
  const revokedKey = await scene.key('team', { resources: EVERYTHING });
  await store.keys.revoke(revokedKey.id);
  const revoked = await scene.person({ team: 'owner' });
  await store.sessions.revokeAll(revoked.id);
  const disabled = await scene.person({ team: 'owner' });
  await store.users.update(disabled.id, { disabled: true });
  return {
    'a made-up session': bearer(createSessionToken()), 'a made-up key': bearer(createAccessKey().key), garbage: bearer('garbage'), 'another scheme': scene.as({ authorization: 'Basic YWRtaW46YWRtaW4=' }),
    'a credential of 10,000 characters': bearer('x'.repeat(10_000)), 'a session in a header for keys that is none': scene.as({ 'x-access-key': "' OR 1=1 --" }),
    'an expired session': await scene.person({ team: 'owner' }, { sessionEndsAt: past }), 'a revoked session': revoked, 'a session of a disabled person': disabled,
    'an expired key': await scene.key('team', { resources: EVERYTHING, expiresAt: past }), 'a revoked key': revokedKey,
  };
}

const routeOf = (name: string): Route => {
  const route = scene.manager.manager.routes.find((served) => served.name === name);
  if (route === undefined) throw new Error(`${name} is in the table of the walk and is not served: take it out`);
  return route;
};
const call = (by: Walker, route: Route, aim: Aim, instead: { readonly ids?: Record<string, string>; readonly body?: unknown } = {}) =>
  by.call(route.method, pathOf(route.path, aim, scene, instead.ids), { body: instead.body ?? aim.body });
const aimAt = async (name: string, by: Walker): Promise<Aim> => (await WALKED[name]?.aim?.(scene, by)) ?? {};

describe('the walk', () => {
  it('knows every route that is served, and every one is in the OpenAPI document', async () => {
    const served = scene.manager.manager.routes.map(({ name, method, path }) => `${name} ${method} ${path.replaceAll(/:([A-Za-z]+)/g, '{$1}')}`).sort();
    const document = (await scene.nobody.call<{ paths: Record<string, Record<string, { operationId: string }>> }>('GET', '//openapi.json')).body;
    const documented = Object.entries(document.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, { operationId }]) => `${operationId} ${method.toUpperCase()} ${path}`)).sort();
    expect(documented).toEqual(served);
    for (const { name } of scene.manager.manager.routes) expect(WALKED, `the route ${name} is new: say in walked-routes.fixture.ts for whom it is and how it is called`).toHaveProperty(name);
    expect(Object.keys(WALKED).sort()).toEqual(scene.manager.manager.routes.map(({ name }) => name).sort());
  });

  describe.each(Object.entries(WALKED))('%s', (name, walked) => {
    if (walked.for !== 'everybody') {
      it('refuses whoever may not, and changes nothing', async () => {
        const target = await targetOf(name, walked);
        const before = await everythingStored(scene.manager.store);
        await Promise.all([refusesWithoutCredential(target), refusesTheWrongKind(target, walked), 'key' in walked ? refusesInWorkspace(target, walked) : undefined]);
        expect(await everythingStored(scene.manager.store)).toEqual(before);
      });
    }

    it('serves whoever may', async () => {
      for (const [who, by] of allowed(walked)) {
        const answer = await call(by, routeOf(name), await aimAt(name, by));
        expect(answer.status, `${who}: ${answer.text}`).toBe(walked.status);
      }
    });
  });

  it('lets no secret out, and says nothing of what is inside', () => scene.expectNoLeaks());
});

function allowed(walked: Walked): readonly (readonly [string, Walker])[] {
  switch (walked.for) {
    case 'everybody': return [['nobody', scene.nobody], ['a person', people.get('viewer') as Walker], ['garbage', refusedEverywhere['garbage'] as Walker], ['a messenger', messenger]];
    case 'signed-in': return [['a person', outsiders['a person without a role'] as Walker], ['a key', fullKey], ['a key without rights', poorKey]];
    case 'person': return [['a person', people.get('viewer') as Walker], ['a person without a role', outsiders['a person without a role'] as Walker]];
    case 'administrator': return [['an administrator', scene.administrator]];
    default: {
      const may = LADDER.slice(LADDER.indexOf(walked.for));
      return [...may.map((role) => [role, people.get(role) as Walker] as const), [`${walked.for} above`, above.get(walked.for) as Walker], ['an administrator', scene.administrator], ['a key', fullKey]];
    }
  }
}

/** One call, and what else is needed to ask for the same in the wrong place or without the right. */
interface Target {
  readonly route: Route;
  readonly aim: Aim;
  /** A key that has all rights but the one that the route asks for. */
  readonly lacking: Walker | undefined;
  /** Of another workspace, of the same kind as what the path names. */
  readonly foreign: string | undefined;
}

async function targetOf(name: string, walked: Walked): Promise<Target> {
  return {
    route: routeOf(name), aim: await aimAt(name, scene.administrator),
    lacking: 'key' in walked ? await scene.key('team', { resources: everythingBut(...walked.key) }) : undefined,
    foreign: walked.thing === undefined ? undefined : await makeThing(walked.thing, scene, scene.ids.foreign),
  };
}

async function refusesWithoutCredential({ route, aim }: Target): Promise<void> {
  expectRefused(await call(scene.nobody, route, aim), 401, 'CREDENTIAL_REQUIRED', 'nobody');
  for (const [who, by] of Object.entries(refusedEverywhere)) expectRefused(await call(by, route, aim), 401, 'CREDENTIAL_INVALID', who);
  expectRefused(await call(messenger, route, aim), 403, 'FORBIDDEN', 'a messenger');
}

async function refusesTheWrongKind({ route, aim }: Target, walked: Walked): Promise<void> {
  if (walked.for !== 'person' && walked.for !== 'administrator') return;
  expectRefused(await call(fullKey, route, aim), 403, 'FORBIDDEN', 'a key');
  if (walked.for === 'administrator') for (const [role, by] of [...people, ...above]) expectRefused(await call(by, route, aim), 403, 'FORBIDDEN', role);
}

async function refusesInWorkspace({ route, aim, lacking, foreign }: Target, walked: Extract<Walked, { readonly key: unknown }>): Promise<void> {
  for (const role of LADDER.slice(0, LADDER.indexOf(walked.for))) {
    for (const by of [people.get(role), above.get(role)]) expectRefused(await call(by as Walker, route, aim), 403, 'FORBIDDEN', role);
  }
  // Who may not read a workspace does not hear that it is there.
  const [status, code] = walked.key.join(' ') === 'workspaces read' ? [404, 'RESOURCE_NOT_FOUND'] as const : [403, 'FORBIDDEN'] as const;
  expectRefused(await call(lacking as Walker, route, aim), status, code, 'a key that lacks it');
  const isInBody = typeof aim.body === 'object' && aim.body !== null && 'parentId' in aim.body;
  const nowhere = { ids: { workspaceId: 'ws_nobody' }, body: isInBody ? { ...aim.body, parentId: 'ws_nobody' } : aim.body };
  for (const [who, by] of Object.entries(outsiders)) expectSame(await call(by, route, aim), await call(by, route, aim, nowhere), who);
  if (walked.thing === undefined || foreign === undefined) return;
  for (const by of [people.get('owner') as Walker, scene.administrator, fullKey]) {
    expectSame(await call(by, route, aim, { ids: { [walked.thing.parameter]: foreign } }), await call(by, route, aim, { ids: { [walked.thing.parameter]: 'nobody' } }), 'a thing of another workspace');
  }
}

function expectRefused({ status, code, text }: Answer<unknown>, wanted: number, wantedCode: string, who: string): void {
  expect({ status, code }, `${who}: ${text}`).toEqual({ status: wanted, code: wantedCode });
}

/** Not found, in the same words as what never was. */
function expectSame(there: Answer<unknown>, nowhere: Answer<unknown>, who: string): void {
  expectRefused(there, 404, 'RESOURCE_NOT_FOUND', who);
  const plain = ({ text, headers }: Answer<unknown>) => ({ text: text.replace(/"instance":"[^"]*"/, ''), headers: [...headers].filter(([name]) => name !== 'x-request-id' && name !== 'date') });
  expect(plain(there), who).toEqual(plain(nowhere));
}
