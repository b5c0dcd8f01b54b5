import { describe, expect, it } from 'vitest';

import type { LogState } from './event-log.ts';
import { LogStates } from './log-states.ts';

describe('the state of a log', () => {
  it('is told to who listens, once a change, until he does not any more', () => {
    const states = new LogStates('opening', () => undefined);
    const heard: LogState[] = [];
    const listener = (state: LogState): void => void heard.push(state);
    const [first, second] = [states.listen(listener), states.listen(listener)];
    states.enter('open');
    states.enter('open');
    first();
    first();
    states.enter('away');
    second();
    states.enter('closed');

    expect(heard).toEqual(['open', 'open', 'away']);
    expect(states.state).toBe('closed');
  });

  it('is told to everybody, also behind one who throws', () => {
    const threw: unknown[] = [];
    const states = new LogStates('open', (state, error) => threw.push([state, error]));
    const fault = new Error('a faulty listener');
    const heard: LogState[] = [];
    states.listen(() => {
      throw fault;
    });
    states.listen((state) => heard.push(state));
    states.enter('closed');

    expect([threw, heard]).toEqual([[['closed', fault]], ['closed']]);
  });
});
