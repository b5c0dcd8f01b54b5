import { eventually } from '@carillon/testing';
import { isUlid } from '@carillon/wire';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

import { StubLog } from './acking-hub.fixture.ts';
import { createSite, eventOf, firstPeer, type TestRepeater } from './site.fixture.ts';

let site: ReturnType<typeof createSite>;
beforeEach(() => void (site = createSite({ WebSocket, WebSocketServer })));
afterEach(() => site.close());

const waiting = (repeater: TestRepeater) => repeater.metric('carillon_repeater_upstream_queue_frames');
const numbers = (from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, index) => `${from + index}`);
const post = (repeater: TestRepeater, body: string) => site.call(repeater, '/send', { method: 'POST', body });

describe('a hub that answers', () => {
  test('gets each frame with an id and when it was recorded, and has it once it says so', async () => {
    const hub = await site.ackingHub({ answer: () => 'hold' });
    const beganMs = Date.now();
    const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: hub.url });
    const device = await site.device(repeater, '/connect/R/D1');
    for (const n of numbers(1, 300)) device.send(`R\n${n}`);
    await eventually(() => hub.log.times.size === 300);
    expect(await waiting(repeater)).toBe(300);
    hub.answer(() => 'ack');
    await eventually(async () => (await waiting(repeater)) === 0);
    expect(hub.log.bodies()).toEqual(numbers(1, 300));
    expect(hub.log.events.every(({ id, at = 0 }) => isUlid(id) && at >= beganMs && at <= Date.now())).toBe(true);
    expect([...hub.log.times.values()].every((times) => times === 1)).toBe(true);
  });

  test('gets what it did not answer again when it is back: the same ids, the order of a room, each event once', async () => {
    const log = new StubLog();
    let answered = 0;
    const first = await site.ackingHub({ log, answer: () => ((answered += 1) <= 200 ? 'ack' : 'hold') });
    const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: first.url });
    const device = await site.device(repeater, '/connect/R0/D1');
    for (let n = 0; n < 1_000; n += 1) device.send(`R${n % 3}\n${n}`);
    await eventually(() => log.times.size === 1_000);
    await eventually(async () => (await waiting(repeater)) === 800);
    await first.stop();
    await eventually(async () => (await repeater.metric('carillon_repeater_hub_connected')) === 0);
    for (let n = 1_000; n < 1_500; n += 1) device.send(`R${n % 3}\n${n}`);
    await eventually(async () => (await waiting(repeater)) === 1_300);

    const second = await site.ackingHub({ port: first.port, log });
    await eventually(async () => (await waiting(repeater)) === 0);
    for (const room of [0, 1, 2]) expect(second.log.bodies(`R${room}`)).toEqual(numbers(0, 1_499).filter((n) => Number(n) % 3 === room));
    expect([log.events.length, log.times.size]).toEqual([1_500, 1_500]);
    expect(await repeater.metric('carillon_repeater_dropped_events_total', 'peer-gone')).toBe(0);
  });

  test('gets after the next start of the repeater what it did not get before', async () => {
    const folder = await site.folder();
    const first = await site.repeater({ CARILLON_DATA_DIR: folder });
    for (const n of numbers(1, 20)) expect((await post(first, eventOf('R', n))).status).toBe(200);
    await first.stop();
    expect(first.logs.some((line) => line.includes('"unsent":20') && line.includes('after the next start'))).toBe(true);
    expect(await first.metric('carillon_repeater_dropped_events_total', 'hub-away').catch(() => 0)).toBe(0);

    const hub = await site.ackingHub();
    const second = await site.repeater({ CARILLON_DATA_DIR: folder, CARILLON_REPEATER_HUB_URL: hub.url });
    await eventually(async () => (await waiting(second)) === 0);
    expect(hub.log.bodies()).toEqual(numbers(1, 20).map((n) => eventOf('R', n)));
  });

  test('keeps what it refuses for good from nobody else, and it can be looked at', async () => {
    const hub = await site.ackingHub({ answer: ({ body }) => (body === '7' ? { refuse: 'SEND_DENIED' } : 'ack') });
    const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: hub.url });
    const device = await site.device(repeater, '/connect/R/D1');
    for (const n of numbers(1, 20)) device.send(`R\n${n}`);
    await eventually(async () => hub.log.times.size === 20 && (await waiting(repeater)) === 0);
    expect(hub.log.bodies()).toEqual(numbers(1, 20).filter((n) => n !== '7'));
    expect(await repeater.metric('carillon_repeater_hub_refused_total', 'SEND_DENIED')).toBe(1);
    expect(await repeater.metric('carillon_repeater_outbox_refused_events')).toBe(1);
    const status = JSON.parse((await site.call(repeater, '/status')).text) as { info: { repeater: Record<string, unknown> } };
    expect(status.info.repeater['refused-events']).toMatchObject([{ room: 'R', code: 'SEND_DENIED', bytes: 3 }]);
  });

  test.each(['LOG_BACKLOGGED', 'A_CODE_OF_TOMORROW'])('is asked again when it refuses with %s, from the first that it refused, in order', async (code) => {
    let patience = 3;
    const hub = await site.ackingHub({ answer: ({ body }) => (Number(body) > 5 && patience > 0 ? { refuse: code } : 'ack') });
    const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: hub.url });
    const device = await site.device(repeater, '/connect/R/D1');
    for (const n of numbers(1, 20)) device.send(`R\n${n}`);
    for (const again of [1, 2, 3]) {
      await eventually(() => Math.max(...hub.log.times.values()) > again);
      patience -= 1;
    }
    await eventually(async () => (await waiting(repeater)) === 0);
    expect(hub.log.bodies()).toEqual(numbers(1, 20));
  });

  test.each([['ROOM_NAME_INVALID', 4_501, 'ROOM_NAME_INVALID'], ['', 1_009, 'FRAME_TOO_LARGE']])('that closes for a frame (%s, %i) loses that frame alone', async (reason, close, code) => {
    const hub = await site.ackingHub({ answer: ({ body }) => (body === '7' ? { close, reason: reason as 'ROOM_NAME_INVALID' } : 'ack') });
    const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: hub.url });
    const device = await site.device(repeater, '/connect/R/D1');
    for (const n of numbers(1, 50)) device.send(`R\n${n}`);
    await eventually(async () => hub.log.events.length === 49 && (await waiting(repeater)) === 0);
    expect(hub.log.bodies().sort((left, right) => Number(left) - Number(right))).toEqual(numbers(1, 50).filter((n) => n !== '7'));
    const status = (await site.call(repeater, '/status')).text;
    expect(JSON.parse(status)).toMatchObject({ info: { repeater: { 'refused-events': [{ code }] } } });
  });

  test('gets what happens now before what waited, the order of a room kept', async () => {
    const CARILLON_DATA_DIR = await site.folder();
    const before = await site.repeater({ CARILLON_DATA_DIR });
    const old = await site.device(before, '/connect/OLD/D1');
    for (const n of numbers(1, 1_000)) old.send(`OLD\n${n}`);
    await eventually(async () => (await waiting(before)) === 1_000);
    await before.stop();

    const hub = await site.ackingHub();
    // At this pace the backlog takes 50 s.
    const slow = await site.repeater({ CARILLON_DATA_DIR, CARILLON_REPEATER_DRAIN_EVENTS_PER_S: '20', CARILLON_REPEATER_HUB_URL: hub.url });
    const device = await site.device(slow, '/connect/NEW/D1');
    await eventually(() => hub.log.events.length > 0);
    device.send('OLD\n1001');
    for (const n of numbers(1, 10)) device.send(`NEW\n${n}`);
    await eventually(() => hub.log.bodies('NEW').length === 10);
    expect(hub.log.bodies('OLD').length).toBeLessThan(1_000);
    await slow.stop();

    const fast = await site.repeater({ CARILLON_DATA_DIR, CARILLON_REPEATER_DRAIN_EVENTS_PER_S: '0', CARILLON_REPEATER_HUB_URL: hub.url });
    await eventually(async () => (await waiting(fast)) === 0);
    expect(hub.log.bodies('OLD')).toEqual(numbers(1, 1_001));
    expect(hub.log.bodies('NEW')).toEqual(numbers(1, 10));
  });

  test('speaks of ids and sequences, of which devices hear nothing', async () => {
    const hub = await site.ackingHub();
    const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: hub.url });
    const link = await firstPeer(hub);
    const device = await site.device(repeater, '/connect/R/D1');
    device.socket.send(JSON.stringify({ rooms: ['R'], create: true }));
    await eventually(() => {
      link.send('R\tid=a\tseq=7\n{"key":1}');
      return device.frames.length > 0;
    });
    expect(device.texts()[0]).toBe('R\n{"key":1}');
  });
});

describe('a hub of the first protocol', () => {
  test('has what it was handed', async () => {
    const hub = await site.stub();
    const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: `ws://127.0.0.1:${hub.port}` });
    const link = await firstPeer(hub);
    const device = await site.device(repeater, '/connect/R/D1');
    for (const n of numbers(1, 300)) device.send(`R\n${n}`);
    await eventually(async () => link.frames.length === 300 && (await waiting(repeater)) === 0);
    expect(link.texts()).toEqual(numbers(1, 300).map((n) => `R\n${n}`));
  });
});

describe('an outbox that is full', () => {
  const small = { CARILLON_REPEATER_OUTBOX_MAX_BYTES: '4KiB', CARILLON_REPEATER_FRAME_MAX_BYTES: '1KiB' };

  test('refuses what is posted, and drops the oldest for what devices send', async () => {
    const repeater = await site.repeater(small);
    const device = await site.device(repeater, '/connect/R/D1');
    for (const n of numbers(1, 100)) device.send(`R\n${n}`);
    await eventually(async () => (await repeater.metric('carillon_repeater_dropped_events_total', 'hub-away')) + (await waiting(repeater)) === 100);
    expect(await repeater.metric('carillon_repeater_upstream_queue_bytes')).toBeLessThanOrEqual(4_096);
    expect(await post(repeater, eventOf('R'))).toMatchObject({ status: 503, code: 'UPSTREAM_QUEUE_FULL' });
  });

  test('refuses what devices send where that is asked for, and tells them', async () => {
    const repeater = await site.repeater({ ...small, CARILLON_REPEATER_OUTBOX_OVERFLOW: 'refuse' });
    const [device, other] = [await site.device(repeater, '/connect/R/D1'), await site.device(repeater, '/connect/R/D2')];
    for (const n of numbers(1, 100)) device.send(`R\n${n}`);
    await eventually(() => device.controls.length > 0 && other.frames.length === 100);
    await eventually(async () => device.controls.length + (await waiting(repeater)) === 100);
    expect(device.controls[0]).toEqual({ op: 'error', code: 'UPSTREAM_QUEUE_FULL' });
    expect(await repeater.metric('carillon_repeater_refused_total', 'UPSTREAM_QUEUE_FULL')).toBe(device.controls.length);
  });

  test('keeps the latest of each key where that is asked for', async () => {
    const folder = await site.folder();
    const repeater = await site.repeater({ CARILLON_DATA_DIR: folder, CARILLON_REPEATER_OUTBOX_OVERFLOW: 'keep-latest-per-key' });
    for (const n of numbers(1, 10)) await post(repeater, eventOf('R', n));
    await post(repeater, eventOf('S', '1'));
    expect([await waiting(repeater), await repeater.metric('carillon_repeater_outbox_replaced_events_total')]).toEqual([2, 9]);
    await repeater.stop();
    const hub = await site.ackingHub();
    await site.repeater({ CARILLON_DATA_DIR: folder, CARILLON_REPEATER_HUB_URL: hub.url });
    await eventually(() => hub.log.events.length === 2);
    expect(hub.log.bodies()).toEqual([eventOf('R', '10'), eventOf('S', '1')]);
  });
});
