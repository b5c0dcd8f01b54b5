import { describe, expect, it } from 'vitest';

import { eventually } from './eventually.ts';

describe('eventually', () => {
  it('gives back the first value that is not false', async () => {
    const values = [false, null, 0, '', 'found'];

    expect(await eventually(() => values.shift() ?? false, { intervalMs: 1 })).toBe('found');
  });

  it('goes on while the condition throws, and takes assertions that pass', async () => {
    let tries = 0;
    await eventually(
      () => {
        tries += 1;
        expect(tries).toBe(3);
      },
      { intervalMs: 1 },
    );

    expect(tries).toBe(3);
  });

  it('waits for conditions that are promises', async () => {
    let tries = 0;
    await eventually(async () => {
      await expect(Promise.resolve((tries += 1))).resolves.toBe(1);
    });
    tries = 0;

    expect(await eventually(async () => (tries += 1) > 2 && tries, { intervalMs: 1 })).toBe(3);
  });

  it('names what it waited for and the last error when the time is over', async () => {
    const waiting = eventually(() => Promise.reject(new Error('still dark')), { timeoutMs: 30, intervalMs: 5, what: 'the light' });

    await expect(waiting).rejects.toThrow(/^Waited 30 ms for the light; the last time: still dark$/);
  });

  it('says which value came last when none was an error', async () => {
    await expect(eventually(() => false, { timeoutMs: 20, intervalMs: 5 })).rejects.toThrow(/it returned false/);
  });

  it('gives up a condition that never settles', async () => {
    await expect(eventually(() => new Promise<true>(() => undefined), { timeoutMs: 20 })).rejects.toThrow(/did not settle in time/);
  });

  it('refuses, by its type, a condition that may find nothing', async () => {
    const found: number | undefined = [1].find((number) => number === 1);
    // @ts-expect-error `undefined` would count as done
    expect(await eventually(() => found)).toBe(1);
    expect(await eventually(() => found ?? false)).toBe(1);
  });
});
