import fc from 'fast-check';
import { expect, test } from 'vitest';

import { SendOrder } from './send-order.ts';

const record = (key: number, length = 1) => ({ key, frame: { length } });

test('what comes while nothing waits goes at once, in order', () => {
  const order = new SendOrder(0);
  order.up();
  expect([order.kept(record(1), 0), order.kept(record(2), 1)]).toEqual(['ahead', 'ahead']);
  expect([order.takeAhead()?.key, order.takeAhead()?.key, order.takeAhead(), order.hasBacklog]).toEqual([1, 2, undefined, false]);
});

test('what comes while nobody is there is backlog', () => {
  const order = new SendOrder(0);
  expect(order.kept(record(1), 0)).toBe('backlog');
  order.up();
  expect([order.hasBacklog, order.cursor, order.takeAhead()]).toEqual([true, 0, undefined]);
});

test('an event of a room that has backlog waits behind it, one of another room goes ahead', () => {
  const order = new SendOrder(10);
  order.up();
  expect([order.kept(record(11), 10), order.kept(record(12), 0), order.kept(record(13), 12), order.kept(record(14), 11)]).toEqual(['backlog', 'ahead', 'ahead', 'backlog']);
  order.pass(10);
  expect(order.kept(record(15), 10)).toBe('ahead');
  expect([11, 12, 13, 14].map((key) => order.wentAhead(key))).toEqual([false, true, true, false]);
});

test('what is more than memory is for joins the backlog, and its room with it', () => {
  const order = new SendOrder(0);
  order.up();
  const large = 7 * 1024 * 1024;
  expect([order.kept(record(1, large), 0), order.kept(record(2, large), 0), order.kept(record(3), 2), order.kept(record(4), 1)]).toEqual(['ahead', 'backlog', 'backlog', 'ahead']);
  expect(order.aheadBytes).toBeGreaterThan(large);
});

test('an event that the backlog came by before it was told of is not sent twice', () => {
  const order = new SendOrder(5);
  order.up();
  order.pass(6);
  expect(order.kept(record(6), 0)).toBe('gone');
});

// A model of an outbox and of a hub that loses its link, refuses for now, and acks whatever it likes.
test('whatever happens, every event goes, and the first time events of a room go they go in order', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('keep' as const), room: fc.integer({ min: 0, max: 3 }) }) },
    { weight: 6, arbitrary: fc.constant({ do: 'take' as const }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('ack' as const), count: fc.integer({ min: 1, max: 5 }) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('lose' as const, 'again' as const) }) },
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const kept = new Map<number, number>();
    const sent = new Set<number>();
    let flight: number[] = [];
    let lastKey = 0;
    const order = new SendOrder<ReturnType<typeof record>>(0);
    /** The last key of each room that went over this link since it was up or rewound. */
    let gone = new Map<number, number>();
    order.up();
    const restart = (after: number): void => {
      flight = flight.filter((key) => key <= after);
      gone = new Map();
    };
    const take = (): boolean => {
      let key = order.takeAhead()?.key;
      while (key === undefined && order.hasBacklog) {
        const next = [...kept.keys()].sort((left, right) => left - right).find((one) => one > order.cursor);
        if (next === undefined) order.drained();
        else {
          if (!order.wentAhead(next)) key = next;
          order.pass(next);
        }
      }
      if (key === undefined) return false;
      const room = kept.get(key);
      if (room === undefined || flight.includes(key)) throw new Error(`${key} is not to be sent`);
      if (key < (gone.get(room) ?? 0)) throw new Error(`${key} overtook`);
      gone.set(room, key);
      sent.add(key);
      flight.push(key);
      return true;
    };
    for (const one of steps) {
      if (one.do === 'keep') {
        const prevKey = Math.max(0, ...[...kept].filter(([, room]) => room === one.room).map(([key]) => key));
        kept.set((lastKey += 1), one.room);
        order.kept(record(lastKey), prevKey);
      } else if (one.do === 'take') take();
      else if (one.do === 'ack') {
        for (const key of flight.splice(0, one.count)) {
          kept.delete(key);
          order.settled(key);
        }
      } else if (one.do === 'lose') {
        order.down();
        order.up();
        restart(0);
      } else if (flight.length > 0) {
        const from = Math.min(...flight);
        order.rewind(from - 1);
        restart(from - 1);
      }
    }
    while (take());
    return [...kept.keys()].every((key) => sent.has(key) && flight.includes(key));
  }), { numRuns: 500 });
});
