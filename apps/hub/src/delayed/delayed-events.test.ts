import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { LogError, openLmdbLog, type Delivery, type EventLog, type LogEvent } from '@carillon/log';
import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { HubCounts } from '../counts.ts';
import { DelayedEvents, type DelayedEventsOptions } from './delayed-events.ts';
import { fireDue } from './due-events.ts';
import { decodeHeld, encodeHeld, type HeldEvent } from './held-event.ts';
import { closeAll, onClose } from '../hub.fixture.ts';
import { SYSTEM_WORKSPACES } from '../durable/system-log.ts';
import type { TrailFact } from '../trail/trail.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const silent = (): void => undefined;
const logger = { trace: silent, debug: silent, info: silent, warn: silent, error: silent, fatal: silent, level: 'info' as const, child: () => logger };

async function openLog(dir?: string): Promise<{ readonly log: EventLog; readonly dir: string }> {
  const made = dir ?? (await mkdtemp(join(tmpdir(), 'carillon-delayed-')));
  if (dir === undefined) onClose(() => rm(made, { recursive: true, force: true }));
  const log = await openLmdbLog({ dir: join(made, 'log'), log: logger });
  onClose(() => log.close());
  return { log, dir: made };
}

/** Delayed events over a log, and what was fired. */
function delayedOn(log: EventLog, options: Partial<DelayedEventsOptions> = {}) {
  const fired: string[] = [];
  const facts: TrailFact[] = [];
  const delayed = new DelayedEvents({
    log, logger, now: Date.now, trail: { note: (_, fact) => void facts.push(fact) },
    fire: async ({ id }) => {
      fired.push(id);
      return 'fired';
    },
    ...options,
  });
  onClose(() => delayed.stop());
  return { delayed, fired, facts };
}

const heldOf = (id: string, more: Partial<HeldEvent> = {}): HeldEvent => ({ workspaceId: 'w', room: 'A', id, atMs: 1, fields: '\tfrom=me', body: Buffer.from(`"${id}"`), dueMs: Date.now(), ...more });
/** A log whose consumers do what is said to their deliveries. */
const withAck = (log: EventLog, ack: () => Promise<void>): EventLog => new Proxy(log, {
  get: (target, name) => {
    const member: unknown = Reflect.get(target, name, target);
    if (typeof member !== 'function') return member;
    const call = (...given: unknown[]): unknown => Reflect.apply(member, target, given);
    if (name !== 'consumer') return call;
    return async (...given: Parameters<EventLog['consumer']>) => {
      const joined = await log.consumer(...given);
      return {
        spec: joined.spec, info: () => joined.info(), close: () => joined.close(),
        pull: async (max: number, signal: AbortSignal) => (await joined.pull(max, signal)).map(({ event, attempt, nack, discard }) => ({ event, attempt, nack, discard, ack })),
      };
    };
  },
});

describe('delayed events', () => {
  it('take no more than may wait, and take again when some have come', async () => {
    const { log } = await openLog();
    const { delayed, fired } = delayedOn(log, { waitingMax: 3 });
    const far = { dueMs: Date.now() + 60_000 };
    await Promise.all(['a', 'b'].map((id) => delayed.add(heldOf(id, far))));
    await delayed.add(heldOf('due', { dueMs: Date.now() + 100 }));
    await expect(delayed.add(heldOf('d', far))).rejects.toMatchObject({ code: 'DELAYED_EXCEEDED' });
    delayed.start();
    await eventually(() => expect(fired).toEqual(['due']));
    await eventually(() => delayed.add(heldOf('d', far)));
    await expect(delayed.add(heldOf('e', far))).rejects.toMatchObject({ code: 'DELAYED_EXCEEDED' });
    // Counted by the log as by ourselves.
    await eventually(async () => expect([await delayed.scheduler.count(), delayed.waiting]).toEqual([3, 3]));
  });

  it('are counted anew from the log by a hub that comes', async () => {
    const { log } = await openLog();
    const before = delayedOn(log);
    await Promise.all(['a', 'b'].map((id) => before.delayed.add(heldOf(id, { dueMs: Date.now() + 60_000 }))));
    const { delayed } = delayedOn(log, { waitingMax: 2 });
    delayed.start();
    await eventually(() => expect(delayed.waiting).toBe(2));
    await expect(delayed.add(heldOf('c', { dueMs: Date.now() + 5 }))).rejects.toMatchObject({ code: 'DELAYED_EXCEEDED' });
  });

  it('are refused without a time, or for one too far off', async () => {
    const { log } = await openLog();
    const { delayed } = delayedOn(log);
    for (const dueMs of [undefined, Date.now() + 7 * 86_400_000]) await expect(delayed.add(heldOf('a', { dueMs }))).rejects.toMatchObject({ code: 'DELAY_INVALID' });
    expect((await log.bounds()).head).toBe(0);
  });

  it('leave a note in the trail', async () => {
    const { log } = await openLog();
    const { delayed, facts } = delayedOn(log);
    const dueMs = Date.now() + 60_000;
    await delayed.add(heldOf('a', { dueMs }));
    expect(facts).toEqual([{ kind: 'delayed', id: 'a', room: 'A', dueMs }]);
  });

  it('are fired again, under the same name, when the log did not hear that they were', async () => {
    const { log, dir } = await openLog();
    const names: string[] = [];
    const fire: DelayedEventsOptions['fire'] = async (_, entryId) => {
      names.push(entryId);
      return 'fired';
    };
    const deaf = delayedOn(withAck(log, () => Promise.reject(new Error('lost'))), { fire });
    await deaf.delayed.add(heldOf('a'));
    deaf.delayed.start();
    await eventually(() => expect(names).toHaveLength(1));
    await deaf.delayed.stop();
    await log.close();
    const again = delayedOn((await openLog(dir)).log, { fire });
    again.delayed.start();
    await eventually(() => expect(names).toHaveLength(2));
    expect(names[1]).toBe(names[0]);
    await eventually(async () => expect(await again.delayed.scheduler.count()).toBe(0));
  });

  it('are tried again as long as they are refused for now, and dropped when it is for good', async () => {
    const { log } = await openLog();
    const codes = ['LOG_UNAVAILABLE', 'LOG_FULL'] as const;
    const tries: string[] = [];
    const { delayed } = delayedOn(log, {
      fire: async ({ id }) => {
        tries.push(id);
        if (id === 'bad') throw new LogError('EVENT_ID_REUSED', 'the test says so');
        const code = codes[tries.filter((tried) => tried === id).length - 1];
        if (code !== undefined) throw new LogError(code, 'the test says so');
        return 'fired';
      },
    });
    for (const id of ['bad', 'good']) await delayed.add(heldOf(id));
    delayed.start();
    await eventually(() => expect(delayed.scheduler.counts).toMatchObject({ fired: 1, dropped: 1 }));
    expect([...tries].sort()).toEqual(['bad', 'good', 'good', 'good']);
  });

  it('are stored anew when so many came behind them that a consumer would remember too much', async () => {
    const { log } = await openLog();
    const handed: Delivery[][] = [];
    const done: string[] = [];
    const deliveryOf = (id: string, seq: number, dueMs: number): Delivery => ({
      attempt: 1,
      event: { workspaceId: SYSTEM_WORKSPACES.delayed, room: 'w', id, seq, prevSeq: 0, atMs: 1, storedAtMs: 1, fields: '', body: encodeHeld(heldOf(id, { dueMs })) },
      ack: async () => void done.push(`ack ${id}`),
      nack: async ({ delayMs }) => void (id === 'long' && done.push(`nack ${id} ${delayMs}`)),
      discard: () => Promise.reject(new Error('never')),
    });
    const consumer: EventLog['consumer'] = async (spec) => ({
      spec, info: async () => ({ pending: 0, inFlight: 1, settledSeq: 0 }), close: async () => undefined,
      pull: async (_, signal) => {
        const next = handed.shift();
        if (next !== undefined) return next;
        if (!signal.aborted) await new Promise((resolve) => setImmediate(resolve));
        return [];
      },
    });
    const { delayed, fired } = delayedOn(new Proxy(log, { get: (target, name) => (name === 'consumer' ? consumer : name === 'append' ? (event: LogEvent) => target.append(event) : (Reflect.get(target, name, target) as unknown)) }));
    delayed.start();
    const dueMs = Date.now() + 3_600_000;
    const long = deliveryOf('long', 1, dueMs);
    handed.push([long], [long], Array.from({ length: 16_384 }, (_, n) => deliveryOf(`n${n}`, n + 2, 0)), [long], [deliveryOf('last', 99_999, 0)]);
    await eventually(() => expect(fired).toContain('last'));
    expect(fired).toHaveLength(16_385);
    expect(done.filter((each) => each.endsWith('long') || each.startsWith('nack'))).toEqual(['nack long 30000', 'nack long 30000', 'ack long']);
    const { events } = await log.read({ workspaceId: SYSTEM_WORKSPACES.delayed, rooms: ['w'], after: 0, maxEvents: 10, maxBytes: 10_000 });
    expect(events.map(({ id }) => id)).toEqual([expect.stringMatching(/^[0-9A-Za-z_-]{43}$/)]);
    expect(decodeHeld(events[0]?.body ?? Buffer.alloc(0))).toMatchObject({ id: 'long', dueMs });
    expect(delayed.scheduler.counts.moved).toBe(1);
  });

  it('let go at once of what they have in hand when they stop, also while the log is away', async () => {
    const { log } = await openLog();
    const { delayed, fired } = delayedOn(log);
    delayed.start();
    await delayed.add(heldOf('a', { dueMs: Date.now() + 6_000 }));
    await eventually(async () => expect(await delayed.scheduler.count()).toBe(1));
    await delayed.stop();
    const other = delayedOn(log);
    other.delayed.start();
    await eventually(() => expect(other.fired).toEqual(['a']));
    expect(fired).toEqual([]);
    const away = delayedOn(new Proxy(log, { get: (target, name) => (name === 'consumer' ? () => new Promise(() => undefined) : (Reflect.get(target, name, target) as unknown)) }));
    away.delayed.start();
    await away.delayed.stop();
    expect(away.fired).toEqual([]);
  });
});

describe('an event that is deferred for one consumer', () => {
  it('goes back to it alone when it is due, each time as another', async () => {
    const { log } = await openLog();
    const counts = new HubCounts();
    const fire: DelayedEventsOptions['fire'] = (held, entryId) =>
      fireDue(held, entryId, { log, counts, trail: { note: () => undefined }, now: Date.now, isDeleted: (id) => id === 'gone', workspace: () => expect.fail('it has no room to go to') });
    const { delayed } = delayedOn(log, { fire });
    delayed.start();
    for (const attempts of [1, 2]) await delayed.add(heldOf('a', { consumer: 'jobs', seq: 7, attempts, dueMs: Date.now() + 50 }));
    await delayed.add(heldOf('b', { consumer: 'jobs', workspaceId: 'gone' }));
    await delayed.add(heldOf('c', { consumer: 'jobs', expiresAtMs: Date.now() - 1 }));
    await eventually(() => expect(delayed.scheduler.counts).toMatchObject({ returned: 2, dropped: 1, expired: 1, fired: 0 }));
    const { events } = await log.read({ workspaceId: SYSTEM_WORKSPACES.returned, rooms: ['*', '**'], after: 0, maxEvents: 10, maxBytes: 100_000 });
    expect(events.map(({ room }) => room)).toEqual(['w/jobs', 'w/jobs']);
    const held = events.map(({ body }) => decodeHeld(body));
    expect(held.map((each) => each?.attempts).sort()).toEqual([1, 2]);
    for (const each of held) expect(each).toMatchObject({ id: 'a', room: 'A', workspaceId: 'w', seq: 7, fields: '\tfrom=me' });
    expect(counts.dropped.samples('reason')).toEqual([{ value: 1, labels: { reason: 'expired' } }]);
  });
});
