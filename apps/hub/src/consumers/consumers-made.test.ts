import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { openLmdbLog, type ConsumerSpec, type EventLog } from '@carillon/log';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Consumers, CONSUMERS_MAX, type JoinRequest } from './consumers.ts';
import { HubCounts } from '../counts.ts';
import { describeConsumers } from './describe-consumers.ts';
import { returnedName } from './returned-consumer.ts';
import { SYSTEM_WORKSPACES } from '../durable/system-log.ts';
import { NO_TRAIL } from '../trail/trail.ts';

const silent = (): void => undefined;
const logger = { trace: silent, debug: silent, info: silent, warn: silent, error: silent, fatal: silent, level: 'info' as const, child: () => logger };
const ASKED: JoinRequest = { name: 'billing', rooms: ['a'], since: undefined, settings: { ackTimeoutMs: 30_000, maxDeliveries: 5, maxInFlight: 1_000, window: 64 } };

/** The same log but for what a test puts in. */
const over = (log: EventLog, other: Partial<EventLog>): EventLog => new Proxy(log, {
  get: (target, name) => {
    const member: unknown = Reflect.get(other, name) ?? Reflect.get(target, name, target);
    return typeof member === 'function' ? (...given: unknown[]): unknown => Reflect.apply(member, target, given) : member;
  },
});

describe('the consumers of a workspace', () => {
  let dir: string;
  let log: EventLog;
  const left: Consumers[] = [];

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'carillon-made-'));
    log = await openLmdbLog({ dir, log: logger });
  });

  afterEach(async () => {
    for (const consumers of left.splice(0)) await consumers.left();
    await log.close();
    await rm(dir, { recursive: true, force: true });
  });

  const consumersOf = (workspaceId: string, other: Partial<EventLog> = {}): Consumers => {
    const consumers = new Consumers({ workspaceId, log: over(log, other), counts: new HubCounts(), trail: NO_TRAIL, logger });
    left.push(consumers);
    return consumers;
  };
  const returned = async (): Promise<readonly ConsumerSpec[]> => log.consumers(SYSTEM_WORKSPACES.returned);

  it('have a bound, which is not one for members of those that are there', async () => {
    const there = Array.from({ length: CONSUMERS_MAX }, (_, n) => ({ workspaceId: 'w', name: `c${n}`, rooms: ['a'], from: 'now', ackTimeoutMs: 30_000, maxDeliveries: 5, maxInFlight: 1_000 }) satisfies ConsumerSpec);
    const consumers = consumersOf('w', { consumers: async (workspaceId) => (workspaceId === 'w' ? there : []) });
    expect(await consumers.join(ASKED)).toMatchObject({ ok: false, code: 'CONSUMERS_EXCEEDED' });
    const joined = await consumers.join({ ...ASKED, name: 'c7' });
    expect(joined.ok).toBe(true);
    if (joined.ok) consumers.leave(joined.membership);
  });

  it('stand each beside what comes again to it alone, and go with it', async () => {
    const [one, two] = [consumersOf('w'), consumersOf('v')];
    for (const consumers of [one, two]) {
      const joined = await consumers.join(ASKED);
      if (joined.ok) consumers.leave(joined.membership);
    }
    expect((await returned()).map(({ name, rooms }) => [name, rooms]).sort()).toEqual([[returnedName('v', 'billing'), ['v/billing']], [returnedName('w', 'billing'), ['w/billing']]].sort());
    await one.delete('billing');
    expect((await returned()).map(({ rooms }) => rooms)).toEqual([['v/billing']]);
    expect([(await one.specs()).length, (await two.specs()).length]).toEqual([0, 1]);
  });

  it('are made with their own settings, whatever a deletion that was not finished has left', async () => {
    const consumers = consumersOf('w');
    const joined = await consumers.join(ASKED);
    if (joined.ok) consumers.leave(joined.membership);
    await log.deleteConsumer('w', 'billing');
    const again = await consumers.join({ ...ASKED, settings: { ...ASKED.settings, maxDeliveries: 7 } });
    expect((await returned()).map(({ maxDeliveries }) => maxDeliveries)).toEqual([7]);
    if (again.ok) consumers.leave(again.membership);
  });

  it('are refused with other settings, and nobody is a member of them then', async () => {
    const consumers = consumersOf('w');
    const joined = await consumers.join(ASKED);
    await expect(consumers.join({ ...ASKED, rooms: ['b'] })).rejects.toMatchObject({ code: 'CONSUMER_EXISTS' });
    expect(consumers.members('billing').size).toBe(1);
    if (joined.ok) consumers.leave(joined.membership);
  });

  it('are not made by who only looks at them while they are deleted', async () => {
    const consumers = consumersOf('w');
    const joined = await consumers.join(ASKED);
    if (joined.ok) consumers.leave(joined.membership);
    const specs = await consumers.specs();
    expect(await describeConsumers(specs, consumers)).toMatchObject([{ spec: { name: 'billing' }, pending: 0, members: 0 }]);
    await consumers.delete('billing');
    expect(await describeConsumers(specs, consumers)).toEqual([]);
    expect([await consumers.specs(), await returned()]).toEqual([[], []]);
  });
});
