import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { backoffMs, ERRORS, formatCloseReason, mayComeBack, parseCloseReason, type ErrorCode, type ErrorEntry } from './index.ts';

/** RFC 6455 §5.5: a control frame holds 125 bytes, and the close code takes two of them. */
const CLOSE_REASON_MAX_BYTES = 123;
const codes = Object.keys(ERRORS) as ErrorCode[];
const entries = Object.entries<ErrorEntry>(ERRORS);

describe('the wait before a try', () => {
  const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  const options = fc.record({ firstMs: fc.integer({ min: 1, max: 5_000 }), capMs: fc.integer({ min: 1, max: 120_000 }), factor: fc.double({ min: 1, max: 4, noNaN: true }) });

  it('lies between its floor and its ceiling', () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), options, unit, fc.nat(60_000), (attempt, given, random, floorMs) => {
        const waitMs = backoffMs(attempt, { ...given, random: () => random }, floorMs);
        const ceilingMs = Math.min(given.capMs, given.firstMs * given.factor ** attempt);
        expect(Number.isInteger(waitMs)).toBe(true);
        expect(waitMs).toBeGreaterThanOrEqual(floorMs);
        expect(waitMs).toBeLessThanOrEqual(Math.round(floorMs + ceilingMs));
      }),
    );
  });

  it('grows to the cap and is spread over all of it', () => {
    const at = (attempt: number, random: number): number => backoffMs(attempt, { firstMs: 100, capMs: 1_000, factor: 2, random: () => random });
    expect([0, 1, 2, 3, 4, 100].map((attempt) => at(attempt, 0.999_999))).toEqual([100, 200, 400, 800, 1_000, 1_000]);
    expect([0, 0.25, 0.5, 0.75].map((random) => at(50, random))).toEqual([0, 250, 500, 750]);
  });

  it('begins at its floor', () => {
    expect([0, 0.5].map((random) => backoffMs(0, { firstMs: 100, capMs: 100, factor: 2, random: () => random }, 1_000))).toEqual([1_000, 1_050]);
  });

  it('does not overflow after years of tries', () => {
    expect(backoffMs(Number.MAX_SAFE_INTEGER, { firstMs: 5_000, capMs: 120_000, factor: 10, random: () => 0.5 })).toBe(60_000);
  });
});

describe('a close reason', () => {
  it.each(codes)('%s fits a close frame and is read back', (code) => {
    expect(parseCloseReason(formatCloseReason(code))).toEqual({ code, retryAfterMs: undefined });
    for (const retryAfterMs of [0, 1, 999_999_999]) {
      const text = formatCloseReason(code, retryAfterMs);
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(CLOSE_REASON_MAX_BYTES);
      expect(parseCloseReason(text)).toEqual({ code, retryAfterMs });
    }
  });

  it('keeps its code and its hint for every wait within eleven days', () => {
    fc.assert(
      fc.property(fc.constantFrom(...codes), fc.double({ min: 0, max: 999_999_999, noNaN: true }), (code, retryAfterMs) => {
        expect(parseCloseReason(formatCloseReason(code, retryAfterMs))).toEqual({ code, retryAfterMs: Math.round(retryAfterMs) });
      }),
    );
  });

  it('of arbitrary text has a code of the catalogue or none', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.constantFrom(...codes).chain((code) => fc.string({ maxLength: 4 }).map((tail) => code + tail))), (text) => {
        const { code, retryAfterMs } = parseCloseReason(text);
        if (code === undefined) expect(retryAfterMs).toBeUndefined();
        else expect(formatCloseReason(code, retryAfterMs)).toBe(text);
      }),
    );
  });
});

describe('whether a closed peer comes back', () => {
  it.each(entries.filter(([, { close }]) => close !== undefined))('agrees with the catalogue for %s', (_code, { close, retryable }) => {
    expect(mayComeBack(close ?? 0)).toBe(retryable);
  });

  it('is yes below 4500 and no above for codes of our range that no entry has yet', () => {
    for (let close = 4_000; close <= 4_999; close += 1) expect(mayComeBack(close)).toBe(close < 4_500);
  });
});
