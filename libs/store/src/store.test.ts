import { join } from 'node:path';

import { CarillonError } from '@carillon/wire';
import { eventually, startFaultProxy, trackResources } from '@carillon/testing';
import { describe, expect, it } from 'vitest';

import { startEmbeddedPostgres } from './embedded/embedded-postgres.ts';
import { FAST, silent, usePostgres, useTemporaryDirectory } from './postgres.fixture.ts';
import { expectCode, keyEntry, makeKey, makeUser, makeWorkspace } from './samples.fixture.ts';
import { openStore } from './store.ts';

// A server whose own time zone is far from UTC, since Prisma's adapter leaves zones out.
const postgres = usePostgres({ settings: { timezone: 'Pacific/Auckland' } });
const directory = useTemporaryDirectory();

const gate = () => {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { open: () => open(), opened };
};

describe('a change', () => {
  it('is done as a whole or not at all, and gives back what it resolves with', async () => {
    const store = await postgres.open();
    expect(await store.change(async (tx) => (await makeWorkspace(tx, { name: 'kept' })).path)).toBe('kept');
    const failure = new RangeError('of the caller');
    await expect(store.change(async (tx) => {
      await makeWorkspace(tx, { name: 'lost' });
      throw failure;
    })).rejects.toBe(failure);
    expect(await store.workspaces.byPath('lost')).toBeUndefined();
    expect(await store.workspaces.byPath('kept')).toBeDefined();
  });

  it('is not seen by others before it is done', async () => {
    const store = await postgres.open();
    const { open, opened } = gate();
    const changing = store.change(async (tx) => {
      await makeWorkspace(tx, { name: 'w' });
      expect(await tx.workspaces.byPath('w')).toBeDefined();
      await opened;
    });
    expect(await store.workspaces.byPath('w')).toBeUndefined();
    open();
    await changing;
    expect(await store.workspaces.byPath('w')).toBeDefined();
  });

  it('fails with a failed statement, also one whose refusal was caught', async () => {
    const store = await postgres.open();
    const { id } = await makeWorkspace(store);
    await makeKey(store, id, { id: 'taken' });
    const ways = [makeKey, async (tx: typeof store) => tx.knownSources.add('us_none', 's')] as const;
    for (const way of ways) {
      const swallowed = store.change(async (tx) => {
        await makeWorkspace(tx, { name: 'rolled-back' });
        await way(tx as typeof store, id, { id: 'taken' }).catch(() => undefined);
      });
      await expect(swallowed).rejects.toBeInstanceOf(CarillonError);
      expect(await store.workspaces.byPath('rolled-back')).toBeUndefined();
    }
  });

  it('goes on after a refusal that the database has no part in', async () => {
    const store = await postgres.open();
    const user = await makeUser(store);
    await store.change(async (tx) => {
      await expectCode('PRECONDITION_FAILED', tx.users.update(user.id, { name: 'x' }, 7));
      await expectCode('RESOURCE_NOT_FOUND', tx.keys.delete('none'));
      await makeWorkspace(tx, { name: 'done' });
    });
    expect(await store.workspaces.byPath('done')).toBeDefined();
  });

  it('is done again after a deadlock', async () => {
    const store = await postgres.open();
    const [a, b] = [await makeUser(store), await makeUser(store)];
    let tries = 0;
    const both = [gate(), gate()] as const;
    const rename = async (first: string, second: string, own: 0 | 1) =>
      store.change(async (tx) => {
        tries += 1;
        await tx.users.update(first, { name: `by ${own}` });
        both[own].open();
        await both[own === 0 ? 1 : 0].opened;
        await tx.users.update(second, { name: `by ${own}` });
      });
    await Promise.all([rename(a.id, b.id, 0), rename(b.id, a.id, 1)]);
    expect(tries).toBe(3);
    const [one, two] = [await store.users.get(a.id), await store.users.get(b.id)];
    expect(one?.name).toBe(two?.name);
    expect([one?.version, two?.version]).toEqual([3, 3]);
    // Nothing was the matter with the database.
    expect(store.counts.failures).toBe(0);
  });

  it('refuses statements after it has ended', async () => {
    const store = await postgres.open();
    const late = await store.change(async (tx) => tx);
    await expectCode('STORE_UNAVAILABLE', late.feed.put(keyEntry('w', 'k')));
    await expectCode('STORE_UNAVAILABLE', late.users.count());
    expect(await store.feed.head()).toBe(0);
  });
});

describe('times', () => {
  it('are right whatever zone the server is in', async () => {
    const url = await postgres.create();
    const store = await postgres.open({ url });
    const { id, createdAt } = await makeWorkspace(store);
    expect(Math.abs(Date.parse(createdAt) - Date.now())).toBeLessThan(60_000);
    const [row] = await postgres.ask(url, 'SELECT created_at FROM workspaces WHERE id = $1', [id]);
    expect((row?.['created_at'] as Date).toISOString()).toBe(createdAt);
  });
});

describe('the store', () => {
  it('says STORE_UNAVAILABLE while PostgreSQL is away, and heals when it is back', { timeout: 60_000 }, async () => {
    const dir = join(directory.path, 'away');
    const server = await startEmbeddedPostgres({ dir, settings: FAST });
    directory.own(server);
    const lines: string[] = [];
    const store = await postgres.open({ url: server.url, log: ({ text }) => lines.push(text) });
    const { id } = await makeWorkspace(store, { name: 'w' });
    const { open, opened } = gate();
    const broken = store.change(async (tx) => {
      await makeKey(tx, id, { id: 'lost' });
      await opened;
      await tx.feed.put(keyEntry(id, 'lost'));
    });
    const refused = expectCode('STORE_UNAVAILABLE', broken);
    await eventually(async () => (await store.ping()) === true);
    await server.stop();
    open();
    await refused;
    expect(await store.ping()).toBe(false);
    await expectCode('STORE_UNAVAILABLE', store.workspaces.get(id));
    await expectCode('STORE_UNAVAILABLE', store.feed.head());
    await expectCode('STORE_UNAVAILABLE', store.change(async (tx) => tx.feed.head()));
    expect(store.counts.failures).toBeGreaterThan(3);
    directory.own(await startEmbeddedPostgres({ dir, settings: FAST }));
    expect(await eventually(async () => store.ping())).toBe(true);
    expect(await store.keys.get('lost')).toBeUndefined();
    expect(await store.workspaces.get(id)).toBeDefined();
    // Said once each, however many have asked.
    expect(lines.filter((text) => /database/.test(text))).toEqual(['Migrated the database', 'The database does not answer', 'The database answers again']);
  });

  it('starts an embedded server anew that was killed', { timeout: 60_000 }, async () => {
    const dataDir = join(directory.path, 'revived');
    const lines: { readonly text: string; readonly pid: unknown }[] = [];
    const store = await openStore({ dataDir, embeddedSettings: FAST, log: ({ text, fields }) => lines.push({ text, pid: fields['pid'] }) });
    try {
      expect(store.kind).toBe('embedded');
      await makeWorkspace(store, { name: 'kept' });
      let wakes = 0;
      store.onFeed(() => (wakes += 1));
      await eventually(() => wakes === 1);
      process.kill(Number(lines.find(({ text }) => text === 'Started the embedded PostgreSQL')?.pid), 'SIGKILL');
      await eventually(async () => (await store.workspaces.byPath('kept')) !== undefined, { timeoutMs: 20_000, what: 'the store to heal' });
      await eventually(() => wakes === 2, { what: 'the wake after the connection was away' });
      await eventually(() => lines.some(({ text }) => text === 'Started the embedded PostgreSQL anew'));
    } finally {
      await store.close();
    }
    await expectCode('STORE_UNAVAILABLE', store.users.count());
  });

  it('hands over an embedded server whose owner stops it', { timeout: 60_000 }, async () => {
    const dataDir = join(directory.path, 'shared');
    const options = { dataDir, embeddedSettings: FAST, log: silent };
    const owner = await openStore(options);
    const guest = await openStore(options);
    try {
      await makeWorkspace(owner, { name: 'w' });
      expect(await guest.workspaces.byPath('w')).toBeDefined();
      await owner.close();
      await eventually(async () => (await guest.workspaces.byPath('w')) !== undefined, { timeoutMs: 20_000 });
    } finally {
      await owner.close();
      await guest.close();
    }
  });

  it('tells those who wait too long for a connection to come back', { timeout: 30_000 }, async () => {
    const store = await postgres.open({ poolMax: 2 });
    const { open, opened } = gate();
    let holding = 0;
    const hold = async () => store.change(async () => {
      holding += 1;
      await opened;
    });
    const held = [hold(), hold()];
    await eventually(() => holding === 2);
    const waiting = [expectCode('STORE_UNAVAILABLE', store.users.count()), expectCode('STORE_UNAVAILABLE', store.feed.head()), expectCode('STORE_UNAVAILABLE', store.change(async (tx) => tx.users.count()))];
    expect(await store.ping()).toBe(false);
    await Promise.all(waiting);
    open();
    await Promise.all(held);
    expect(await store.users.count()).toBe(0);
    expect(await store.ping()).toBe(true);
  });

  it('answers a ping within its deadline when the server is silent', async () => {
    const target = new URL(await postgres.create());
    const proxy = await startFaultProxy({ targetPort: Number(target.port) });
    const store = await postgres.open({ url: Object.assign(new URL(target), { port: String(proxy.port) }).href });
    expect(await store.ping()).toBe(true);
    proxy.stall();
    const begun = performance.now();
    expect(await store.ping()).toBe(false);
    expect(performance.now() - begun).toBeLessThan(3_000);
    await proxy.heal();
    await eventually(async () => store.ping());
    await store.close();
    await proxy.stop();
  });

  it('shares a database with another one', async () => {
    const url = await postgres.create();
    const stores = await Promise.all(Array.from({ length: 4 }, async () => postgres.open({ url })));
    const outcomes = await Promise.allSettled(stores.map(async (store) => makeWorkspace(store, { name: 'same' })));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const store of stores) expect(await store.workspaces.byPath('same')).toBeDefined();
  });

  it('refuses to open what it cannot reach, without the password in its words', async () => {
    const url = new URL(postgres.url);
    const { password } = url;
    for (const wrong of [Object.assign(new URL(url), { port: '1' }), Object.assign(new URL(url), { pathname: '/none' }), Object.assign(new URL(url), { username: 'nobody' })]) {
      const fault = await expectCode('STORE_UNAVAILABLE', openStore({ url: wrong.href, dataDir: directory.path, log: silent }));
      expect(JSON.stringify([fault.message, fault.stack])).not.toContain(password);
    }
  });

  it('leaves nothing behind when it is closed, however often, with everything in use', async () => {
    const url = await postgres.create();
    await (await postgres.open({ url })).close();
    const released = trackResources();
    const store = await openStore({ url, dataDir: directory.path, log: silent });
    store.onFeed(() => undefined);
    const events: string[] = [];
    store.lead('closing', { gained: () => events.push('gained'), lost: () => events.push('lost') });
    await eventually(() => events.length === 1);
    await makeWorkspace(store);
    await Promise.all([store.close(), store.close()]);
    expect(events).toEqual(['gained', 'lost']);
    expect(await store.ping()).toBe(false);
    expect(() => store.onFeed(() => undefined)).toThrow(CarillonError);
    expect(() => store.lead('closing', { gained: () => undefined, lost: () => undefined })).toThrow(CarillonError);
    await released();
  });
});
