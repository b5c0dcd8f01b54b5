import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { nextState, type LifecycleEvent, type LifecycleState } from './lifecycle.ts';

const events: readonly LifecycleEvent[] = ['start', 'started', 'drain', 'finish', 'fail'];
const order: readonly LifecycleState[] = ['created', 'starting', 'running', 'draining', 'stopped', 'failed'];

describe('nextState', () => {
  it.each([
    ['a life without trouble', ['start', 'started', 'drain', 'finish'], ['starting', 'running', 'draining', 'stopped']],
    ['a start that fails', ['start', 'drain', 'fail'], ['starting', 'draining', 'failed']],
    ['an order that comes too late', ['start', 'drain', 'started', 'drain', 'finish', 'start'], ['starting', 'draining', undefined, undefined, 'stopped', undefined]],
  ] as const)('tells %s', (_, happening, states) => {
    let state: LifecycleState = 'created';
    const seen = happening.map((event) => {
      const next = nextState(state, event);
      state = next ?? state;
      return next;
    });
    expect(seen).toEqual(states);
  });

  it('only ever goes forward, and ends through draining alone', () => {
    fc.assert(fc.property(fc.array(fc.constantFrom(...events)), (happening) => {
      let state: LifecycleState = 'created';
      for (const event of happening) {
        const next = nextState(state, event);
        if (next === undefined) continue;
        expect(order.indexOf(next)).toBeGreaterThan(order.indexOf(state));
        if (next === 'stopped' || next === 'failed') expect(state).toBe('draining');
        state = next;
      }
    }));
  });
});
