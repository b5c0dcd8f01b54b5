import { describe, expect, it } from 'vitest';
import { EVENTS, STATUSES, TABLE, type Effect, type MachineEvent } from './machine.ts';
import type { MessengerStatus } from './messenger.ts';

/** The drawing in machine.ts, once more, by the column. */
const DRAWN: Record<MachineEvent, readonly [connecting: string, open: string, waiting: string, draining: string]> = {
  opened: ['open/greet', 'stay', 'stay', 'draining/greet'],
  lost: ['waiting/wait', 'waiting/wait', 'stay', 'draining/wait'],
  refused: ['closed/end', 'closed/end', 'stay', 'closed/end'],
  retry: ['stay', 'stay', 'connecting/dial', 'draining/dial'],
  drain: ['draining/flush', 'draining/flush', 'draining/flush', 'stay'],
  flushed: ['stay', 'stay', 'stay', 'closed/end'],
  close: ['closed/end', 'closed/end', 'closed/end', 'closed/end'],
};

const cells = STATUSES.flatMap((status) => EVENTS.map((event) => ({ status, event, ...TABLE[status][event] })));

describe('the table of a messenger', () => {
  it('has a cell for every status and event, and no other', () => {
    expect(cells).toHaveLength(35);
    expect(Object.keys(TABLE).sort()).toEqual([...STATUSES].sort());
    for (const status of STATUSES) expect(Object.keys(TABLE[status]).sort()).toEqual([...EVENTS].sort());
  });

  it.each(cells)('$status on $event goes to $next and does $effect', ({ status, event, next, effect }) => {
    const drawn = status === 'closed' ? 'stay' : DRAWN[event][STATUSES.indexOf(status)];
    expect(next === status && effect === 'none' ? 'stay' : `${next}/${effect}`).toBe(drawn);
  });

  it('ends exactly when it enters closed, which it never leaves', () => {
    for (const { status, next, effect } of cells) {
      expect(effect === 'end').toBe(next === 'closed' && status !== 'closed');
      if (status === 'closed') expect(next).toBe('closed');
    }
  });

  it('never goes back from draining to taking publishes', () => {
    for (const { status, next } of cells) if (status === 'draining') expect(['draining', 'closed']).toContain(next);
  });

  it('does for an effect the same in whatever status it begins', () => {
    const leadsTo: Record<Exclude<Effect, 'none'>, readonly MessengerStatus[]> = { greet: ['open', 'draining'], wait: ['waiting', 'draining'], dial: ['connecting', 'draining'], flush: ['draining'], end: ['closed'] };
    for (const { next, effect } of cells) if (effect !== 'none') expect(leadsTo[effect]).toContain(next);
  });
});
