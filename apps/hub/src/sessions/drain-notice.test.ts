import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { EventLog, LogEvent } from '@carillon/log';
import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { closeAll, connectPeer, onClose, startTestHub } from '../hub.fixture.ts';
import { openSession } from './session.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const AS = { messenger: { kind: 'messenger' }, repeater: { kind: 'repeater', hello: false } } as const;
const COME_BACK = { CARILLON_HUB_COME_BACK_MIN_MS: '400', CARILLON_HUB_COME_BACK_MAX_MS: '900' };

/** A log whose appends wait until they are let go. */
function createGate(): { readonly wrap: (log: EventLog) => EventLog; readonly waiting: () => number; readonly open: () => void } {
  let open = (): void => undefined;
  let waiting = 0;
  const gate = new Promise<void>((resolve) => (open = resolve));
  const wrap = (log: EventLog): EventLog => new Proxy(log, {
    get: (target, name) => {
      if (name === 'counts') return { ...target.counts, waitingBytes: waiting };
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      if (name !== 'append') return (...given: unknown[]): unknown => Reflect.apply(member, target, given);
      return async (event: LogEvent) => {
        waiting += 1;
        await gate;
        return target.append(event).finally(() => (waiting -= 1));
      };
    },
  });
  return { wrap, waiting: () => waiting, open };
}

describe('a hub that stops', () => {
  it('tells sessions first when to come back, each another time, and then closes them with the same', async () => {
    const hub = await startTestHub({ log: true, env: COME_BACK });
    const sessions = await Promise.all(Array.from({ length: 20 }, (_, n) => openSession(hub, n % 4 === 0 ? AS.repeater : AS.messenger)));
    const old = await connectPeer(hub, 'messenger');
    const heard = old.texts.length;
    await hub.stop();
    const hints = new Set<number>();
    for (const session of sessions) {
      const { code, reason } = await session.ended;
      const [drain] = session.all('drain');
      expect([code, reason]).toEqual([1012, `DRAINING retry-after-ms=${drain?.afterMs}`]);
      expect(drain !== undefined && drain.afterMs >= 400 && drain.afterMs <= 900).toBe(true);
      hints.add(drain?.afterMs ?? 0);
    }
    expect(hints.size).toBeGreaterThan(5);
    // Who speaks the first protocol knows the close only.
    expect([old.texts.length, (await old.ended).code]).toEqual([heard, 1012]);
  });

  it.each(['messenger', 'repeater'] as const)('acks what it took of a %s before it closes, and takes nothing new', async (kind) => {
    const dataDir = await mkdtemp(join(tmpdir(), 'carillon-drain-'));
    onClose(() => rm(dataDir, { recursive: true, force: true }));
    const gate = createGate();
    const hub = await startTestHub({ log: true, wrapLog: gate.wrap, dataDir });
    const session = await openSession(hub, AS[kind]);
    const taken = Array.from({ length: 20 }, (_, n) => `t${n}`);
    for (const id of taken) session.publish('A', id, { id });
    await eventually(() => gate.waiting() === taken.length);
    const stopped = hub.stop();
    await session.got('drain');
    session.publish('A', 'late', { id: 'late' });
    expect(await session.got('error')).toMatchObject({ code: 'DRAINING', request: 'late' });
    expect(session.all('published')).toEqual([]);
    gate.open();
    await session.ended;
    await stopped;
    expect(session.all('published').flatMap(({ events }) => events.map(([id]) => id))).toEqual(taken);
    const next = await startTestHub({ log: true, dataDir });
    const again = await openSession(next, AS[kind]);
    // What was refused is stored once it comes again; what was acked was stored.
    expect(await again.store('A', 't19', { id: 't19' })).toBe(20);
    expect(await again.store('A', 'late', { id: 'late' })).toBe(21);
  });

  it('does not wait for a log that does not answer', async () => {
    const gate = createGate();
    const hub = await startTestHub({ log: true, wrapLog: gate.wrap });
    const session = await openSession(hub);
    session.publish('A', 'x', { id: 'x' });
    await eventually(() => gate.waiting() === 1);
    onClose(() => gate.open());
    await hub.stop();
    expect((await session.ended).code).toBe(1012);
    expect(session.all('published')).toEqual([]);
  });
});
