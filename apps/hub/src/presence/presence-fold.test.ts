import { describe, expect, it } from 'vitest';

import { factEvent, readFact, type PresenceFact } from './presence-facts.ts';
import { PresenceFold, ROOM_MEMBERS_MAX, type FactOutcome } from './presence-fold.ts';

interface World {
  readonly fold: PresenceFold;
  /** `room/name` of each change, in order. */
  readonly changes: string[];
  /** Applies a fact as the next of the log, stored when it was said. */
  say(fact: PresenceFact): FactOutcome;
  enter(member: string, name: string, more?: { readonly hub?: string; readonly room?: string; readonly owner?: string; readonly data?: string; readonly atMs?: number }): FactOutcome;
  leave(member: string, more?: { readonly hub?: string; readonly atMs?: number }): FactOutcome;
  names(room?: string): string[];
}

function createWorld(): World {
  const changes: string[] = [];
  const fold = new PresenceFold((room, name) => changes.push(`${room}/${name}`));
  let seq = 0;
  const say: World['say'] = (fact) => fold.apply(fact, { seq: (seq += 1), storedAtMs: fact.atMs });
  return {
    fold, changes, say,
    enter: (member, name, { hub = 'h', room = 'A', owner = '', data, atMs = 1 } = {}) => say({ type: 'entered', hub, member, room, name, owner, atMs, ...(data === undefined ? {} : { data }) }),
    leave: (member, { hub = 'h', atMs = 2 } = {}) => say({ type: 'left', hub, member, atMs }),
    names: (room = 'A') => [...fold.people(room).keys()],
  };
}

describe('who is in a room', () => {
  it('is whoever entered and has not left; of who has left it is known when', () => {
    const world = createWorld();
    world.enter('m1', 'ann', { atMs: 10, data: 'x' });
    world.enter('m2', 'bob', { atMs: 11 });
    world.enter('m3', 'ann', { room: 'B', atMs: 12 });
    world.leave('m2', { atMs: 20 });
    expect([...world.fold.people('A').values()]).toMatchObject([{ name: 'ann', at: 10, data: 'x' }]);
    expect([[...world.fold.lastSeen('A')], world.names('B'), world.fold.members]).toEqual([[['bob', 20]], ['ann'], 2]);
    world.enter('m4', 'bob', { atMs: 30 });
    expect([[...world.fold.lastSeen('A')], world.names()]).toEqual([[], ['ann', 'bob']]);
    expect(world.changes).toEqual(['A/ann', 'A/bob', 'B/ann', 'A/bob', 'A/bob']);
  });

  it('does not change when it is said again', () => {
    const world = createWorld();
    expect([world.enter('m', 'ann'), world.enter('m', 'ann', { atMs: 9 })]).toEqual(['taken', 'taken']);
    expect([world.leave('m'), world.leave('m'), world.leave('never')]).toEqual(['taken', 'void', 'void']);
    expect(world.changes).toEqual(['A/ann', 'A/ann']);
    expect(world.fold.members).toBe(0);
  });

  it('is one person of several members of one name, until the last of them has left; the last to enter says what others see', () => {
    const world = createWorld();
    world.enter('m1', 'ann', { owner: 'k', atMs: 10, data: 'old' });
    world.enter('m2', 'ann', { owner: 'k', atMs: 11, data: 'new' });
    expect([...world.fold.people('A').values()]).toMatchObject([{ name: 'ann', at: 10, data: 'new' }]);
    world.leave('m2', { atMs: 20 });
    expect(world.fold.people('A').get('ann')).toMatchObject({ at: 10, data: 'new' });
    world.leave('m1', { atMs: 21 });
    expect([world.names(), [...world.fold.lastSeen('A')]]).toEqual([[], [['ann', 21]]]);
    expect(world.changes).toEqual(['A/ann', 'A/ann', 'A/ann']);
  });

  it('takes no second key under a name, in that room and as long as somebody is there', () => {
    const world = createWorld();
    world.enter('m1', 'ann', { owner: 'k1' });
    expect(world.enter('m2', 'ann', { owner: 'k2' })).toBe('PRESENCE_NAME_IN_USE');
    expect(world.enter('m3', 'ann', { owner: 'k2', room: 'B' })).toBe('taken');
    expect(world.leave('m2')).toBe('void');
    world.leave('m1');
    expect(world.enter('m4', 'ann', { owner: 'k2' })).toBe('taken');
  });

  it('is bounded', () => {
    const world = createWorld();
    for (let n = 0; n < ROOM_MEMBERS_MAX; n += 1) world.enter(`m${n}`, `n${n}`);
    expect(world.enter('more', 'more')).toBe('PRESENCE_EXCEEDED');
    expect(world.enter('m0', 'n0')).toBe('taken');
    expect(world.enter('other', 'more', { room: 'B' })).toBe('taken');
    world.leave('m7');
    expect([world.enter('more', 'more'), world.names().length]).toEqual(['taken', ROOM_MEMBERS_MAX]);
  });

  it('has so many in all rooms together', () => {
    const world = createWorld();
    let refused = 0;
    for (let n = 0; n < 50_001; n += 1) refused += world.enter(`m${n}`, `n${n}`, { room: `R${n % 20}` }) === 'PRESENCE_EXCEEDED' ? 1 : 0;
    expect([refused, world.fold.members]).toEqual([1, 50_000]);
  });

  it('remembers a thousand names of a room that left, and fifty thousand in all, and forgets the oldest', () => {
    const world = createWorld();
    for (let n = 0; n < 1_001; n += 1) {
      world.enter(`m${n}`, `n${n}`);
      world.leave(`m${n}`, { atMs: n });
    }
    const seen = world.fold.lastSeen('A');
    expect([seen.size, seen.has('n0'), seen.get('n1000')]).toEqual([1_000, false, 1_000]);
    for (let n = 0; n < 49_001; n += 1) {
      world.enter('m', 'x', { room: `R${n}` });
      world.leave('m');
    }
    expect([world.fold.lastSeen('A').size, world.fold.lastSeen('A').has('n1'), world.fold.lastSeen('R49000').size]).toEqual([999, false, 1]);
  });
});

describe('a hub of which nothing is heard', () => {
  it('is silent from its last fact on, of whatever kind', () => {
    const world = createWorld();
    world.enter('m1', 'ann', { hub: 'x', atMs: 1_000 });
    world.say({ type: 'beat', hub: 'x', atMs: 3_000 });
    world.enter('m2', 'bob', { hub: 'y', atMs: 6_000 });
    world.say({ type: 'beat', hub: 'nobody is there by it', atMs: 1 });
    expect([...world.fold.silent(3_000)]).toEqual([]);
    expect([...world.fold.silent(3_001)]).toEqual([{ hub: 'x', seq: 2, atMs: 3_000 }]);
  });

  it('takes its members with it, who were seen last when it was', () => {
    const world = createWorld();
    world.enter('m1', 'ann', { hub: 'x', atMs: 1_000 });
    world.enter('m2', 'bob', { hub: 'y', atMs: 1_001 });
    world.enter('m3', 'ann', { hub: 'y', room: 'B' });
    world.say({ type: 'beat', hub: 'x', atMs: 3_000 });
    const [silent] = [...world.fold.silent(1_000_000)];
    expect(world.say({ type: 'gone', hub: 'x', seq: silent?.seq ?? 0, atMs: silent?.atMs ?? 0 })).toBe('taken');
    expect([world.names(), world.names('B'), [...world.fold.lastSeen('A')]]).toEqual([['bob'], ['ann'], [['ann', 3_000]]]);
    expect([...world.fold.silent(1_000_000)].map(({ hub }) => hub)).toEqual(['y']);
    // It was alive after all, and says so.
    expect([world.enter('m1', 'ann', { hub: 'x', atMs: 1_000 }), world.fold.people('A').get('ann')?.at]).toEqual(['taken', 1_000]);
  });

  it('is not gone when something of it was stored after what was said', () => {
    const world = createWorld();
    world.enter('m1', 'ann', { hub: 'x' });
    world.say({ type: 'beat', hub: 'x', atMs: 3_000 });
    expect(world.say({ type: 'gone', hub: 'x', seq: 1, atMs: 1 })).toBe('void');
    expect(world.say({ type: 'gone', hub: 'unheard of', seq: 9, atMs: 1 })).toBe('void');
    expect(world.names()).toEqual(['ann']);
  });
});

describe('a fact', () => {
  it.each<PresenceFact>([
    { type: 'entered', hub: 'h', member: 'm', room: 'Räume/"1"', name: 'ann', owner: '', data: '{"\n":1}', atMs: 1 },
    { type: 'entered', hub: 'h', member: 'm', room: 'A', name: 'ann', owner: 'k', atMs: 1 },
    { type: 'left', hub: 'h', member: 'm', atMs: 2 },
    { type: 'beat', hub: 'h', atMs: 3 },
    { type: 'gone', hub: 'h', seq: 7, atMs: 4 },
  ])('is read as it was written: %j', (fact) => {
    expect(readFact(factEvent(fact, { workspaceId: 'w', id: 'i', nowMs: 5 }).body)).toEqual(fact);
  });

  it.each(['', 'null', '7', '[]', '{}', '{"type":"beat"}', '{"type":"beat","hub":"h","atMs":-1}', '{"type":"left","hub":"h","atMs":1}', '{"type":"gone","hub":"h","atMs":1,"seq":"1"}', '{"type":"entered","hub":"h","atMs":1,"member":"m","room":"A","name":"n"}', '{"type":"entered","hub":"h","atMs":1,"member":"m","room":"A","name":"n","owner":"","data":1}', '{"type":"tomorrow","hub":"h","atMs":1}'])('that is none is passed over: %s', (body) => {
    expect(readFact(Buffer.from(body))).toBeUndefined();
  });

  it('expires when it was given a time', () => {
    expect(factEvent({ type: 'beat', hub: 'h', atMs: 1 }, { workspaceId: 'w', id: 'i', nowMs: 5, ttlMs: 10 })).toMatchObject({ workspaceId: '_presence', room: 'w', id: 'i', atMs: 5, expiresAtMs: 15 });
  });
});
