import { eventually, startNatsServer, stopAll, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { startClusterHub } from '../cluster/cluster-hub.fixture.ts';
import { closeAll, openTail, type TestHub, type TestTail } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(async () => {
  await closeAll();
  await stopAll();
});
afterAll(() => noLeaks());

/** Publishes `<name><n>`, a batch at a time. */
async function fill(hub: TestHub, name: string, batches: number): Promise<void> {
  for (let batch = 0; batch < batches; batch += 1) {
    const body = Array.from({ length: 20 }, (_, n) => JSON.stringify(`${name}${batch * 20 + n}`)).join('\n');
    const answer = await hub.call('POST', '/events?room=A', { body, headers: { 'content-type': 'application/x-ndjson' } });
    expect([answer.status, answer.headers.get('carillon-failed')]).toEqual([200, '0']);
  }
}

/** Places and bodies, in the order they came. */
const eventsOf = (tail: TestTail): (readonly [string, string])[] => [...tail.text().matchAll(/^id: (\S+)\ndata: A\ndata: "(.*)"\n\n/gm)].map(([, id = '', body = '']) => [id, body] as const);
const isLive = (tail: TestTail): boolean => tail.text().includes('event: live');

describe('events over HTTP at a cluster', () => {
  it('are one stream at every hub, with the same places: a reader comes back to any of them', async () => {
    const nats = await startNatsServer({ jetstream: true });
    const [a, b] = [await startClusterHub(nats), await startClusterHub(nats)];
    await fill(a, 'x', 2);
    const tails = [await openTail(a, '/rooms/A/events?since=seq:0'), await openTail(b, '/rooms/*/events?since=seq:0'), await openTail(b, '/rooms/A/events')];
    await eventually(() => tails.every(isLive), { what: 'the tails to be live' });
    await Promise.all([fill(a, 'a', 10), fill(b, 'b', 10)]);
    for (const tail of tails.slice(0, 2)) await eventually(() => expect(eventsOf(tail).length).toBe(440));
    const all = eventsOf(tails[0] as TestTail);
    const bodiesOf = (tail: TestTail | undefined): string[] => (tail === undefined ? [] : eventsOf(tail).map(([, body]) => body));
    const bodies = bodiesOf(tails[0]);
    expect(bodiesOf(tails[1])).toEqual(bodies);
    await eventually(() => expect(bodiesOf(tails[2])).toEqual(bodies.slice(40)));
    for (const name of ['a', 'b']) expect(bodies.filter((body) => body.startsWith(name))).toEqual(Array.from({ length: 200 }, (_, n) => `${name}${n}`));

    // Wherever it was: nothing is missing, and what comes again was the last that it had.
    for (const had of [20, 138, 440]) {
      const back = await openTail(b, '/rooms/A/events', { 'last-event-id': all[had - 1]?.[0] ?? '' });
      await eventually(() => isLive(back));
      const got = bodiesOf(back);
      expect(got.length).toBeGreaterThanOrEqual(440 - had);
      expect(got).toEqual(bodies.slice(440 - got.length));
    }
    const { events } = JSON.parse((await a.call('GET', '/rooms/A/history?limit=1000')).text) as { events: { seq: number; body: string }[] };
    expect(events.map(({ body }) => body)).toEqual(bodies);
    const place = events[137]?.seq;
    const page = async (hub: TestHub): Promise<string> => (await hub.call('GET', `/rooms/A/history?before=${place}&limit=50`)).text;
    expect(await page(b)).toBe(await page(a));
    expect((JSON.parse(await page(a)) as { events: { body: string }[] }).events.map(({ body }) => body)).toEqual(bodies.slice(87, 137));
  });

  it('wait for a log that is away, and go on when it is back', async () => {
    const nats = await startNatsServer({ jetstream: true });
    const hub = await startClusterHub(nats);
    await fill(hub, 'x', 1);
    const tail = await openTail(hub, '/rooms/A/events?since=seq:0');
    await eventually(() => isLive(tail));
    await nats.kill();
    await eventually(async () => expect(await hub.call('POST', '/events?room=A', { body: '"lost"', headers: { 'carillon-event-id': 'again' } })).toMatchObject({ status: 503, code: 'LOG_UNAVAILABLE' }));
    expect(await hub.call('GET', '/rooms/A/history')).toMatchObject({ status: 503, code: 'LOG_UNAVAILABLE' });
    await nats.restart();
    await eventually(async () => expect((await hub.call('POST', '/events?room=A', { body: '"found"', headers: { 'carillon-event-id': 'found' } })).status).toBe(200));
    await eventually(() => expect(eventsOf(tail).at(-1)?.[1]).toBe('found'));
    expect(eventsOf(tail).map(([, body]) => body).filter((body) => body.startsWith('x'))).toEqual(Array.from({ length: 20 }, (_, n) => `x${n}`));
  });
});
