import { CarillonError, connect, type Messenger } from '@carillon/messenger';
import { eventually, startNatsServer, stopAll, trackResources } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { countedBody } from './counted-event.ts';
import { HubProcess } from './hub-process.ts';
import { Reception } from './reception.ts';
import { pick, seededRandom, seedsOf } from './seeded-random.ts';

/**
 * Two hubs on one NATS, subscribers on both, four publishers that never stop, and kill -9 again and again. A subscriber is
 * back when it has got a marker that was published after the restart through each hub. Publishers on the hub that stays
 * and subscribers on the same hub must not notice: between them nothing may be missing.
 */
const ROUNDS = 20;
const SUBSCRIBERS = 20;
/** Of each publisher: few enough that this process and the hubs keep up beside other tests on two cores. */
const EVENTS_PER_SECOND = 100;
const TICK_MS = 10;
const MARKER_EVERY_MS = 25;
/** Recovery is a matter of one second (the figures tell); this leaves room for a machine that has other things to do. */
const RECOVERY_MAX_MS = 30_000;
const BACKOFF = { firstMs: 40, capMs: 200 };
const MARKERS = 'MARK-1';
/** What subscribers ask for, in turn: names, a pattern, everything. Each subscriber hears publishers of both hubs. */
const INTERESTS = [['LOAD-0', 'LOAD-1', MARKERS], ['LOAD-*', MARKERS], ['LOAD-2', 'LOAD-3', MARKERS], ['*']] as const;

let released: ReturnType<typeof trackResources>;

beforeEach(() => {
  released = trackResources();
});

afterEach(async () => {
  await stopAll();
  await released();
});

interface Subscriber {
  readonly hub: HubProcess;
  readonly rooms: readonly string[];
  readonly messenger: Messenger;
  readonly reception: Reception;
}

class Publisher {
  readonly id: string;
  readonly room: string;
  readonly hub: HubProcess;
  readonly messenger: Messenger;
  counter = 0;
  #timer: NodeJS.Timeout | undefined;
  #owed = 0;

  constructor(id: string, room: string, hub: HubProcess) {
    this.id = id;
    this.room = room;
    this.hub = hub;
    this.messenger = connect(hub.url, { backoff: BACKOFF });
  }

  publish(): void {
    this.counter += 1;
    // What waits when the messenger closes at the end is refused then; that is the end of the test, not its matter.
    this.messenger.send(this.room, countedBody(this.room, { publisher: this.id, counter: this.counter })).catch(() => undefined);
  }

  start(): void {
    let lastMs = performance.now();
    this.#timer = setInterval(() => {
      const nowMs = performance.now();
      this.#owed += ((nowMs - lastMs) * EVENTS_PER_SECOND) / 1_000;
      lastMs = nowMs;
      // A hub that is away is not flooded with what it missed: the point is order and repeats, not a full queue.
      if (this.messenger.state.status !== 'open') this.#owed = Math.min(this.#owed, 1);
      // Nor is what this process did not do while it stood still done all at once.
      this.#owed = Math.min(this.#owed, EVENTS_PER_SECOND / 4);
      for (; this.#owed >= 1; this.#owed -= 1) this.publish();
    }, TICK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

describe('a cluster of two hubs under kill -9', () => {
  it.each(seedsOf([7]))('heals by itself, with nothing twice, out of order or torn (seed %i)', async (seed) => {
    const random = seededRandom(seed);
    const nats = await startNatsServer();
    const env = { CARILLON_NATS_URL: nats.url };
    const hubs = await Promise.all([HubProcess.start('left', { env }), HubProcess.start('right', { env })]);
    const subscribers = Array.from({ length: SUBSCRIBERS }, (_, index): Subscriber => {
      const hub = hubs[index % 2] as HubProcess;
      const rooms = INTERESTS[Math.floor(index / 2) % INTERESTS.length] ?? ['*'];
      const messenger = connect(hub.url, { backoff: BACKOFF });
      const reception = new Reception();
      messenger.subscribe(rooms, reception.take);
      return { hub, rooms, messenger, reception };
    });
    // A frame that cannot be read never reaches a subscription: the messenger reports it.
    const faults = new Set<string>();
    for (const { messenger } of subscribers) {
      messenger.on('error', (error) => faults.add(error instanceof CarillonError ? error.code : error.message));
    }
    const publishers = [0, 1, 2, 3].map((index) => new Publisher(`p${index}`, `LOAD-${index}`, hubs[index % 2] as HubProcess));
    const markers = hubs.map((hub) => new Publisher(`marker-${hub.name}`, MARKERS, hub));

    /** Sends markers through both hubs until every subscriber has got one of each that is younger than this call. */
    const everybodyIsBack = async (): Promise<void> => {
      const since = markers.map(({ counter }) => counter);
      await eventually(
        () => {
          for (const marker of markers) if (marker.messenger.state.status === 'open') marker.publish();
          const waiting = subscribers.filter(({ reception }) => markers.some(({ id }, index) => reception.last(id) <= (since[index] as number)));
          if (waiting.length > 0) throw new Error(`${waiting.length} subscribers have not got a marker through each hub`);
        },
        { timeoutMs: RECOVERY_MAX_MS, intervalMs: MARKER_EVERY_MS, what: 'every subscriber to hear both hubs' },
      );
    };

    await everybodyIsBack();
    for (const publisher of publishers) publisher.start();
    const localPairs = (hub: HubProcess) =>
      subscribers.flatMap((subscriber) =>
        publishers
          .filter((publisher) => publisher.hub === hub && subscriber.hub === hub && hears(subscriber, publisher))
          .map((publisher) => ({ reception: subscriber.reception, publisher })));
    const caughtUp = async (hub: HubProcess): Promise<void> => {
      const marks = localPairs(hub).map(({ reception, publisher }) => ({ reception, id: publisher.id, counter: publisher.counter }));
      await eventually(() => marks.every(({ reception, id, counter }) => reception.last(id) >= counter), { what: 'local subscribers to catch up' });
    };

    let slowestRecoveryMs = 0;
    let localMissed = 0;
    const kills: Record<string, number> = {};
    for (let round = 1; round <= ROUNDS; round += 1) {
      const victim = pick(hubs, random);
      const survivor = hubs.find((hub) => hub !== victim) as HubProcess;
      kills[victim.name] = (kills[victim.name] ?? 0) + 1;
      await caughtUp(survivor);
      for (const { reception } of subscribers) reception.forgetMissed();

      const killedAtMs = performance.now();
      await victim.kill();
      await victim.start();
      await everybodyIsBack();
      slowestRecoveryMs = Math.max(slowestRecoveryMs, performance.now() - killedAtMs);

      expect(subscribers.map(({ messenger }) => messenger.state.status)).toEqual(subscribers.map(() => 'open'));
      await caughtUp(survivor);
      localMissed += localPairs(survivor).reduce((sum, { reception, publisher }) => sum + reception.missed(publisher.id), 0);
    }
    for (const publisher of publishers) publisher.stop();
    await everybodyIsBack();
    await Promise.all([...subscribers, ...publishers, ...markers].map(({ messenger }) => messenger.close()));

    const total = (count: (reception: Reception) => number): number => subscribers.reduce((sum, { reception }) => sum + count(reception), 0);
    const figures = {
      case: 'cluster-kill', seed, rounds: ROUNDS, kills,
      published: [...publishers, ...markers].reduce((sum, { counter }) => sum + counter, 0),
      delivered: total(({ delivered }) => delivered),
      duplicates: total(({ duplicates }) => duplicates),
      reordered: total(({ reordered }) => reordered),
      torn: total(({ torn }) => torn),
      localMissed,
      slowestRecoveryMs: Math.round(slowestRecoveryMs),
      faults: [...faults],
    };
    process.stdout.write(`${JSON.stringify(figures)}\n`);
    expect([...faults].filter((code) => /FRAME|TAG|ROOM|JSON/.test(code))).toEqual([]);
    expect(figures).toMatchObject({ duplicates: 0, reordered: 0, torn: 0, localMissed: 0 });
    expect(figures.delivered).toBeGreaterThan(figures.published);
  });
});

function hears({ rooms }: Subscriber, { room }: Publisher): boolean {
  return rooms.includes(room) || rooms.includes('LOAD-*') || rooms.includes('*');
}
