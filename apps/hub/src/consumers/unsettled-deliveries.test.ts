import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { OwedDelivery } from './consumer-delivery.ts';
import { UnsettledDeliveries } from './unsettled-deliveries.ts';

const TIME_MS = 1_000;
const delivery = (seq: number, attempt = 1): OwedDelivery => ({ attempt, event: { seq, body: Buffer.alloc(10) } }) as unknown as OwedDelivery;

function start(): { readonly unsettled: UnsettledDeliveries; readonly late: number[]; bytes(): number } {
  const late: number[] = [];
  let bytes = 0;
  const unsettled = new UnsettledDeliveries({ ackTimeoutMs: TIME_MS, now: () => Date.now(), timedOut: ({ event }) => late.push(event.seq), holds: (more) => (bytes += more) });
  return { unsettled, late, bytes: () => bytes };
}

describe('what a member has unsettled', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('is settled once', () => {
    const { unsettled, bytes } = start();
    const [one, two] = [delivery(1), delivery(2)];
    unsettled.add(one);
    unsettled.add(two);
    expect([unsettled.size, unsettled.bytes, bytes()]).toEqual([2, 20, 20]);
    expect(unsettled.begin(1)).toBe(one);
    expect([unsettled.begin(1), unsettled.begin(3)]).toEqual([undefined, undefined]);
    unsettled.done(one);
    unsettled.done(one);
    expect([unsettled.size, bytes()]).toEqual([1, 10]);
    unsettled.clear();
    expect([unsettled.size, bytes()]).toEqual([0, 0]);
  });

  it('may be settled again when that was not kept', () => {
    const { unsettled } = start();
    const one = delivery(1);
    unsettled.add(one);
    unsettled.begin(1);
    unsettled.undo(one);
    expect(unsettled.begin(1)).toBe(one);
  });

  it('ends with its time, each in its turn, and not while it is being settled', () => {
    const { unsettled, late } = start();
    unsettled.add(delivery(1));
    unsettled.add(delivery(2));
    vi.advanceTimersByTime(TIME_MS / 2);
    unsettled.add(delivery(3));
    const two = unsettled.begin(2);
    vi.advanceTimersByTime(TIME_MS / 2);
    expect(late).toEqual([1]);
    vi.advanceTimersByTime(TIME_MS / 2);
    expect(late).toEqual([1, 3]);
    expect([unsettled.size, unsettled.begin(1)]).toEqual([1, undefined]);
    // It was not kept: its time counts again.
    unsettled.undo(two ?? delivery(2));
    vi.advanceTimersByTime(2 * TIME_MS);
    expect([late, unsettled.size]).toEqual([[1, 3, 2], 0]);
  });

  it('gives way to the next attempt at the same event', () => {
    const { unsettled, late, bytes } = start();
    const [first, second] = [delivery(1), delivery(1, 2)];
    unsettled.add(first);
    unsettled.add(second);
    expect([late, unsettled.size, bytes()]).toEqual([[1], 1, 10]);
    expect([unsettled.has(first), unsettled.has(second)]).toEqual([false, true]);
    // What comes of the first does not touch the second.
    unsettled.done(first);
    expect(unsettled.begin(1)).toBe(second);
  });
});
