import { createAccessKey } from '@carillon/access';
import { createInProcessExchange } from '@carillon/bus';
import { KEYS_USED_SUBJECT, NO_PERMISSIONS } from '@carillon/schemas';
import type { Store } from '@carillon/store';
import { eventually, trackResources } from '@carillon/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { noLog, startDatabase, type Database } from './feed.fixture.ts';
import { KeyUse } from './key-use.ts';

let released: ReturnType<typeof trackResources>;
let database: Database;
let store: Store;
beforeAll(async () => {
  released = trackResources();
  database = await startDatabase();
  store = await database.open();
  await store.workspaces.create({ id: 'default', name: 'default', parentId: null, validation: 'off', allowedOrigins: [], limits: {} });
});
afterAll(async () => {
  await store.close();
  await database.stop();
  await released();
});

async function makeKey(): Promise<string> {
  const { id, hash } = createAccessKey();
  await store.keys.create({ id, workspaceId: 'default', kind: 'messenger', name: 'k', permissions: NO_PERMISSIONS, resources: {}, limits: {}, expiresAt: null, secretHash: hash, publicKey: null });
  return id;
}

function listening(nowMs: number) {
  const exchange = createInProcessExchange();
  const [bus, other, hub] = [exchange.connect(), exchange.connect(), exchange.connect()];
  const uses = [bus, other].map((handle) => new KeyUse({ store, bus: handle, log: noLog, now: () => nowMs, flushIntervalMs: 3_600_000 }));
  const say = async (payload: unknown) => {
    hub.publish(KEYS_USED_SUBJECT, Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload)));
    await hub.flush();
  };
  const sum = (name: 'written' | 'ignored') => uses.reduce((total, { counts }) => total + counts[name], 0);
  const stop = async () => {
    await Promise.all(uses.map((use) => use.stop()));
    await Promise.all([bus, other, hub].map((handle) => handle.close()));
  };
  return { uses, say, sum, stop };
}

const lastUsed = async (id: string) => (await store.keys.get(id))?.lastUsedAt;
const at = (ms: number) => new Date(ms).toISOString();
const NOW_MS = Date.parse('2026-03-04T05:06:07.000Z');

describe('KeyUse', () => {
  it('writes the latest use of each key, once over all config-managers, when it stops at the latest', async () => {
    const [one, two] = [await makeKey(), await makeKey()];
    const { say, sum, stop } = listening(NOW_MS);
    await say({ used: [{ id: one, atMs: NOW_MS - 500 }, { id: two, atMs: NOW_MS - 400 }, { id: one, atMs: NOW_MS - 600 }] });
    expect(await lastUsed(one)).toBeNull();
    await stop();

    expect([await lastUsed(one), await lastUsed(two)]).toEqual([at(NOW_MS - 500), at(NOW_MS - 400)]);
    expect([sum('written'), sum('ignored')]).toEqual([2, 0]);
  });

  it('does not let a key seem used later than now, nor earlier than before', async () => {
    const id = await makeKey();
    const { uses, say, stop } = listening(NOW_MS);
    await say({ used: [{ id, atMs: NOW_MS + 86_400_000 }] });
    await Promise.all(uses.map((use) => use.flush()));
    expect(await lastUsed(id)).toBe(at(NOW_MS));
    await say({ used: [{ id, atMs: NOW_MS - 1 }] });
    await stop();

    expect(await lastUsed(id)).toBe(at(NOW_MS));
  });

  it('ignores and counts what is no use of a key', async () => {
    const id = await makeKey();
    const { say, sum, stop } = listening(NOW_MS);
    await say('nonsense');
    await say({ used: 'x' });
    await say({ used: [{ id: "'; DROP TABLE access_keys; --", atMs: 1 }, { id: 7, atMs: 1 }, { id: '', atMs: 1 }, { id, atMs: -1 }, { id, atMs: 1.5 }, null, { id: 'UnknownKey000000', atMs: 1 }, { id, atMs: 1 }] });
    await stop();

    expect(await lastUsed(id)).toBe(at(1));
    expect(sum('ignored')).toBe(8);
  });

  it('keeps what the database did not take', async () => {
    const id = await makeKey();
    const { uses, say, sum, stop } = listening(NOW_MS);
    await say({ used: [{ id, atMs: NOW_MS }] });
    database.kill();
    await eventually(async () => !(await store.ping()), { what: 'the database to be gone' });
    await Promise.all(uses.map((use) => use.flush()));
    expect(sum('written')).toBe(0);
    await database.restart();
    await eventually(async () => {
      await Promise.all(uses.map((use) => use.flush()));
      expect(await lastUsed(id)).toBe(at(NOW_MS));
    }, { timeoutMs: 30_000 });
    await stop();
  }, 60_000);
});
