import { describe, expect, it } from 'vitest';

import type { BusLogLine } from './bus.ts';
import { CONFORMANCE_LIMITS, describeBus } from './bus.conformance.ts';
import { createInProcessExchange } from './in-process-bus.ts';
import { describeKeyValues } from './key-values.conformance.ts';

const exchange = createInProcessExchange(CONFORMANCE_LIMITS);
describeBus('createInProcessExchange', () => ({ connect: async () => exchange.connect() }));
describeKeyValues('createInProcessExchange', () => ({ connect: async () => exchange.connect() }));

describe('createInProcessExchange', () => {
  it('logs what a delivery throws', async () => {
    const lines: BusLogLine[] = [];
    const { connect } = createInProcessExchange({ log: (line) => lines.push(line) });
    const [left, right] = [connect(), connect()];
    const error = new Error('a faulty subscriber');
    right.subscribe('a', { deliver: () => { throw error; } });
    left.publish('a', new Uint8Array(1));
    await left.flush();

    expect(lines).toEqual([{ level: 'error', text: 'A delivery threw', fields: { subject: 'a', error } }]);
  });

  it('logs what a listener to the state throws, and calls the others', async () => {
    const lines: BusLogLine[] = [];
    const bus = createInProcessExchange({ log: (line) => lines.push(line) }).connect();
    const states: string[] = [];
    bus.onState(() => { throw new Error('a faulty listener'); });
    bus.onState((state) => states.push(state));
    await bus.close();

    expect(states).toEqual(['closed']);
    expect(lines.map(({ level }) => level)).toEqual(['error']);
  });

  it.each(['unsubscribe', 'close'] as const)('delivers what was routed before %s, then resolves', async (way) => {
    const { connect } = createInProcessExchange();
    const [left, right] = [connect(), connect()];
    let count = 0;
    const subscription = right.subscribe('a', { deliver: () => (count += 1) });
    left.publish('a', new Uint8Array(1));
    const ended = way === 'close' ? right.close() : subscription.unsubscribe();
    left.publish('a', new Uint8Array(1));
    await ended;

    expect(count).toBe(1);
  });

  it('keeps exchanges apart', async () => {
    const [left, right] = [createInProcessExchange().connect(), createInProcessExchange().connect()];
    let count = 0;
    right.subscribe('a', { deliver: () => (count += 1) });
    left.publish('a', new Uint8Array(1));
    await Promise.all([left.flush(), right.flush()]);

    expect(count).toBe(0);
  });
});
