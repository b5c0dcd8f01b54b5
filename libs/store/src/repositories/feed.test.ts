import { join } from 'node:path';

import { feedRecord } from '@carillon/schemas';
import { eventually } from '@carillon/testing';
import { describe, expect, it } from 'vitest';

import { startEmbeddedPostgres } from '../embedded/embedded-postgres.ts';
import { FAST, usePostgres, useTemporaryDirectory } from '../postgres.fixture.ts';
import { keyEntry, makeKey, makeWorkspace } from '../samples.fixture.ts';
import type { Repositories } from './repositories.ts';

const postgres = usePostgres();
const directory = useTemporaryDirectory();

const seqs = async (store: Repositories) => (await store.feed.pending(1_000)).map(({ record }) => record.seq);

describe('the feed', () => {
  it('keeps the latest record of each thing until it is published', async () => {
    const store = await postgres.open();
    expect(await store.feed.head()).toBe(0);
    expect(await store.feed.put(keyEntry('w', 'a'))).toBe(1);
    expect(await store.feed.put(keyEntry('w', 'b'))).toBe(2);
    expect(await store.feed.put({ ...keyEntry('w', 'a'), limits: { rooms: 3 } })).toBe(3);
    expect(await store.feed.remove({ type: 'key', workspaceId: 'w', id: 'b' })).toBe(4);
    expect(await store.feed.head()).toBe(4);
    const pending = await store.feed.pending(10);
    expect(pending).toEqual([
      { key: 'w.key.a', record: { seq: 3, entry: { ...keyEntry('w', 'a'), limits: { rooms: 3 } } } },
      { key: 'w.key.b', record: { seq: 4, entry: null } },
    ]);
    for (const { record } of pending) expect(feedRecord.parse(record)).toEqual(record);
    expect(await store.feed.pending(1)).toHaveLength(1);
    // What was read before it was written anew is not what is there now.
    await store.feed.published([{ key: 'w.key.a', seq: 1 }, { key: 'w.key.b', seq: 4 }, { key: 'none', seq: 1 }]);
    expect(await seqs(store)).toEqual([3]);
    await store.feed.published([{ key: 'w.key.a', seq: 3 }]);
    await store.feed.published([]);
    expect(await seqs(store)).toEqual([]);
    expect((await store.feed.all(undefined, 1)).map(({ key }) => key)).toEqual(['w.key.a']);
    expect((await store.feed.all('w.key.a', 10)).map(({ key, record }) => [key, record.seq])).toEqual([['w.key.b', 4]]);
    await store.feed.put(keyEntry('w', 'b'));
    expect(await seqs(store)).toEqual([5]);
  });

  it('takes all of a workspace out, and nothing of one whose id begins alike', async () => {
    const store = await postgres.open();
    for (const workspaceId of ['w', 'w1', 'v', 'w_']) for (const id of ['a', 'b']) await store.feed.put(keyEntry(workspaceId, id));
    await store.feed.remove({ type: 'key', workspaceId: 'w', id: 'b' });
    await store.feed.published((await store.feed.pending(100)).map(({ key, record }) => ({ key, seq: record.seq })));
    await store.feed.put({ type: 'workspace', id: 'w', workspaceId: 'w', path: 'w', anonymousKeyId: null, allowedOrigins: [], validation: 'off', limits: {} });
    expect(await store.feed.removeWorkspace('w')).toBe(12);
    expect(await store.feed.pending(10)).toEqual([
      { key: 'w.key.a', record: { seq: 11, entry: null } },
      { key: 'w.workspace.w', record: { seq: 12, entry: null } },
    ]);
    // Nothing is left to take out, so no position is spent.
    expect(await store.feed.removeWorkspace('w')).toBe(12);
    expect(await store.feed.removeWorkspace('none')).toBe(12);
  });

  it('gives a position back when its transaction does not commit', async () => {
    const store = await postgres.open();
    const { id } = await makeWorkspace(store);
    const failing = store.change(async (tx) => {
      await makeKey(tx, id, { id: 'k' });
      expect(await tx.feed.put(keyEntry(id, 'k'))).toBe(1);
      throw new TypeError('after the put');
    });
    await expect(failing).rejects.toThrow(TypeError);
    expect([await store.feed.head(), await seqs(store), await store.keys.get('k')]).toEqual([0, [], undefined]);
    expect(await store.feed.put(keyEntry(id, 'k'))).toBe(1);
  });

  it('hands out positions without gaps, in the order of commits, and a reader misses none', async () => {
    const url = await postgres.create();
    const [one, two, reader] = [await postgres.open({ url }), await postgres.open({ url }), await postgres.open({ url })];
    const { id: workspaceId } = await makeWorkspace(one);
    const seen: number[] = [];
    let writing = true;
    const read = async () => {
      for (;;) {
        const last = !writing;
        const records = await reader.feed.pending(7);
        seen.push(...records.map(({ record }) => record.seq));
        await reader.feed.published(records.map(({ key, record }) => ({ key, seq: record.seq })));
        if (last && records.length === 0) return;
      }
    };
    const reading = read();
    const write = async (at: number) => {
      await (at % 2 === 0 ? one : two).change(async (tx) => {
        const { id } = await makeKey(tx, workspaceId, { id: `k${at}` });
        await tx.feed.put(keyEntry(workspaceId, id));
        // One in ten thinks better of it after it has its position.
        if (at % 10 === 9) throw new RangeError('not this one');
      }).catch((error: unknown) => {
        if (!(error instanceof RangeError)) throw error;
      });
    };
    // More at a time than the two pools have connections, and few enough that none waits for one too long.
    await Promise.all(
      Array.from({ length: 25 }, async (_, lane) => {
        for (let at = lane; at < 200; at += 25) await write(at);
      }),
    ).finally(() => (writing = false));
    await reading;
    // Each was seen when it came, in order: a position never shows before a lower one.
    expect(seen).toEqual(Array.from({ length: 180 }, (_, at) => at + 1));
    expect(await one.feed.head()).toBe(180);
  });

  it('wakes its listeners at every commit and no rollback', async () => {
    const store = await postgres.open();
    let wakes = 0;
    const end = store.onFeed(() => (wakes += 1));
    await eventually(() => wakes === 1, { what: 'the wake at the connection' });
    await store.feed.put(keyEntry('w', 'a'));
    await eventually(() => wakes === 2, { what: 'the wake at a put' });
    await store.change(async (tx) => {
      await tx.feed.put(keyEntry('w', 'a'));
      throw new RangeError();
    }).catch(() => undefined);
    await store.feed.remove({ type: 'key', workspaceId: 'w', id: 'a' });
    await eventually(() => wakes === 3, { what: 'the wake at a removal' });
    await store.feed.removeWorkspace('w');
    await eventually(() => wakes === 4, { what: 'the wake at the removal of a workspace' });
    end();
  });

  it('loses nothing that was committed when PostgreSQL is killed', { timeout: 60_000 }, async () => {
    const dir = join(directory.path, 'killed');
    // The settings of a real one: what counts is what is on the disk.
    const server = await startEmbeddedPostgres({ dir });
    directory.own(server);
    const store = await postgres.open({ url: server.url });
    const { id: workspaceId } = await makeWorkspace(store);
    const committed: { readonly id: string; readonly seq: number }[] = [];
    let writing = true;
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      for (let at = 0; writing; at += 1) {
        const id = `k${writer}x${at}`;
        await store.change(async (tx) => {
          await makeKey(tx, workspaceId, { id });
          return { id, seq: await tx.feed.put(keyEntry(workspaceId, id)) };
        }).then((done) => committed.push(done), () => undefined);
      }
    });
    await eventually(() => committed.length > 50);
    server.kill();
    const before = committed.length;
    directory.own(await startEmbeddedPostgres({ dir, settings: FAST }));
    await eventually(() => committed.length > before + 50, { timeoutMs: 20_000, what: 'the writers to go on' });
    writing = false;
    await Promise.all(writers);
    const records = await store.feed.pending(100_000);
    expect(records.map(({ record }) => record.seq)).toEqual(Array.from({ length: records.length }, (_, at) => at + 1));
    const bySeq = new Map(records.map(({ record }) => [record.seq, record.entry?.id]));
    for (const { id, seq } of committed) {
      expect(bySeq.get(seq)).toBe(id);
    }
    // A record and what it tells of are there together.
    for (const { record } of records) expect(await store.keys.get(record.entry?.id ?? '')).toBeDefined();
  });
});
