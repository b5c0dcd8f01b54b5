import { describe, expect, it } from 'vitest';

import type { Workspace } from './workspace.ts';
import { Workspaces } from './workspaces.ts';

function setUp() {
  let nowMs = 0;
  const busy = new Set<string>();
  const made: string[] = [];
  const closed: string[] = [];
  const workspaces = new Workspaces({
    now: () => nowMs,
    // Of a workspace only this is looked at here.
    make: (id) => {
      made.push(id);
      return { id, get isEmpty() { return !busy.has(id); }, close: () => void closed.push(id) } as Workspace;
    },
  });
  const pass = (ms: number): void => {
    nowMs += ms;
    workspaces.sweep();
  };
  return { workspaces, busy, made, closed, pass };
}

describe('workspaces', () => {
  it('are made when somebody comes, and stay the same', () => {
    const { workspaces, made } = setUp();
    expect(workspaces.known('a')).toBe(undefined);
    const a = workspaces.of('a');
    expect([workspaces.of('a') === a, workspaces.known('a') === a, workspaces.of('b') === a]).toEqual([true, true, false]);
    expect(made).toEqual(['a', 'b']);
    expect([[...workspaces.all()].map(({ id }) => id), workspaces.total(() => 2)]).toEqual([['a', 'b'], 4]);
  });

  it('are forgotten a minute after the last has left', () => {
    const { workspaces, busy, closed, pass } = setUp();
    for (const id of ['empty', 'busy', 'called']) workspaces.of(id);
    busy.add('busy');
    pass(59_999);
    expect(workspaces.total(() => 1)).toBe(3);
    workspaces.of('called');
    pass(1);
    expect([...workspaces.all()].map(({ id }) => id)).toEqual(['busy', 'called']);
    busy.delete('busy');
    pass(59_999);
    expect(workspaces.known('busy')).toBeDefined();
    pass(1);
    expect([...workspaces.all()]).toEqual([]);
    expect(closed).toEqual(['empty', 'called', 'busy']);
  });
});
