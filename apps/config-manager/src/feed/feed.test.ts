import { FEED_BEAT_SUBJECT } from '@carillon/schemas';
import type { Bus } from '@carillon/bus';
import type { Store } from '@carillon/store';
import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { changeRoom, feedBucket, found, inProcessBus, natsBus, noLog, requireSame, room, startDatabase, textOf, type Database, type TestBus } from './feed.fixture.ts';
import { startFeed, type Feed } from './feed.ts';

let released: ReturnType<typeof trackResources>;
let database: Database;
let store: Store;
beforeAll(async () => {
  released = trackResources();
  database = await startDatabase();
  store = await database.open();
});
afterAll(async () => {
  await store.close();
  await database.stop();
  await released();
});

const same = (bus: Bus) => eventually(() => requireSame(store, bus), { what: 'the bucket to hold what the database holds' });

describe.each([['in process', async () => inProcessBus()], ['NATS', natsBus]] as const)('the feed over a bus: %s', (_name, startBus) => {
  let buses: TestBus;
  let bus: Bus;
  let reader: Bus;
  let feed: Feed | undefined;
  const start = (): Feed => (feed = startFeed({ store, bus, log: noLog }));
  beforeEach(async () => {
    buses = await startBus();
    bus = buses.connect();
    reader = buses.connect();
  });
  afterEach(async () => {
    await feed?.stop();
    feed = undefined;
    await buses.stop();
  });

  it('fills an empty bucket, then brings each change', async () => {
    await changeRoom(store, 'rp_before', 'A');
    start();
    await same(reader);
    const seq = await changeRoom(store, 'rp_after', 'B');
    await eventually(async () => (await found(feedBucket(reader))).get('ws_feed.room.rp_after') === textOf({ seq, entry: room('rp_after', 'B') }));
    await same(reader);

    expect(feed?.counts).toMatchObject({ leading: 1, failures: 0 });
    expect(feed?.counts.published).toBeGreaterThan(0);
  });

  it('brings tombstones', async () => {
    await changeRoom(store, 'rp_gone', 'A');
    start();
    await same(reader);
    const seq = await store.change((tx) => tx.feed.remove(room('rp_gone', '')));

    await eventually(async () => (await found(feedBucket(reader))).get('ws_feed.room.rp_gone') === textOf({ seq, entry: null }));
  });

  it('brings a burst of 1,000 changes completely, each thing\'s last state last', async () => {
    const order = new Map<string, number[]>();
    let synced = false;
    feedBucket(reader).watch({
      synced: () => (synced = true),
      entry: ({ key, value }) => {
        const { seq } = JSON.parse(Buffer.from(value).toString('utf8')) as { seq: number };
        order.set(key, [...(order.get(key) ?? []), seq]);
      },
    });
    await eventually(() => synced);
    start();
    let made = 0;
    const change = async () => {
      while (made < 1_000) {
        made += 1;
        await changeRoom(store, `rp_burst${made % 90}`, `burst-${made}`);
      }
    };
    await Promise.all(Array.from({ length: 8 }, change));
    await same(reader);

    for (const seqs of order.values()) expect(seqs).toEqual([...seqs].sort((left, right) => left - right));
    await eventually(() => feed?.counts.pending === 0 && feed.counts.oldestPendingMs === 0);
  });

  it('puts a record again that was put and not marked, and leaves the rest alone', async () => {
    start();
    await same(reader);
    await feed?.stop();
    const seq = await changeRoom(store, 'rp_crash', 'A');
    await feedBucket(bus).put('ws_feed.room.rp_crash', Buffer.from(textOf({ seq, entry: room('rp_crash', 'A') })));
    const again = start();
    await same(reader);

    expect(again.counts).toMatchObject({ published: 1, restored: 0, renewed: 0, failures: 0 });
  });

  it('fills in what the bucket lacks or has older, also when it was marked', async () => {
    await changeRoom(store, 'rp_damaged', 'A');
    await changeRoom(store, 'rp_damaged', 'B');
    start();
    await same(reader);
    await feed?.stop();
    await feedBucket(bus).put('ws_feed.room.rp_damaged', Buffer.from(textOf({ seq: 1, entry: room('rp_damaged', 'A') })));
    const again = start();
    // The reader may not have seen the older state yet: that it is the same again says nothing before it was restored.
    await eventually(() => expect(again.counts).toMatchObject({ restored: 1, renewed: 0 }));
    await same(reader);
  });

  it('puts right what is overwritten with an older state behind its back', async () => {
    await changeRoom(store, 'rp_late', 'A');
    await changeRoom(store, 'rp_late', 'B');
    start();
    await same(reader);
    await feedBucket(reader).put('ws_feed.room.rp_late', Buffer.from(textOf({ seq: 1, entry: room('rp_late', 'A') })));

    await same(reader);
  });

  it('goes above the bucket when the bucket knows more than the database', async () => {
    await changeRoom(store, 'rp_kept', 'true');
    const future = (await store.feed.head()) + 1_000;
    const values = feedBucket(bus);
    await values.put('ws_feed.room.rp_kept', Buffer.from(textOf({ seq: future, entry: room('rp_kept', 'lost') })));
    await values.put('ws_feed.room.rp_lost', Buffer.from(textOf({ seq: future - 1, entry: room('rp_lost', 'lost') })));
    await values.put('foreign.thing', Buffer.from('not ours'));
    start();
    await eventually(async () => {
      const entries = await found(feedBucket(reader));
      const [kept, lost] = ['ws_feed.room.rp_kept', 'ws_feed.room.rp_lost'].map((key) => JSON.parse(entries.get(key) ?? '{}') as { seq: number; entry: unknown });
      expect(kept).toMatchObject({ entry: { pattern: 'true' } });
      expect(lost?.entry).toBeNull();
      expect(Math.min(kept?.seq ?? 0, lost?.seq ?? 0)).toBeGreaterThan(future);
    });

    expect(await store.feed.head()).toBeGreaterThan(future + 1);
    expect((await found(feedBucket(reader))).get('foreign.thing')).toBe('not ours');
  });

  it('has a record at the head after it went above tombstones alone', async () => {
    await changeRoom(store, 'rp_any', 'A');
    const future = (await store.feed.head()) + 50;
    await feedBucket(bus).put('ws_feed.room.rp_never', Buffer.from(textOf({ seq: future, entry: null })));
    start();
    await eventually(async () => expect(await store.feed.head()).toBeGreaterThan(future));
    await same(reader);
    const seqs = [...(await found(feedBucket(reader))).values()].map((text) => (JSON.parse(text) as { seq: number }).seq);

    expect(Math.max(...seqs)).toBe(await store.feed.head());
  });

  it('gives everything a fresh position when it is asked to', async () => {
    await changeRoom(store, 'rp_again', 'A');
    const started = start();
    await same(reader);
    const before = await found(feedBucket(reader));
    const head = await store.feed.head();
    const count = await started.republish();

    expect(count).toBe(before.size);
    expect(await store.feed.head()).toBe(head + count);
    await eventually(async () => {
      const after = await found(feedBucket(reader));
      for (const [key, text] of before) expect((JSON.parse(after.get(key) ?? '{}') as { seq: number }).seq, text).toBeGreaterThan(head);
    });
    await same(reader);
  });

  it('beats with the position up to which everything is in the bucket', async () => {
    const beats: number[] = [];
    reader.subscribe(FEED_BEAT_SUBJECT, { deliver: ({ payload }) => beats.push((JSON.parse(Buffer.from(payload).toString('utf8')) as { seq: number }).seq) });
    start();
    const seq = await changeRoom(store, 'rp_beat', 'A');
    await eventually(() => beats.at(-1) === seq);

    expect((await found(feedBucket(reader))).get('ws_feed.room.rp_beat')).toBe(textOf({ seq, entry: room('rp_beat', 'A') }));
  });

  it('has one leader of two, and the other when that one stops', async () => {
    const otherStore = await database.open();
    const first = start();
    await eventually(() => first.counts.leading === 1);
    const second = startFeed({ store: otherStore, bus: buses.connect(), log: noLog });
    await changeRoom(store, 'rp_first', 'A');
    await same(reader);
    expect([first.counts.leading, second.counts.leading]).toEqual([1, 0]);
    expect(second.counts.published).toBe(0);
    await first.stop();
    await eventually(() => second.counts.leading === 1);
    await changeRoom(store, 'rp_second', 'A');
    await same(reader);

    expect(second.counts.published).toBeGreaterThan(0);
    await second.stop();
    await otherStore.close();
  });
});
