import { Lane, LaneGroup, V1 } from '@carillon/session';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { LinkRoutes } from './link-routes.ts';

const group = new LaneGroup(1_000);
const sink = { writableLength: 0, destroyed: false, write: () => true, cork: () => undefined, uncork: () => undefined, once: () => undefined };
const createLane = (): Lane => new Lane(sink, { codec: V1, group, maxBytes: 1_000, owner: { laneCut: () => undefined } });

const never = (): never => {
  throw new Error('the name was asked for');
};

describe('the routes of links', () => {
  it('are one where nothing is asked of rights, and where rights leave nobody out', () => {
    const [one, other] = [createLane(), createLane()];
    for (const routes of [new LinkRoutes(), new LinkRoutes({ decide: () => 'allow', allows: never })]) {
      for (const lane of [one, other, one]) routes.add(lane);
      expect([routes.size, routes.route('A', never).lanes]).toEqual([2, [one, other]]);
      expect(routes.route('B', never)).toBe(routes.route('A', never));
      routes.remove(one);
      routes.remove(one);
      expect([routes.size, routes.route('A', never).lanes]).toEqual([1, [other]]);
    }
  });

  it('are shared by rooms that go out on the same links', () => {
    const [itb, all, none] = [createLane(), createLane(), createLane()];
    const routes = new LinkRoutes({ decide: (lane, room) => (lane === all || (lane === itb && room.startsWith('ITB')) ? 'allow' : 'deny'), allows: never });
    for (const lane of [itb, all, none]) routes.add(lane);
    expect(routes.route('ITB-1', never).lanes).toEqual([itb, all]);
    expect(routes.route('ITB-2', never)).toBe(routes.route('ITB-1', never));
    expect(routes.route('JKB-1', never).lanes).toEqual([all]);
  });

  it('are what asking each link anew would give, whatever changes', () => {
    const rooms = ['A', 'B', 'C'];
    const names = ['x', 'y', undefined];
    const lanes = [createLane(), createLane(), createLane()];
    const rule = fc.constantFrom('allow', 'deny', 'by-event' as const);
    const step = fc.oneof(
      fc.record({ do: fc.constantFrom('add' as const, 'remove' as const), lane: fc.nat(2) }),
      fc.record({ do: fc.constant('rights' as const), lane: fc.nat(2), rules: fc.tuple(rule, rule, rule) }),
      fc.record({ do: fc.constant('route' as const), room: fc.nat(2), name: fc.nat(2) }),
    );
    fc.assert(fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const rights = lanes.map(() => ['allow', 'deny', 'by-event'] as ('allow' | 'deny' | 'by-event')[]);
      const members = new Set<Lane>();
      const decide = (lane: Lane, room: string) => rights[lanes.indexOf(lane)]?.[rooms.indexOf(room)] ?? 'deny';
      const allows = (lane: Lane, _room: string, event: string | undefined): boolean => event === ['x', 'y', 'x'][lanes.indexOf(lane)];
      const routes = new LinkRoutes({ decide, allows });
      for (const one of steps) {
        if (one.do === 'route') {
          const [room, name] = [rooms[one.room] ?? '', names[one.name]];
          const want = lanes.filter((lane) => members.has(lane) && (decide(lane, room) === 'allow' || (decide(lane, room) === 'by-event' && allows(lane, room, name))));
          expect(new Set(routes.route(room, () => name).lanes)).toEqual(new Set(want));
          continue;
        }
        const lane = lanes[one.lane] as Lane;
        if (one.do === 'rights') {
          rights[one.lane] = one.rules;
          routes.invalidate();
        } else {
          routes[one.do](lane);
          members[one.do === 'add' ? 'add' : 'delete'](lane);
        }
      }
    }), { numRuns: 500 });
  });

  it('stay right when publishers name more rooms than are remembered', () => {
    const lane = createLane();
    const routes = new LinkRoutes({ decide: (_lane, room) => (room.endsWith('7') ? 'allow' : 'deny'), allows: never });
    routes.add(lane);
    const wrong = Array.from({ length: 40_000 }, (_, at) => `${at}`).filter((room) => (routes.route(room, never).lanes.length === 1) !== room.endsWith('7'));
    expect(wrong).toEqual([]);
  });
});
