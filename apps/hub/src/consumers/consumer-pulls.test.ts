import { LogError, type Delivery, type LogConsumer } from '@carillon/log';
import { eventually } from '@carillon/testing';
import { describe, expect, it } from 'vitest';

import type { DeliverySource } from './consumer-delivery.ts';
import { ConsumerPulls } from './consumer-pulls.ts';

/** A consumer that gives what the test puts in, and fails when the test says so. */
class ScriptedConsumer {
  readonly asked: number[] = [];
  readonly waiting: Delivery[] = [];
  failures: LogError[] = [];
  aborted = 0;
  #wake: (() => void) | undefined;

  put(count: number, bytes = 1): void {
    for (let n = 0; n < count; n += 1) this.waiting.push({ event: { body: Buffer.alloc(bytes) } } as unknown as Delivery);
    this.#wake?.();
  }

  async pull(max: number, signal: AbortSignal): Promise<readonly Delivery[]> {
    this.asked.push(max);
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
    while (this.waiting.length === 0) {
      if (signal.aborted) return [];
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener('abort', () => {
          this.aborted += 1;
          resolve();
        }, { once: true });
      });
    }
    return this.waiting.splice(0, max);
  }
}

function start(window: number) {
  const [own, returned] = [new ScriptedConsumer(), new ScriptedConsumer()];
  const given: DeliverySource[] = [];
  const extra: DeliverySource[] = [];
  const failed: unknown[] = [];
  let held = 0;
  let most = 0;
  const as = (consumer: ScriptedConsumer): LogConsumer => consumer as Pick<LogConsumer, 'pull'> as LogConsumer;
  const pulls = new ConsumerPulls({
    own: as(own), returned: as(returned), places: () => window - held, free: () => window - held, turn: () => Promise.resolve(),
    give: (source, deliveries) => {
      held += deliveries.length;
      most = Math.max(most, held);
      given.push(...deliveries.map(() => source));
    },
    extra: (source) => extra.push(source), failed: (error) => failed.push(error),
  });
  const settle = (count = 1): void => {
    held -= count;
    pulls.poke();
  };
  pulls.poke();
  return { own, returned, given, extra, failed, pulls, settle, held: () => held, most: () => most };
}

describe('the pulls of a member', () => {
  it.each([1, 2, 3, 64])('fill a window of %i, and no more', async (window) => {
    const { own, given, settle, most, held, pulls } = start(window);
    own.put(200);
    while (given.length < 200) {
      await eventually(() => held() === Math.min(window, 200 - given.length + held()), { what: 'a full window', intervalMs: 1 });
      settle(held());
    }
    expect(most()).toBe(window);
    pulls.end();
  });

  it('ask both sources, so that what comes again is not held up by what is new', async () => {
    const { own, returned, given, settle, pulls } = start(1);
    own.put(100);
    returned.put(10);
    for (let count = 1; count <= 40; count += 1) {
      await eventually(() => given.length === count, { what: `${count} deliveries`, intervalMs: 1 });
      settle();
    }
    const again = given.slice(0, 25).filter((source) => source === 'returned').length;
    expect(again).toBe(10);
    pulls.end();
  });

  it('give an idle member of one place whatever comes first', async () => {
    const { own, returned, given, settle, extra, pulls } = start(1);
    for (const [source, name] of [[own, 'own'], [returned, 'returned'], [returned, 'returned'], [own, 'own']] as const) {
      const before = given.length;
      await eventually(() => own.asked.length > 0 && returned.asked.length > 0);
      source.put(1);
      await eventually(() => given.length > before, { what: name });
      expect(given.at(-1)).toBe(name);
      settle();
    }
    expect(extra).toEqual([]);
    pulls.end();
  });

  it('say what came when the place was taken', async () => {
    const { own, returned, given, extra, pulls } = start(1);
    await eventually(() => own.asked.length > 0 && returned.asked.length > 0, { what: 'both to be asked for the last place' });
    own.put(1);
    returned.put(1);
    await eventually(() => given.length + extra.length === 2);
    expect([...given, ...extra].sort()).toEqual(['own', 'returned']);
    expect(extra).toHaveLength(1);
    pulls.end();
  });

  it('ask for more at a time as long as it is small, and for less when it is large', async () => {
    const { own, settle, held, pulls } = start(1_000);
    own.put(600);
    await eventually(() => held() === 600);
    const largest = Math.max(...own.asked);
    expect([own.asked[0], largest]).toEqual([4, 256]);
    settle(600);
    own.put(8, 1_000_000);
    await eventually(() => held() === 8);
    own.put(1);
    await eventually(() => held() === 9);
    expect(own.asked.at(-1)).toBeLessThan(largest);
    pulls.end();
  });

  it('try again what the log could not do, and end with what it never will', async () => {
    const { own, given, failed, settle, pulls } = start(4);
    own.failures = [new LogError('LOG_UNAVAILABLE', 'away')];
    own.put(3);
    await eventually(() => given.length === 3);
    expect(failed).toEqual([]);
    own.failures = [new LogError('CONSUMER_UNKNOWN', 'deleted')];
    settle(3);
    await eventually(() => failed.length === 1);
    pulls.end();
  });

  it('stop at the end, and take nothing after it', async () => {
    const { own, returned, given, pulls } = start(8);
    await eventually(() => own.asked.length > 0 && returned.asked.length > 0);
    pulls.end();
    await eventually(() => own.aborted + returned.aborted === 2);
    own.put(1);
    pulls.poke();
    await new Promise((resolve) => setImmediate(resolve));
    expect(given).toEqual([]);
  });
});
