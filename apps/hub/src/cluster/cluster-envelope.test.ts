import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { decodeEnvelope, encodeEnvelope, ENVELOPE_BYTES, FRAME_OVERHEAD_BYTES } from './cluster-envelope.ts';

const frames = fc.array(fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes)), { maxLength: 12 });

describe('an envelope', () => {
  it('gives back the frames it was made of, in order, at the size that was reckoned', () => {
    fc.assert(fc.property(frames, (all) => {
      const payload = encodeEnvelope(all);
      expect(payload.length).toBe(ENVELOPE_BYTES + all.reduce((sum, { length }) => sum + FRAME_OVERHEAD_BYTES + length, 0));
      expect(decodeEnvelope(payload)).toEqual(all);
    }));
  });

  it('that was cut is refused, unless the cut is between two frames', () => {
    fc.assert(fc.property(frames, fc.nat({ max: 1_000 }), (all, cut) => {
      const payload = encodeEnvelope(all);
      const length = cut % payload.length;
      const whole = all.findIndex((_, count) => encodeEnvelope(all.slice(0, count)).length === length);
      expect(decodeEnvelope(payload.subarray(0, length))).toEqual(whole === -1 ? undefined : all.slice(0, whole));
    }));
  });

  it.each([
    ['nothing', ''], ['another version', '02'], ['version 0', '00'], ['text', '7b7d'], ['half a length', '010000'],
    ['a length beyond the end', '010000000261'], ['the largest length', '01ffffffff'], ['bytes after the last frame', '01000000016100'],
  ])('of %s is refused', (_, hex) => {
    expect(decodeEnvelope(Buffer.from(hex, 'hex'))).toBeUndefined();
  });

  it('of any bytes never throws, and what is taken is all of them', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), fc.boolean(), (bytes, isOurs) => {
      const payload = Buffer.from(isOurs ? [1, ...bytes] : bytes);
      const decoded = decodeEnvelope(payload);
      if (decoded !== undefined) expect(encodeEnvelope(decoded)).toEqual(payload);
    }), { numRuns: 500 });
  });
});
