import { beforeEach, describe, expect, it } from 'vitest';

import { ConsumerState, SETTLED_ATTEMPT, type ConsumerStateOptions, type Owed } from './consumer-state.ts';
import type { StoredEvent } from './event-log.ts';

const event = (seq: number): StoredEvent => ({ workspaceId: 'w', room: 'r', id: `id-${seq}`, atMs: 0, fields: '', body: new Uint8Array(0), seq, prevSeq: seq - 1, storedAtMs: 0 });
const OPTIONS: ConsumerStateOptions = { floor: 0, maxInFlight: 3, maxDeliveries: 2, attempts: new Map() };

describe('what a consumer is owed', () => {
  const member = {};
  let state: ConsumerState;
  const begin = (given: Partial<ConsumerStateOptions> = {}): void => {
    state = new ConsumerState({ ...OPTIONS, ...given });
  };
  const take = (max: number): Owed[] => state.take(max, member).map(({ owed }) => owed);
  const settle = (...owed: Owed[]): void => {
    for (const one of owed) state.settling(one);
    state.settled(owed);
  };
  beforeEach(() => {
    begin();
    state.feed([1, 2, 3, 4, 5].map(event), 7);
  });

  it('is handed out in order, no more than may be in flight', () => {
    expect(take(2).map(({ seq }) => seq)).toEqual([1, 2]);
    expect(take(5).map(({ seq }) => seq)).toEqual([3]);
    expect(take(5)).toEqual([]);
    expect(state.counts()).toEqual({ waiting: 2, inFlight: 3 });
    expect(state.wantsMore).toBe(false);
  });

  it('moves the floor over what is settled from the bottom, and to the end of what was read when all is', () => {
    const [one, two, three] = take(3) as [Owed, Owed, Owed];
    settle(three, two);
    expect(state.floor).toBe(0);
    state.settling(one);
    expect(state.planFloor()).toEqual({ floor: 3, passed: [1, 2, 3] });
    state.settled([one]);
    expect(state.floor).toBe(3);
    settle(...take(3));
    expect(state.floor).toBe(7);
    expect(state.wantsMore).toBe(true);
  });

  it('knows a delivery by its turn', () => {
    const [one] = take(1) as [Owed];
    const { turn } = one;
    expect(state.isHeld(one, turn)).toBe(true);
    expect(state.release(one, { delayed: false, reason: 'x' })).toBe('again');
    expect(state.isHeld(one, turn)).toBe(false);
    const [again] = take(1) as [Owed];
    expect([again.seq, again.attempt, state.isHeld(again, turn)]).toEqual([1, 2, false]);
  });

  it('is held as before when a settling is not kept', () => {
    const [one] = take(1) as [Owed];
    const { turn } = one;
    state.settling(one);
    expect(state.isHeld(one, turn)).toBe(false);
    expect(state.unsettle(one)).toBe('held');
    expect(state.isHeld(one, turn)).toBe(true);
  });

  it('does not count an attempt that was given back', () => {
    const [one] = take(1) as [Owed];
    state.giveBack(one);
    expect(take(1).map(({ seq, attempt }) => [seq, attempt])).toEqual([[1, 1]]);
  });

  it('is due after its delay, unless something else has happened', () => {
    const [one] = take(1) as [Owed];
    expect(state.release(one, { delayed: true, reason: 'x' })).toBe('delayed');
    const { turn } = one;
    expect(take(5).map(({ seq }) => seq)).toEqual([2, 3]);
    expect(state.resume(one, turn)).toBe(true);
    expect(state.resume(one, turn)).toBe(false);
    expect(take(5).map(({ seq }) => seq)).toEqual([1]);
  });

  it('dies after its last attempt, or when it is told to', () => {
    const [one, two] = take(2) as [Owed, Owed];
    expect(state.release(two, { delayed: false, reason: 'bad', isLast: true })).toBe('dying');
    state.release(one, { delayed: false, reason: 'x' });
    const [again] = take(1) as [Owed];
    expect(state.release(again, { delayed: true, reason: 'worse' })).toBe('dying');
    expect(state.dying().map(({ seq, reason }) => [seq, reason])).toEqual([[1, 'worse'], [2, 'bad']]);
  });

  it('goes on where another process ended: settled, tried, given up, gone', () => {
    begin({ attempts: new Map([[1, SETTLED_ATTEMPT], [2, 1], [3, 2], [6, 1]]) });
    const { spent, gone } = state.feed([1, 2, 3, 4].map(event), 6);

    expect(spent.map(({ seq }) => seq)).toEqual([3]);
    expect(gone).toEqual([6]);
    expect(state.floor).toBe(1);
    expect(take(5).map(({ seq, attempt }) => [seq, attempt])).toEqual([[2, 2], [4, 1]]);
  });
});
