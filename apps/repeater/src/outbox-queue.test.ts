import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { openOutbox, type Outbox } from '@carillon/log/outbox';
import { createLogger } from '@carillon/runtime';
import { eventually } from '@carillon/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { RepeaterCounts } from './metrics.ts';
import { OutboxQueue, type OutboxQueueOptions } from './outbox-queue.ts';

let dir: string;
let outbox: Outbox;
let queue: OutboxQueue;
let logged: string[];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'outbox-queue-'));
  logged = [];
  outbox = await openOutbox({ dir, log: { warn: () => undefined }, maxBytes: 100_000_000, overflow: 'drop-oldest' });
});
afterEach(async () => {
  await queue.close();
  await rm(dir, { recursive: true, force: true });
});

function create(options: Partial<OutboxQueueOptions> = {}): OutboxQueue {
  let id = 0;
  queue = new OutboxQueue({
    outbox, maxBytes: 100_000_000, drainEventsPerSecond: 0, answerTimeoutMs: 600_000, nextId: () => `id-${(id += 1)}`, clock: () => 1_000, now: () => 0,
    backoff: { firstMs: 1, capMs: 1, factor: 1, random: () => 0.5 }, counts: new RepeaterCounts(), log: createLogger({ name: 'test', version: '0', level: 'debug', output: { write: (line: string) => void logged.push(line) } }), ...options,
  });
  return queue;
}
const offer = (count: number) => Promise.all(Array.from({ length: count }, (_, n) => queue.offer(Buffer.from(`R\n${n}`), 1)));
/** Takes all that may be taken, as bodies. */
function takeAll(): string[] {
  const bodies: string[] = [];
  for (let frame = queue.take(); frame !== undefined; frame = queue.take()) bodies.push(frame.bytes.toString('utf8', frame.tagEnd + 1));
  return bodies;
}
const link = { acks: true, ready: () => undefined };

test('hands out nothing while nobody is there, and all of it again to whoever comes', async () => {
  create();
  await offer(3);
  expect(takeAll()).toEqual([]);
  queue.attach(link);
  expect(queue.take()).toMatchObject({ bytes: Buffer.from('R\n0'), tagEnd: 1, fields: '\tid=id-1\tat=1000' });
  expect(takeAll()).toEqual(['1', '2']);
  queue.detach(undefined);
  expect([takeAll(), queue.inFlight, queue.frames]).toEqual([[], 0, 3]);
  queue.attach(link);
  expect(takeAll()).toEqual(['0', '1', '2']);
});

test('says when an event was recorded by the hub\'s clock: as it was known then, or else as it is known now', async () => {
  create();
  await offer(1);
  queue.attach({ ...link, aheadMs: 250 });
  expect([queue.take()?.fields, queue.hubAheadMs]).toEqual(['\tid=id-1\tat=1250', 250]);
  await offer(1);
  queue.detach(undefined);
  queue.attach({ ...link, aheadMs: -2_000 });
  expect([queue.take()?.fields, queue.take()?.fields]).toEqual(['\tid=id-1\tat=0', '\tid=id-2\tat=1250']);
});

test('has at most 4,096 events without an answer', async () => {
  create();
  await offer(5_000);
  queue.attach(link);
  expect(takeAll()).toHaveLength(4_096);
  queue.published(['id-1', 'id-2', 'unknown']);
  expect([takeAll(), queue.inFlight]).toEqual([['4096', '4097'], 4_096]);
  await eventually(() => queue.frames === 4_998);
});

test('asks again when it hears nothing, and says so', async () => {
  create({ answerTimeoutMs: 20 });
  await offer(3);
  queue.attach(link);
  expect(takeAll()).toEqual(['0', '1', '2']);
  queue.published(['id-1']);
  expect(await eventually(() => {
    const again = takeAll();
    return again.length > 0 && again;
  })).toEqual(['1']);
  expect(logged.some((line) => line.includes('the hub answers nothing'))).toBe(true);
});

test('waits when the hub takes nothing for now, and goes on from the first that it refused, with few at first', async () => {
  create();
  await offer(8);
  queue.attach(link);
  takeAll();
  expect([queue.refused('id-4', 'LOG_FULL'), queue.refused('id-3', 'LOG_FULL'), queue.refused('id-5', 'LOG_FULL'), queue.refused('stranger', 'LOG_FULL')]).toEqual([true, true, false, false]);
  expect([takeAll(), queue.inFlight]).toEqual([[], 2]);
  queue.published(['id-1']);
  const taken = await eventually(() => {
    const again = takeAll();
    return again.length > 0 && again;
  });
  expect([taken, queue.inFlight]).toEqual([['2'], 2]);
  queue.published(['id-2', 'id-3']);
  expect(takeAll()).toEqual(['3', '4', '5', '6']);
});

test('leaves to a hub of the first protocol what it was handed', async () => {
  create();
  await offer(3);
  queue.attach({ ...link, acks: false });
  expect(queue.take()?.fields).toBe('');
  expect(takeAll()).toEqual(['1', '2']);
  queue.detach(undefined);
  queue.attach(link);
  expect(takeAll()).toEqual([]);
  await eventually(() => queue.frames === 0);
});

test('is not flushed while a frame is on its way to the disk', async () => {
  create();
  expect(queue.isFlushed).toBe(true);
  const offered = offer(1);
  expect([queue.frames, queue.isFlushed]).toEqual([0, false]);
  await offered;
  queue.attach(link);
  takeAll();
  queue.published(['id-1']);
  await eventually(() => queue.isFlushed);
});

test('says what was not kept', async () => {
  create();
  await queue.close();
  expect(await offer(1)).toEqual(['LOG_UNAVAILABLE']);
});
