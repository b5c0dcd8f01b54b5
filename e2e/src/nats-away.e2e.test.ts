import { connect, type Messenger } from '@carillon/messenger';
import { eventually, startNatsServer, stopAll, trackResources } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { countedBody } from './counted-event.ts';
import { HubProcess } from './hub-process.ts';
import { Reception } from './reception.ts';

/** What a cluster does when its NATS is gone: each hub goes on alone, says so, counts what the others miss, and comes back by itself. */
const ROOM = 'AWAY-1';
const AWAY_EVENTS = 50;
const DETECTED_WITHIN_MS = 10_000;
const HEALED_WITHIN_MS = 20_000;
const BACKOFF = { firstMs: 40, capMs: 200 };

let released: ReturnType<typeof trackResources>;

beforeEach(() => {
  released = trackResources();
});

afterEach(async () => {
  await stopAll();
  await released();
});

interface Side {
  readonly hub: HubProcess;
  readonly publisher: Messenger;
  readonly subscriber: Messenger;
  readonly reception: Reception;
}

async function startSide(name: string, natsUrl: string): Promise<Side> {
  const hub = await HubProcess.start(name, { env: { CARILLON_NATS_URL: natsUrl } });
  const reception = new Reception();
  const subscriber = connect(hub.url, { backoff: BACKOFF });
  subscriber.subscribe([ROOM], reception.take);
  return { hub, publisher: connect(hub.url, { backoff: BACKOFF }), subscriber, reception };
}

describe('a cluster whose NATS dies', () => {
  it('keeps local rooms going, tells, counts what did not cross, and heals by itself', async () => {
    const nats = await startNatsServer();
    const [left, right] = await Promise.all([startSide('left', nats.url), startSide('right', nats.url)]);
    const sides = [left, right];
    let counter = 0;
    const publish = async ({ hub, publisher }: Side): Promise<number> => {
      counter += 1;
      const marker = counter;
      await publisher.send(ROOM, countedBody(ROOM, { publisher: hub.name, counter: marker }));
      return marker;
    };
    const everybodyHearsEverybody = (timeoutMs: number): Promise<void> =>
      eventually(async () => {
        const sent = await Promise.all(sides.map(async (side) => ({ name: side.hub.name, marker: await publish(side) })));
        await eventually(() => sides.every(({ reception }) => sent.every(({ name, marker }) => reception.has(name, marker))), { timeoutMs: 300, intervalMs: 5 });
      }, { timeoutMs, what: 'both sides to hear both hubs' });
    const gauge = async ({ hub }: Side): Promise<number | undefined> => (await hub.metrics()).get('carillon_hub_cluster_connected');
    const busAwayDrops = async ({ hub }: Side): Promise<number> => (await hub.metrics()).get('carillon_hub_events_dropped_total', { reason: 'bus-away' }) ?? 0;

    await everybodyHearsEverybody(HEALED_WITHIN_MS);
    expect(await Promise.all(sides.map(gauge))).toEqual([1, 1]);

    await nats.kill();
    for (const { hub } of sides) {
      await eventually(async () => expect((await hub.admin('/readyz')).status).toBe(503), { timeoutMs: DETECTED_WITHIN_MS, what: `${hub.name} to notice` });
      const { checks } = (await (await hub.admin('/readyz')).json()) as { checks: Record<string, unknown> };
      expect(JSON.stringify(checks['cluster'])).toMatch(/away/);
      expect((await hub.admin('/livez')).status).toBe(200);
      expect(await (await hub.call('GET', '/status')).json()).toMatchObject({ statuscode: 'sick', info: { hub: { cluster: 'away' } } });
    }
    expect(await Promise.all(sides.map(gauge))).toEqual([0, 0]);

    const dropsBefore = await busAwayDrops(left);
    const away: number[] = [];
    while (away.length < AWAY_EVENTS) away.push(await publish(left));
    await eventually(() => away.every((marker) => left.reception.has('left', marker)), { what: 'local events to arrive while NATS is away' });
    expect(away.filter((marker) => right.reception.has('left', marker))).toEqual([]);
    expect((await busAwayDrops(left)) - dropsBefore).toBe(AWAY_EVENTS);

    await nats.restart();
    await everybodyHearsEverybody(HEALED_WITHIN_MS);
    for (const { hub } of sides) await eventually(async () => expect((await hub.admin('/readyz')).status).toBe(200), { what: `${hub.name} to be ready` });
    expect(await Promise.all(sides.map(gauge))).toEqual([1, 1]);
    // What was dropped stays dropped: nothing comes late.
    expect(away.filter((marker) => right.reception.has('left', marker))).toEqual([]);
    expect(sides.map(({ reception: { duplicates, reordered, torn } }) => ({ duplicates, reordered, torn }))).toEqual(sides.map(() => ({ duplicates: 0, reordered: 0, torn: 0 })));

    await Promise.all(sides.flatMap(({ publisher, subscriber }) => [publisher.close(), subscriber.close()]));
  });

  it('starts without NATS, is not ready, serves local rooms, and joins when NATS comes', async () => {
    const nats = await startNatsServer();
    await nats.kill();
    const hub = await HubProcess.startUnready('early', { env: { CARILLON_NATS_URL: nats.url } });
    expect((await hub.admin('/readyz')).status).toBe(503);
    const reception = new Reception();
    const subscriber = connect(hub.url, { backoff: BACKOFF });
    subscriber.subscribe([ROOM], reception.take);
    const publisher = connect(hub.url, { backoff: BACKOFF });
    let counter = 0;
    await eventually(async () => {
      counter += 1;
      await publisher.send(ROOM, countedBody(ROOM, { publisher: 'early', counter }));
      return reception.last('early') > 0;
    }, { what: 'a local event' });

    await nats.restart();
    await eventually(async () => expect((await hub.admin('/readyz')).status).toBe(200), { timeoutMs: HEALED_WITHIN_MS, what: 'the hub to join' });
    await Promise.all([publisher.close(), subscriber.close()]);
  });
});
