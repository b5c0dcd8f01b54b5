import { hashAccessKey } from '@carillon/access';
import { feedKey, type AccessKey, type AccessKeyWithSecret, type FeedRecord, type Role } from '@carillon/schemas';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { keyEntry } from '../feed/entries.ts';
import { EVERYTHING, openScene, type Scene, type Walker } from './scene.fixture.ts';
import { LADDER } from './walked-routes.fixture.ts';

// Whoever does whatever to keys, in whatever order: hubs are told what the API shows, no more and no less.

let scene: Scene;
const callers: Walker[] = [];
beforeAll(async () => {
  scene = await openScene();
  for (const role of LADDER) callers.push(await scene.person({ team: role }));
  callers.push(await scene.key('team', { resources: EVERYTHING }), await scene.key('team', { resources: { keys: { read: ['*'], update: ['*'] } } }), await scene.person({ sibling: 'owner' }));
}, 60_000);
afterAll(() => scene.stop());

const KINDS = ['messenger', 'repeater', 'hub-link', 'service', 'account'] as const;
const rules = fc.array(fc.constantFrom('*', 'ITB-*', 'ITB-**', 'a/b'), { maxLength: 3 });
const permissions = fc.record({ send: rules, receive: rules, deny: fc.record({ send: rules, receive: rules }) });
const limits = fc.record({ connections: fc.option(fc.integer({ min: 1, max: 9 })) }, { requiredKeys: [] });
const expiresAt = fc.constantFrom(null, '2999-01-01T00:00:00Z', '2998-12-31T23:30:00-02:00', '2001-01-01T00:00:00Z');

const change = fc.record({ name: fc.constantFrom('one', 'two'), permissions, limits, expiresAt }, { requiredKeys: [] });
const step = fc.record({
  by: fc.nat({ max: 7 }),
  /** Which of the keys that were made, counted from the last. */
  at: fc.nat({ max: 3 }),
  place: fc.constantFrom('team', 'lab'),
  act: fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom(...KINDS), name: fc.constant('a key'), permissions, limits, expiresAt }, { requiredKeys: ['kind', 'name'] }).map((body) => ({ method: 'POST', path: '', body })) },
    { weight: 4, arbitrary: change.map((body) => ({ method: 'PATCH', path: '/one', body })) },
    { weight: 3, arbitrary: fc.constantFrom(0, 600, 86_400).map((overlapSeconds) => ({ method: 'POST', path: '/one/rotate', body: { overlapSeconds } })) },
    { weight: 2, arbitrary: fc.constant({ method: 'DELETE', path: '/one', body: undefined }) },
    { weight: 1, arbitrary: fc.constantFrom<Role>('viewer', 'admin').map((role) => ({ method: 'POST', path: '/one/rotate', body: { role } })) },
  ),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** The key as it was last shown, with the SHA-256 of the secrets that were given out, the newest first. */
interface Shown {
  readonly workspaceId: string;
  readonly hashes: string[];
}

async function take({ by, at, place, act }: Step, shown: Map<string, Shown>): Promise<number> {
  const workspaceId = scene.ids[place];
  const ids = [...shown].filter(([, key]) => key.workspaceId === workspaceId).map(([id]) => id);
  const { status, body, text } = await (callers[by] as Walker).call<AccessKeyWithSecret>(act.method, `/workspaces/${workspaceId}/keys${act.path.replace('one', ids.at(-1 - at) ?? 'nobody')}`, { body: act.body });
  expect(status, text).toBeLessThan(500);
  if (status >= 300 || act.method !== 'POST') return status;
  const { key, accessKey } = body;
  const before = shown.get(key.id)?.hashes ?? [];
  shown.set(key.id, { workspaceId, hashes: [hashAccessKey(accessKey), ...before] });
  return status;
}

async function fed(): Promise<ReadonlyMap<string, FeedRecord>> {
  const records = new Map<string, FeedRecord>();
  for (let after: string | undefined; ; ) {
    const page = await scene.manager.store.feed.all(after, 200);
    for (const { key, record } of page) records.set(key, record);
    if (page.length < 200) return records;
    after = page.at(-1)?.key;
  }
}

/** What hubs have to be told of a key that the API shows so; undefined: nothing, ever. */
function wanted(key: AccessKey, hashes: readonly string[]): FeedRecord['entry'] | undefined {
  if (key.kind === 'account') return undefined;
  return keyEntry({ key, secrets: key.secrets.map(({ expiresAt: end }, at) => ({ hash: hashes[at] ?? '', expiresAt: end })) }) ?? null;
}

async function expectAgreement(shown: ReadonlyMap<string, Shown>): Promise<void> {
  const records = await fed();
  const positions = [...records.values()].map(({ seq }) => seq);
  expect(new Set(positions).size).toBe(positions.length);
  expect(Math.max(0, ...positions)).toBeLessThanOrEqual(await scene.manager.store.feed.head());
  for (const [id, { workspaceId, hashes }] of shown) {
    const { body: key } = await scene.administrator.call<AccessKey>('GET', `/workspaces/${workspaceId}/keys/${id}`);
    const record = records.get(feedKey({ type: 'key', workspaceId, id }));
    expect(record?.entry, JSON.stringify(key)).toEqual(wanted(key, hashes));
    if (key.revokedAt !== null && key.kind !== 'account') expect(record).toMatchObject({ entry: null });
  }
  // And of no key that the API does not show.
  const known = new Set([...shown.keys()]);
  for (const { entry } of records.values()) if (entry?.type === 'key') expect(known.has(entry.id), entry.id).toBe(true);
}

describe('the access feed', () => {
  it('is what the API shows, after any sequence of changes', { timeout: 60_000 }, async () => {
    const shown = new Map<string, Shown>();
    const statuses = new Set<string>();
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 20 }), async (steps) => {
        for (const each of steps) statuses.add(`${each.act.method} ${await take(each, shown)}`);
        await expectAgreement(shown);
      }),
      { numRuns: 30, endOnFailure: true },
    );
    // It was no walk of refusals alone.
    for (const done of ['POST 201', 'POST 200', 'PATCH 200', 'DELETE 204', 'POST 403', 'PATCH 403', 'DELETE 403', 'POST 404', 'POST 400']) expect([...statuses]).toContain(done);
  });

  it('is what the API shows when many do it at once', { timeout: 60_000 }, async () => {
    const owner = callers[LADDER.indexOf('owner')] as Walker;
    const path = `/workspaces/${scene.ids.team}/keys`;
    const make = async (): Promise<string> => (await owner.call<AccessKeyWithSecret>('POST', path, { body: { kind: 'messenger', name: 'contended' } })).body.key.id;
    const ids = await Promise.all(Array.from({ length: 10 }, make));
    for (const [at, id] of ids.entries()) {
      await Promise.all([
        owner.call('PATCH', `${path}/${id}`, { body: { permissions: { send: ['a'] } } }), owner.call('PATCH', `${path}/${id}`, { body: { permissions: { send: ['b'] }, name: 'other' } }),
        at % 2 === 0 ? owner.call('DELETE', `${path}/${id}`) : undefined, owner.call('POST', `${path}/${id}/rotate`, { body: {} }), owner.call('POST', `${path}/${id}/rotate`, { body: {} }), owner.call('PATCH', `${path}/${id}`, { body: { limits: { connections: 1 } } }),
      ]);
    }
    const records = await fed();
    for (const [at, id] of ids.entries()) {
      const kept = await scene.manager.store.keys.secrets(id);
      expect(kept?.key.revokedAt === null).toBe(at % 2 === 1);
      expect(records.get(feedKey({ type: 'key', workspaceId: scene.ids.team, id }))?.entry).toEqual(kept === undefined ? undefined : (keyEntry(kept) ?? null));
    }
  });

  it('lets no secret out, and says nothing of what is inside', () => scene.expectNoLeaks());
});
