import { describe, expect, it } from 'vitest';

import { RateLimits } from './rate-limit.ts';
import { Refusal } from './refusal.ts';
import { TokenBuckets } from './token-bucket.ts';

describe('token buckets', () => {
  it('let a burst through, then as many as come in, and say how long to wait', () => {
    let nowMs = 0;
    const buckets = new TokenBuckets({ perSecond: 0.5, burst: 2 }, { max: 10, now: () => nowMs });
    expect([buckets.take('a'), buckets.take('a'), buckets.take('a')]).toEqual([0, 0, 2_000]);
    nowMs = 1_999;
    expect(buckets.take('a')).toBe(1);
    nowMs = 2_000;
    expect([buckets.take('a'), buckets.take('a')]).toEqual([0, 2_000]);
    expect(buckets.take('b')).toBe(0);
  });

  it('hold no more than a burst, take tokens back, and gain nothing from a clock that goes back', () => {
    let nowMs = 1_000_000;
    const buckets = new TokenBuckets({ perSecond: 1, burst: 1 }, { max: 10, now: () => nowMs });
    nowMs += 60_000;
    expect([buckets.take('a'), buckets.take('a')]).toEqual([0, 1_000]);
    buckets.putBack('a');
    buckets.putBack('a');
    expect([buckets.take('a'), buckets.take('a')]).toEqual([0, 1_000]);
    nowMs -= 60_000;
    expect(buckets.take('a')).toBe(1_000);
  });

  it('forget the one unused for longest beyond their bound', () => {
    const buckets = new TokenBuckets({ perSecond: 1, burst: 1 }, { max: 2, now: () => 0 });
    for (const key of ['a', 'b', 'a', 'c']) buckets.take(key);
    expect([buckets.size, buckets.has('a'), buckets.has('b'), buckets.has('c')]).toEqual([2, true, false, true]);
  });
});

describe('rate limits', () => {
  const limits = () => new RateLimits({ perCredential: { perSecond: 1, burst: 3 }, perSource: { perSecond: 1, burst: 2 }, now: () => 0 });

  it('take from the source until a credential was good, then from the credential', () => {
    const of = limits();
    of.take('good', '192.0.2.1');
    of.learn('good');
    of.take('good', '192.0.2.1');
    of.take('good', '192.0.2.1');
    of.take(undefined, '192.0.2.1');
    expect(() => of.take('good', '192.0.2.9')).toThrow(Refusal);
    expect(() => of.take(undefined, '192.0.2.1')).toThrow(Refusal);
  });

  it('give made-up credentials no bucket of their own', () => {
    const of = limits();
    of.take('made-up-1', '192.0.2.1');
    of.take('made-up-2', '192.0.2.1');
    expect(() => of.take('made-up-3', '192.0.2.1')).toThrow(/RATE_LIMITED|Too many requests/);
  });

  it('let a household of IPv6 share a bucket', () => {
    const of = limits();
    of.take(undefined, '2001:db8::1');
    of.take(undefined, '2001:db8:0:0:ffff::1');
    expect(() => of.take(undefined, '2001:db8::2')).toThrow(Refusal);
    of.take(undefined, '2001:db8:0:1::1');
  });
});
