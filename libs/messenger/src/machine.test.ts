import { describe, expect, it } from 'vitest';
import { EVENTS, STATUSES, TABLE, type Effect } from './machine.ts';
import type { MessengerStatus } from './messenger.ts';
import { specCells } from './spec.test.fixture.ts';

const EFFECTS: readonly string[] = ['greet', 'wait', 'dial', 'flush', 'end'] satisfies Effect[];
/** What entering a status does where SPEC.md says no more than the status. */
const ENTERED: Readonly<Record<string, Effect>> = { waiting: 'wait', draining: 'flush', closed: 'end' };

/** The table of SPEC.md, as `status on event` → `next/effect`. */
const DRAWN = new Map(specCells('A messenger').map(({ row, event, cell }) => {
  if (cell === 'stay') return [`${row} on ${event}`, cell];
  const words = cell.split(', ');
  const next = words.find((word) => !EFFECTS.includes(word)) ?? row;
  return [`${row} on ${event}`, `${next}/${words.find((word) => EFFECTS.includes(word)) ?? ENTERED[next]}`];
}));

const cells = STATUSES.flatMap((status) => EVENTS.map((event) => ({ status, event, ...TABLE[status][event] })));

describe('the table of a messenger', () => {
  it('has a cell for every status and event, and no other', () => {
    expect(cells).toHaveLength(35);
    expect(DRAWN.size).toBe(35);
    expect(Object.keys(TABLE).sort()).toEqual([...STATUSES].sort());
    for (const status of STATUSES) expect(Object.keys(TABLE[status]).sort()).toEqual([...EVENTS].sort());
  });

  it.each(cells)('$status on $event goes to $next and does $effect', ({ status, event, next, effect }) => {
    expect(next === status && effect === 'none' ? 'stay' : `${next}/${effect}`).toBe(DRAWN.get(`${status} on ${event}`));
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
