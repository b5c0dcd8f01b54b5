import { natsLogin } from '@carillon/bus';
import { openJetStreamLog } from '@carillon/log';
import { eventually, startNatsServer, stopAll, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { startClusterHub } from '../cluster/cluster-hub.fixture.ts';
import { SCHEDULER } from '../delayed/delayed-scheduler.ts';
import { closeAll, onClose } from '../hub.fixture.ts';
import { openSession, type TestSession } from './session.fixture.ts';

const noLeaks = trackResources();
afterEach(async () => {
  await closeAll();
  await stopAll();
});
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';

const inboxOf = (session: TestSession): string => session.all('welcome')[0]?.inbox ?? '';
const eventsOf = ({ heard }: TestSession) => heard.flatMap((each) => (each.kind === 'event' ? [each] : []));
const refused = (session: TestSession, id: string) => session.got('error', ({ request }) => request === id);
const acked = (session: TestSession, id: string) => session.got('published', ({ events }) => events.some(([published]) => published === id));

/** Two hubs of one NATS. */
async function startPair(env: Readonly<Record<string, string>> = {}) {
  const nats = await startNatsServer({ jetstream: true });
  return { nats, hubs: [await startClusterHub(nats, { env }), await startClusterHub(nats, { env })] as const };
}

describe.each([['durable'], ['live']] as const)('requests in a %s room of a cluster', (lane) => {
  it('are answered at another hub, to the requester alone', async () => {
    const { hubs: [a, b] } = await startPair({ CARILLON_HUB_DEFAULT_LANE: lane });
    const [asks, beside, answers] = [await openSession(a), await openSession(a), await openSession(b, { session: 'answers' })];
    for (const session of [beside, answers]) {
      session.say({ op: 'subscribe', request: '1', rooms: [ROOM] });
      await session.got(lane === 'live' ? 'subscribed' : 'live');
    }
    // Interest of a live room takes a moment to come into force at the other hub.
    await eventually(async () => {
      await asks.store(ROOM, '"probe"');
      expect(answers.bodies()).toContain('"probe"');
    });
    for (let n = 0; n < 20; n += 1) asks.publish(ROOM, `${n}`, { id: `q${n}`, rt: inboxOf(asks) });
    const questions = await eventually(() => {
      const all = eventsOf(answers).filter(({ fields }) => fields.rt !== undefined);
      expect(all).toHaveLength(20);
      return all;
    });
    for (const { fields: { id = '', rt = '' }, body } of questions) answers.publish(ROOM, `${body}0`, { id: `a-${id}`, to: rt, cid: id });
    await eventually(() => expect(eventsOf(asks).map(({ body, fields }) => [fields.cid, body, fields.from])).toEqual(Array.from({ length: 20 }, (_, n) => [`q${n}`, `${n}0`, 'answers'])));
    expect(eventsOf(asks)[0]?.fields.to).toBeUndefined();
    for (let n = 0; n < 20; n += 1) expect((await acked(answers, `a-q${n}`)).class).toBe('live');
    await beside.store(ROOM, '"end"');
    expect(eventsOf(beside).some(({ fields }) => fields.cid !== undefined)).toBe(false);
  });
});

describe('a reply in a cluster', () => {
  it('that nobody waits for is refused, by the word of the other hub or for want of one', async () => {
    const { hubs: [a, b] } = await startPair();
    const [asks, answers] = [await openSession(a), await openSession(b)];
    const inbox = inboxOf(asks);
    answers.publish(ROOM, '1', { id: 'a0', to: inbox, cid: 'q' });
    await acked(answers, 'a0');
    await asks.leave();
    const begunMs = performance.now();
    answers.publish(ROOM, '1', { id: 'a1', to: inbox, cid: 'q' });
    expect(await refused(answers, 'a1')).toMatchObject({ code: 'REPLY_UNDELIVERABLE' });
    const toldMs = performance.now() - begunMs;
    expect(await a.metric('carillon_hub_events_dropped_total', 'reply-gone')).toBe(1);
    await a.stop();
    answers.publish(ROOM, '1', { id: 'a2', to: inbox, cid: 'q' });
    expect(await refused(answers, 'a2')).toMatchObject({ code: 'REPLY_UNDELIVERABLE' });
    process.stdout.write(`a reply to an inbox that is gone is refused after ${Math.round(toldMs)} ms, to a hub that is gone after ${Math.round(performance.now() - begunMs - toldMs)} ms\n`);
  });

  it('is refused while the bus is away', async () => {
    const { nats, hubs: [a, b] } = await startPair();
    const [asks, answers] = [await openSession(a), await openSession(b)];
    await nats.kill();
    await eventually(async () => expect((await b.readiness()).status).toBe(503));
    answers.publish(ROOM, '1', { id: 'a1', to: inboxOf(asks), cid: 'q' });
    expect(await refused(answers, 'a1')).toMatchObject({ code: 'REPLY_UNDELIVERABLE' });
    // Its own inboxes are reached all the same.
    const beside = await openSession(b);
    answers.publish(ROOM, '2', { id: 'a2', to: inboxOf(beside), cid: 'q' });
    await acked(answers, 'a2');
    await eventually(() => expect(beside.bodies()).toEqual(['2']));
  });
});

describe('delayed events of a cluster', () => {
  it('come at every hub, once, in moments', async () => {
    const { hubs: [a, b] } = await startPair();
    const readers = [await openSession(a), await openSession(b)];
    const late: number[] = [];
    for (const reader of readers) {
      reader.socket.on('message', (data, isBinary) => {
        const at = /\tat=(\d+)/.exec((data as Buffer).toString('latin1'))?.[1];
        if (isBinary && at !== undefined) late.push(Date.now() - Number(at));
      });
      await reader.subscribe('1', [ROOM]);
    }
    const writers = [await openSession(a), await openSession(b)];
    for (let n = 0; n < 100; n += 1) writers[n % 2]?.publish(ROOM, `${n}`, { id: `d${n}`, delay: 500 + n * 40 });
    for (const reader of readers) await eventually(() => expect(reader.bodies()).toHaveLength(100), { timeoutMs: 60_000 });
    for (const reader of readers) expect(new Set(reader.bodies()).size).toBe(100);
    late.sort((left, right) => left - right);
    process.stdout.write(`delayed events, two hubs of one NATS: late by ${late[100]} ms (median), ${late[197]} ms (99 of 100)\n`);
    expect(Math.min(...late)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...late)).toBeLessThan(30_000);
    // The same id at the other hub is the same event.
    writers[1]?.publish(ROOM, '0', { id: 'd0', delay: 1 });
    await acked(writers[1] as TestSession, 'd0');
    await writers[0]?.store(ROOM, '"end"');
    await eventually(() => expect(readers[1]?.bodies()).toContain('"end"'));
    expect(readers[1]?.bodies()).toHaveLength(101);
  });

  it('come from another hub when the one that had them is gone', async () => {
    const { nats, hubs: [a, b] } = await startPair();
    const [reader, writer] = [await openSession(b), await openSession(a)];
    await reader.subscribe('1', [ROOM]);
    for (let n = 0; n < 50; n += 1) writer.publish(ROOM, `${n}`, { id: `d${n}`, delay: 1_500 + n * 60 });
    for (let n = 0; n < 50; n += 1) await acked(writer, `d${n}`);
    await a.stop();
    await eventually(() => expect(reader.bodies()).toHaveLength(50), { timeoutMs: 60_000 });
    await b.stop();
    const c = await startClusterHub(nats);
    const last = await openSession(c);
    await last.subscribe('1', [ROOM], { since: { seq: 0 } });
    await eventually(async () => expect(await c.metric('carillon_hub_delayed_waiting')).toBe(0));
    expect([...last.bodies()].map(Number).sort((left, right) => left - right)).toEqual(Array.from({ length: 50 }, (_, n) => n));
  });

  it('come from another hub when one has died with them in its hands', async () => {
    const { nats, hubs: [a] } = await startPair();
    const log = openJetStreamLog({ ...natsLogin([nats.url]), name: 'dead' });
    onClose(() => log.close());
    const dead = await log.consumer(SCHEDULER, () => Promise.resolve());
    const [reader, writer] = [await openSession(a), await openSession(a)];
    await reader.subscribe('1', [ROOM]);
    const held: string[] = [];
    const ending = new AbortController();
    // It takes what it gets and never says a word.
    const taking = (async () => {
      while (!ending.signal.aborted) held.push(...(await dead.pull(10, ending.signal)).map(({ event }) => event.id));
    })();
    for (let n = 0; n < 30; n += 1) writer.publish(ROOM, `${n}`, { id: `d${n}`, delay: 10 });
    await eventually(() => expect(held.length).toBeGreaterThan(0));
    for (let n = 0; n < 30; n += 1) await acked(writer, `d${n}`);
    ending.abort();
    await taking;
    await eventually(() => expect(reader.bodies()).toHaveLength(30), { timeoutMs: 60_000 });
    expect(new Set(reader.bodies()).size).toBe(30);
  });

  it('wait while the log is away, and come late rather than never', async () => {
    const { nats, hubs: [a] } = await startPair();
    const [reader, writer] = [await openSession(a), await openSession(a)];
    await reader.subscribe('1', [ROOM]);
    for (let n = 0; n < 10; n += 1) writer.publish(ROOM, `${n}`, { id: `d${n}`, delay: 300 + n });
    for (let n = 0; n < 10; n += 1) await acked(writer, `d${n}`);
    await nats.kill();
    await eventually(async () => expect((await a.readiness()).status).toBe(503));
    writer.publish(ROOM, '"no"', { id: 'no', delay: 5 });
    expect(await refused(writer, 'no')).toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await nats.restart();
    await eventually(() => expect([...reader.bodies()].map(Number).sort((left, right) => left - right)).toEqual(Array.from({ length: 10 }, (_, n) => n)), { timeoutMs: 60_000 });
  });
});
