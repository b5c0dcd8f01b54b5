import type { Store } from '@carillon/store';
import type { Bus } from '@carillon/bus';
import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { changeRoom, feedBucket, found, keptLog, natsBus, requireSame, startDatabase, type Database, type NatsTestBus } from './feed.fixture.ts';
import { startFeed, type Feed } from './feed.ts';

let released: ReturnType<typeof trackResources>;
let database: Database;
let store: Store;
beforeAll(async () => {
  released = trackResources();
  database = await startDatabase();
});
afterAll(async () => {
  await database.stop();
  await released();
});

describe('the feed', () => {
  let buses: NatsTestBus;
  let bus: Bus;
  let reader: Bus;
  let feed: Feed;
  let lines: string[];
  beforeEach(async () => {
    store = await database.open();
    buses = await natsBus();
    bus = buses.connect();
    reader = buses.connect();
    const kept = keptLog();
    lines = kept.lines;
    feed = startFeed({ store, bus, log: kept.log });
  });
  afterEach(async () => {
    await feed.stop();
    await buses.stop();
    await store.close();
  });

  const same = () => eventually(() => requireSame(store, reader), { timeoutMs: 30_000, what: 'the bucket to hold what the database holds' });
  /** Goes on making changes until told to stop; those that the database did not take are made again. */
  const keepChanging = (ids: number) => {
    let made = 0;
    let going = true;
    const running = (async () => {
      while (going) {
        made += 1;
        await changeRoom(store, `rp_outage${made % ids}`, `state-${made}`).catch(() => (made -= 1));
      }
    })();
    return { count: () => made, stop: () => ((going = false), running) };
  };

  it('loses nothing when nats-server is killed under it, and says so once', async () => {
    const changing = keepChanging(40);
    await eventually(() => feed.counts.published > 50);
    await buses.server.kill();
    const before = changing.count();
    await eventually(() => changing.count() > before + 30 && bus.state !== 'connected');
    await buses.server.restart();
    await eventually(() => feed.position !== undefined && feed.counts.published > before, { timeoutMs: 30_000 });
    await changing.stop();
    await same();

    expect(lines.filter((line) => line.startsWith('warn')).length).toBeLessThanOrEqual(2);
  }, 90_000);

  it('fills the bucket again when nats-server lost everything', async () => {
    await changeRoom(store, 'rp_wiped', 'A');
    await same();
    await buses.wipe();
    await same();

    expect((await found(feedBucket(reader))).has('ws_feed.room.rp_wiped')).toBe(true);
    expect(feed.counts.restored).toBeGreaterThan(0);
  }, 90_000);

  it('loses nothing when PostgreSQL is killed under it, and leads again', async () => {
    const changing = keepChanging(40);
    await eventually(() => feed.counts.published > 50);
    database.kill();
    await database.restart();
    const before = changing.count();
    await eventually(() => changing.count() > before + 50 && feed.counts.leading === 1, { timeoutMs: 30_000 });
    await changing.stop();
    await same();

    expect(feed.counts.leading).toBe(1);
  }, 90_000);

  it('takes a database that was restored from a backup for the truth', async () => {
    await changeRoom(store, 'rp_early', 'early');
    await same();
    await feed.stop();
    await store.close();
    await database.backUp();
    store = await database.open();
    feed = startFeed({ store, bus, log: keptLog().log });
    await changeRoom(store, 'rp_early', 'late');
    const lost = await changeRoom(store, 'rp_lost', 'late');
    await same();
    await feed.stop();
    await store.close();
    await database.restore();
    store = await database.open();
    await changeRoom(store, 'rp_new', 'other');
    feed = startFeed({ store, bus, log: keptLog().log });
    await eventually(async () => expect(await store.feed.head()).toBeGreaterThan(lost), { timeoutMs: 30_000 });
    await same();
    const entries = await found(feedBucket(reader));
    const record = (id: string) => JSON.parse(entries.get(`ws_feed.room.${id}`) ?? '{}') as { seq: number; entry: { pattern: string } | null };

    expect(record('rp_early').entry?.pattern).toBe('early');
    expect(record('rp_lost').entry).toBeNull();
    expect(record('rp_new').entry?.pattern).toBe('other');
    expect(Math.min(record('rp_early').seq, record('rp_lost').seq)).toBeGreaterThan(lost);
  }, 120_000);
});
