import { matchesPattern } from '@carillon/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { Lane, LaneGroup, Subscriptions, V1 } from './index.ts';

const group = new LaneGroup(1_000);
const sink = { writableLength: 0, destroyed: false, write: () => true, cork: () => undefined, uncork: () => undefined, once: () => undefined };
const join = (): Lane => new Lane(sink, { codec: V1, group, maxBytes: 1_000, owner: { laneCut: () => undefined } });

function listen(): { readonly heard: string[]; readonly subscriptions: Subscriptions } {
  const heard: string[] = [];
  return { heard, subscriptions: new Subscriptions({ added: (pattern) => heard.push(`+${pattern}`), removed: (pattern) => heard.push(`-${pattern}`) }) };
}

describe('subscriptions', () => {
  it('lead an event to those who asked for its room, by name or by pattern', () => {
    const subscriptions = new Subscriptions();
    const [exact, pattern, all, other] = [join(), join(), join(), join()];
    subscriptions.add('ITB-1101', exact);
    subscriptions.add('ITB-*', pattern);
    subscriptions.add('*', all);
    subscriptions.add('JKB-1', other);
    expect(new Set(subscriptions.route('ITB-1101').lanes)).toEqual(new Set([exact, pattern, all]));
    expect(new Set(subscriptions.route('ITB-1102').lanes)).toEqual(new Set([pattern, all]));
    expect(subscriptions.route('X').lanes).toEqual([all]);
  });

  it('lead to a lane once, however many of its patterns select the room', () => {
    const subscriptions = new Subscriptions();
    const lane = join();
    for (const pattern of ['ITB-1101', 'ITB-*', '*', 'ITB**', '**']) subscriptions.add(pattern, lane);
    expect(subscriptions.route('ITB-1101').lanes).toEqual([lane]);
    for (const pattern of ['ITB-1101', 'ITB-*', '*', 'ITB**']) subscriptions.remove(pattern, lane);
    expect(subscriptions.route('ITB-1101').lanes).toEqual([lane]);
    subscriptions.remove('**', lane);
    expect(subscriptions.route('ITB-1101').lanes).toEqual([]);
  });

  it('remember a route until a subscription that concerns it changes', () => {
    const subscriptions = new Subscriptions();
    const lane = join();
    const before = subscriptions.route('A');
    expect(subscriptions.route('A')).toBe(before);
    subscriptions.add('B', lane);
    expect(subscriptions.route('A')).toBe(before);
    subscriptions.add('A', lane);
    const with1 = subscriptions.route('A');
    expect(with1.lanes).toEqual([lane]);
    subscriptions.add('A*', lane);
    expect(subscriptions.route('A')).not.toBe(with1);
    subscriptions.remove('A', lane);
    subscriptions.remove('A*', lane);
    expect(subscriptions.route('A').lanes).toEqual([]);
  });

  it('do not change a route that a batch holds', () => {
    const subscriptions = new Subscriptions();
    const [first, second] = [join(), join()];
    subscriptions.add('A', first);
    const held = subscriptions.route('A');
    subscriptions.add('A', second);
    subscriptions.remove('A', first);
    expect(held.lanes).toEqual([first]);
    expect(subscriptions.route('A').lanes).toEqual([second]);
  });

  it('say whether anything changed', () => {
    const subscriptions = new Subscriptions();
    const lane = join();
    expect([subscriptions.remove('A', lane), subscriptions.add('A', lane), subscriptions.add('A', lane), subscriptions.remove('A', join())]).toEqual([false, true, false, false]);
    expect([subscriptions.remove('A', lane), subscriptions.remove('A', lane)]).toEqual([true, false]);
  });

  it('report the first interest in a pattern and the last', () => {
    const { heard, subscriptions } = listen();
    const [first, second] = [join(), join()];
    for (const pattern of ['A', 'A-*']) {
      subscriptions.add(pattern, first);
      subscriptions.add(pattern, first);
      subscriptions.add(pattern, second);
      subscriptions.remove(pattern, first);
      subscriptions.remove(pattern, first);
      subscriptions.remove(pattern, second);
      subscriptions.remove(pattern, second);
    }
    expect(heard).toEqual(['+A', '-A', '+A-*', '-A-*']);
  });

  it('are not confused by rooms named like members of an object', () => {
    const subscriptions = new Subscriptions();
    const lane = join();
    for (const room of ['__proto__', 'constructor', 'toString']) {
      expect(subscriptions.route(room).lanes).toEqual([]);
      subscriptions.add(room, lane);
      expect(subscriptions.route(room).lanes).toEqual([lane]);
    }
  });

  it('stay right when publishers name more rooms than are remembered', () => {
    const subscriptions = new Subscriptions();
    const lane = join();
    subscriptions.add('room-*', lane);
    const first = subscriptions.route('room-0');
    const alone = Array.from({ length: 20_000 }, (_, room) => subscriptions.route(`room-${room + 1}`)).every(({ lanes }) => lanes.length === 1);
    expect(alone).toBe(true);
    expect(subscriptions.route('room-0')).not.toBe(first);
    expect(subscriptions.route('room-0').lanes).toEqual([lane]);
  });

  it('lead only to those who may have the room, and ask again when rights change', () => {
    const asked: string[] = [];
    const may = new Map<Lane, 'allow' | 'deny'>();
    const subscriptions = new Subscriptions(undefined, {
      decide: (lane, room) => {
        asked.push(room);
        return may.get(lane) ?? 'deny';
      },
      allows: () => true,
    });
    const [allowed, denied] = [join(), join()];
    may.set(allowed, 'allow');
    for (const lane of [allowed, denied]) subscriptions.add('*', lane);
    const route = subscriptions.route('A');
    expect([route.lanes, route.byEvent]).toEqual([[allowed], false]);
    expect(subscriptions.route('A')).toBe(route);
    expect(asked).toEqual(['A', 'A']);
    may.set(denied, 'allow').set(allowed, 'deny');
    expect(subscriptions.route('A')).toBe(route);
    subscriptions.invalidate();
    expect(subscriptions.route('A').lanes).toEqual([denied]);
  });

  it('lead by the event\'s name where a right depends on it', () => {
    const names = new Map<Lane, string>();
    let asked = 0;
    const subscriptions = new Subscriptions(undefined, {
      decide: (lane, room) => (room === 'SECRET' ? 'deny' : names.has(lane) ? 'by-event' : 'allow'),
      allows: (lane, _room, event) => {
        asked += 1;
        return names.get(lane) === event;
      },
    });
    const [all, power, other] = [join(), join(), join()];
    names.set(power, 'power').set(other, 'other');
    for (const lane of [all, power, other]) subscriptions.add('A', lane);
    for (const lane of [all, power]) subscriptions.add('*', lane);
    const route = subscriptions.route('A');
    expect([route.lanes, route.byEvent]).toEqual([[all], true]);
    const forPower = subscriptions.routeForEvent('A', 'power');
    expect(forPower.lanes).toEqual([all, power]);
    expect(subscriptions.routeForEvent('A', 'power')).toBe(forPower);
    expect(asked).toBe(2);
    expect(subscriptions.routeForEvent('A', 'other').lanes).toEqual([all, other]);
    for (const name of ['', 'undefined', undefined]) expect(subscriptions.routeForEvent('A', name).lanes).toEqual([all]);
    expect([subscriptions.routeForEvent('B', 'power').lanes, subscriptions.routeForEvent('SECRET', 'power').lanes]).toEqual([[all, power], []]);
    subscriptions.remove('A', other);
    expect(subscriptions.routeForEvent('A', 'power')).not.toBe(forPower);
    expect(subscriptions.routeForEvent('A', 'other').lanes).toEqual([all]);
    subscriptions.invalidate();
    names.set(power, 'other');
    expect([subscriptions.routeForEvent('A', 'power').lanes, subscriptions.routeForEvent('A', 'other').lanes]).toEqual([[all], [all, power]]);
  });

  it('say who wants an event and may not have it', () => {
    const [all, power, barred, elsewhere] = [join(), join(), join(), join()];
    const subscriptions = new Subscriptions(undefined, {
      decide: (lane) => (lane === all ? 'allow' : lane === power ? 'by-event' : 'deny'),
      allows: (lane, _room, name) => lane === power && name === 'power',
    });
    for (const lane of [all, power, barred]) subscriptions.add('A', lane);
    subscriptions.add('B', elsewhere);
    const route = subscriptions.route('A');
    expect([route.lanes, route.denied, route.byEvent]).toEqual([[all], [barred], true]);
    expect(subscriptions.routeForEvent('A', 'power').denied).toEqual([barred]);
    expect(subscriptions.routeForEvent('A', 'other').denied).toEqual([power, barred]);
    expect(subscriptions.route('B').denied).toEqual([elsewhere]);
  });

  it('stay right when publishers name more events than are remembered', () => {
    const subscriptions = new Subscriptions(undefined, { decide: () => 'by-event', allows: (_lane, _room, event) => event?.endsWith('7') === true });
    const lane = join();
    subscriptions.add('room', lane);
    const first = subscriptions.routeForEvent('room', '7');
    const wrong = Array.from({ length: 20_000 }, (_, at) => `${at}`).filter((event) => (subscriptions.routeForEvent('room', event).lanes.length === 1) !== event.endsWith('7'));
    expect(wrong).toEqual([]);
    expect(subscriptions.routeForEvent('room', '7')).not.toBe(first);
    subscriptions.remove('room', lane);
    expect(subscriptions.routeForEvent('room', '7').lanes).toEqual([]);
  });

  it('are what a plain list of pairs would be', () => {
    const patterns = ['A', 'A-1', 'A-2', 'A-*', '*', '**', '*-1', 'A**', 'A/*'];
    const rooms = ['A', 'A-1', 'A-2', 'A/1', 'B', 'B-1'];
    const step = fc.record({ add: fc.boolean(), pattern: fc.constantFrom(...patterns), lane: fc.nat(3), room: fc.constantFrom(...rooms) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { heard, subscriptions } = listen();
        const lanes = [join(), join(), join(), join()];
        const pairs = new Map<string, Set<number>>();
        const expectedHeard: string[] = [];
        for (const { add, pattern, lane, room } of steps) {
          const members = pairs.get(pattern) ?? new Set();
          pairs.set(pattern, members);
          const changes = members.has(lane) !== add;
          if (changes && members.size === (add ? 0 : 1)) expectedHeard.push(`${add ? '+' : '-'}${pattern}`);
          expect(add ? subscriptions.add(pattern, lanes[lane] as Lane) : subscriptions.remove(pattern, lanes[lane] as Lane)).toBe(changes);
          if (add) members.add(lane);
          else members.delete(lane);
          const wanted = new Set([...pairs].filter(([each]) => matchesPattern(each, room)).flatMap(([, each]) => [...each]));
          const { lanes: routed } = subscriptions.route(room);
          expect(routed.map((each) => lanes.indexOf(each)).sort()).toEqual([...wanted].sort());
          expect([...subscriptions.wanted()].sort()).toEqual([...pairs].filter(([, each]) => each.size > 0).map(([each]) => each).sort());
        }
        expect(heard).toEqual(expectedHeard);
      }),
      { numRuns: 500 },
    );
  });
});
