import type { Bus, BusLog } from '@carillon/bus';
import { FEED_BUCKET } from '@carillon/schemas';
import type { Store } from '@carillon/store';

import { startFeedBeat } from './feed-beat.ts';
import { FeedPublisher, type PublisherCounts } from './feed-publisher.ts';
import { Hubs } from './hubs.ts';
import { KeyUse } from './key-use.ts';

export interface FeedOptions {
  readonly store: Store;
  readonly bus: Bus;
  readonly log: BusLog;
  /** Copies of the bucket over a NATS cluster; 1 by default. */
  readonly replicas?: number;
  /** Makes a bucket that another installation has filled this one's; false by default. */
  readonly takeOver?: boolean;
}

/** Plain numbers for metrics. */
export interface FeedCounts extends PublisherCounts {
  /** 1 while this process is the one that publishes. */
  leading: number;
  /** Reports of hubs, and uses of keys, that were malformed or too many. */
  readonly ignored: number;
  /** Uses of keys handed to the database. */
  readonly keyUses: number;
}

export interface Feed {
  readonly counts: FeedCounts;
  readonly hubs: Hubs;
  /** Everything up to it is in the bucket; undefined when this process does not lead, or does not know yet. */
  readonly position: number | undefined;
  /** Gives every record a fresh position, so that the bucket and every reader get everything again. Resolves with how many; rejects with STORE_UNAVAILABLE. */
  republish(): Promise<number>;
  /** Gives the lead up and finishes what is under way; idempotent. */
  stop(): Promise<void>;
}

/** The name of the lead that all config-managers of one database contend for. */
const LEAD = 'feed';

/** Keeps the bus told of every change of configuration, and hears from hubs what they have applied and which keys were used. */
export function startFeed({ store, bus, log, replicas, takeOver = false }: FeedOptions): Feed {
  const values = bus.keyValues(FEED_BUCKET, replicas === undefined ? {} : { replicas });
  const hubs = new Hubs(bus);
  const keyUse = new KeyUse({ store, bus, log });
  const counts: FeedCounts = {
    leading: 0, pending: 0, oldestPendingMs: 0, published: 0, restored: 0, renewed: 0, failures: 0, foreign: 0,
    get ignored() {
      return hubs.ignored + keyUse.counts.ignored;
    },
    get keyUses() {
      return keyUse.counts.written;
    },
  };
  let publisher: FeedPublisher | undefined;
  // The next lead of this process waits until the last one has nothing under way.
  let turn: Promise<void> = Promise.resolve();
  const lead = store.lead(LEAD, {
    gained: () => {
      counts.leading = 1;
      turn = turn.then(() => {
        if (counts.leading === 1) publisher = new FeedPublisher({ store, bus, values, counts, takeOver, log });
      });
    },
    lost: () => giveUp(),
  });
  const giveUp = () => {
    counts.leading = 0;
    turn = turn.then(async () => {
      const last = publisher;
      publisher = undefined;
      await last?.stop();
    });
  };
  const stopBeat = startFeedBeat(bus, () => publisher?.position);

  const stop = async () => {
    stopBeat();
    giveUp();
    await turn;
    await Promise.all([lead.stop(), hubs.stop(), keyUse.stop()]);
    giveUp();
    await turn;
  };
  let stopped: Promise<void> | undefined;
  return {
    counts,
    hubs,
    get position() {
      return publisher?.position;
    },
    republish: () => store.change((tx) => tx.feed.again()),
    stop: () => (stopped ??= stop()),
  };
}
