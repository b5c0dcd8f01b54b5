import { describe, expect, it } from 'vitest';

import { ComponentStack } from './component.ts';

const never = () => new Promise<void>(() => undefined);
const quiet = async () => undefined;
const open = () => new AbortController().signal;

describe('ComponentStack', () => {
  it('drains every part at once, then stops them in reverse order', async () => {
    const stack = new ComponentStack();
    const seen: string[] = [];
    let letGo = () => undefined as void;
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    // The first part can only finish once the second has begun: one after the other would hang.
    stack.add({ name: 'a', drain: async () => { await gate; seen.push('a drained'); }, stop: async () => void seen.push('a stopped') });
    stack.add({ name: 'b', drain: async () => { letGo(); seen.push('b drained'); }, stop: async () => void seen.push('b stopped') });
    stack.add({ name: 'c', stop: async () => void seen.push('c stopped') });
    expect(await stack.drainAll(open())).toEqual({ unfinished: [], failures: [] });
    expect(await stack.stopAll(1_000)).toEqual([]);
    expect(seen).toEqual(['b drained', 'a drained', 'c stopped', 'b stopped', 'a stopped']);
  });

  it('names the parts that the deadline cut short, whether they gave up or not', async () => {
    const stack = new ComponentStack();
    const deadline = new AbortController();
    stack.add({ name: 'stuck', drain: never, stop: quiet });
    stack.add({ name: 'polite', drain: (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('gave up')))), stop: quiet });
    stack.add({ name: 'quick', drain: quiet, stop: quiet });
    const drained = stack.drainAll(deadline.signal);
    await new Promise(setImmediate);
    deadline.abort();
    const { unfinished, failures } = await drained;
    expect([...unfinished].sort()).toEqual(['polite', 'stuck']);
    expect(failures).toEqual([]);
  });

  it('gathers failures, also thrown ones, and goes on', async () => {
    const stack = new ComponentStack();
    const stopped: string[] = [];
    stack.add({ name: 'first', stop: async () => void stopped.push('first') });
    stack.add({ name: 'thrower', drain: () => { throw new Error('no drain'); }, stop: () => { throw new Error('no stop'); } });
    stack.add({ name: 'rejecter', stop: () => Promise.reject(new Error('never')) });
    const { failures } = await stack.drainAll(open());
    expect(failures).toMatchObject([{ message: 'thrower could not drain', cause: { message: 'no drain' } }]);
    expect(await stack.stopAll(1_000)).toMatchObject([{ message: 'rejecter could not stop', cause: { message: 'never' } }, { message: 'thrower could not stop' }]);
    expect(stopped).toEqual(['first']);
  });

  it('leaves behind a part that does not stop in time', async () => {
    const stack = new ComponentStack();
    stack.add({ name: 'stuck', stop: never });
    expect(await stack.stopAll(5)).toMatchObject([{ message: 'stuck did not stop within 5 ms' }]);
  });

  it('stops each part once, and refuses one that comes too late', async () => {
    const stack = new ComponentStack();
    let stops = 0;
    stack.add({ name: 'a', stop: async () => void (stops += 1) });
    await stack.stopAll(1_000);
    await stack.stopAll(1_000);
    expect(stops).toBe(1);
    expect(() => stack.add({ name: 'late', stop: quiet })).toThrow('The component late came after the process had stopped.');
  });
});
