import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { openPrincipal, type AccessCopy } from '@carillon/access';
import { openLmdbLog, type EventLog } from '@carillon/log';
import { eventually } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Consumers, type Membership } from './consumers.ts';
import { HubCounts } from '../counts.ts';
import { markLetters } from './dead-letter-marks.ts';
import { deleteLetter, listLetters, redriveAll, redriveLetter, type DeadLettersDoor, type LetterQuery } from './dead-letters.ts';
import { createFailingLog } from '../durable/failing-log.fixture.ts';
import { PageTurns } from '../durable/page-turns.ts';
import { NO_TRAIL } from '../trail/trail.ts';

const SETTINGS = { ackTimeoutMs: 30_000, maxDeliveries: 1, maxInFlight: 1_000, window: 64 };
const ALL: LetterQuery = { consumer: undefined, after: 0, limit: 1_000, state: 'all' };
const silent = (): void => undefined;
const logger = { trace: silent, debug: silent, info: silent, warn: silent, error: silent, fatal: silent, level: 'info' as const, child: () => logger };

describe('dead letters in the log', () => {
  let dir: string;
  let log: EventLog;
  let consumers: Consumers;
  let door: DeadLettersDoor;
  const failing = createFailingLog();
  const counts = new HubCounts();

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'carillon-dead-'));
    log = failing.wrap(await openLmdbLog({ dir, log: logger }));
    consumers = new Consumers({ workspaceId: 'w', log, counts, trail: NO_TRAIL, logger });
    const copy = { usage: () => ({ now: () => 0 }) } as unknown as AccessCopy;
    door = { consumers, turns: new PageTurns(), principal: openPrincipal('w', 'messenger', copy) };
  });

  afterEach(async () => {
    await consumers.left();
    await log.close();
    await rm(dir, { recursive: true, force: true });
  });

  const join1 = async (name = 'billing', seq = 0): Promise<Membership> => {
    const joined = await consumers.join({ name, rooms: ['a'], since: { seq }, settings: SETTINGS });
    if (!joined.ok) throw new Error(joined.code);
    return joined.membership;
  };
  const store = async (count: number): Promise<void> => {
    await Promise.all(Array.from({ length: count }, (_, n) => log.append({ workspaceId: 'w', room: 'a', id: `e${n}`, atMs: 1, fields: '', body: Buffer.from(`${n}`) })));
  };
  const discardAll = async ({ own }: Membership, count: number): Promise<void> => {
    for (let done = 0; done < count; ) {
      const deliveries = await own.pull(count - done, AbortSignal.timeout(30_000));
      await Promise.all(deliveries.map((delivery) => delivery.discard('no')));
      done += deliveries.length;
    }
  };
  const states = async (): Promise<string[]> => (await listLetters(ALL, door)).letters.map(({ letter, state }) => `${letter.held.id} ${state}`);

  it('are redriven up to a bound a call, which says where the next goes on', async () => {
    const member = await join1();
    await store(25);
    await discardAll(member, 25);
    let next: number | undefined = 0;
    const redriven: number[] = [];
    while (next !== undefined) {
      const done = await redriveAll({ consumer: 'billing', after: next, limit: 10 }, door);
      if (!done.ok) throw new Error(done.code);
      redriven.push(done.redriven);
      next = done.next;
    }
    expect(redriven.reduce((sum, count) => sum + count)).toBe(25);
    expect(Math.max(...redriven)).toBe(10);
    const again = await member.returned.pull(100, AbortSignal.timeout(30_000));
    expect(again.length).toBe(25);
    consumers.leave(member);
  });

  it('of a consumer that was made anew are its own, though the same event died before', async () => {
    const first = await join1();
    await store(1);
    await discardAll(first, 1);
    const [letter] = (await listLetters(ALL, door)).letters;
    await deleteLetter(letter?.letter.id ?? '', door);
    await consumers.delete('billing');
    consumers.leave(first);
    const second = await join1();
    await discardAll(second, 1);
    expect(await states()).toEqual(['e0 deleted', 'e0 dead']);
    consumers.leave(second);
  });

  it('are not given to a consumer that was deleted', async () => {
    const member = await join1();
    await store(1);
    await discardAll(member, 1);
    const id = (await listLetters(ALL, door)).letters[0]?.letter.id ?? '';
    await consumers.delete('billing');
    consumers.leave(member);
    expect(await redriveLetter(id, door)).toEqual({ ok: false, code: 'CONSUMER_UNKNOWN' });
    expect(await states()).toEqual(['e0 dead']);
  });

  it('are redriven once when the mark could not be kept the first time', async () => {
    const member = await join1();
    await store(1);
    await discardAll(member, 1);
    const id = (await listLetters(ALL, door)).letters[0]?.letter.id ?? '';
    const release = failing.hold('append');
    const redriving = redriveLetter(id, door);
    // The copy waits; what comes behind it, the mark, is to fail.
    await eventually(() => failing.held === 1, { what: 'the copy' });
    release();
    failing.fail('append', 1, 'LOG_UNAVAILABLE');
    await expect(redriving).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    expect(await states()).toEqual(['e0 dead']);
    expect(await redriveLetter(id, door)).toEqual({ ok: true });
    expect(await states()).toEqual(['e0 redriven']);
    expect(await member.returned.pull(10, AbortSignal.timeout(30_000))).toHaveLength(1);
    consumers.leave(member);
  });

  it('are what their marks say, in whatever order and however often those come', async () => {
    const member = await join1();
    await store(3);
    await discardAll(member, 3);
    const ids = (await listLetters(ALL, door)).letters.map(({ letter }) => letter.id);
    await markLetters(log, 'w', { state: 'deleted', ids: ids.slice(0, 1) });
    await markLetters(log, 'w', { state: 'redriven', ids: ids.slice(0, 2) });
    await markLetters(log, 'w', { state: 'redriven', ids: ids.slice(1, 2) });
    await markLetters(log, 'w', { state: 'redriven', ids: ids.slice(1, 2) });
    await log.append({ workspaceId: '_dead', room: 'w', id: 'odd', atMs: 1, fields: '', body: Buffer.from('no mark') });
    expect((await states()).map((state) => state.slice(3)).sort()).toEqual(['dead', 'deleted', 'redriven']);
    consumers.leave(member);
  });

  it('are kept before the delivery is settled, and the reason why they are not is known', async () => {
    const member = await join1();
    await store(1);
    const [delivery] = await member.own.pull(1, AbortSignal.timeout(30_000));
    failing.fail('append', 1, 'LOG_FULL');
    await delivery?.discard('no').catch(silent);
    const isBuried = (): void => consumers.burials.requireBuried('billing', delivery?.event.seq ?? 0);
    expect(isBuried).toThrow(expect.objectContaining({ code: 'LOG_FULL' }) as Error);
    expect(await states()).toEqual([]);
    // The log tries it again by itself.
    await eventually(async () => expect(await states()).toEqual(['e0 dead']));
    expect(isBuried).not.toThrow();
    consumers.leave(member);
  });
});
