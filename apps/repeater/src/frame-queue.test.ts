import fc from 'fast-check';
import { expect, test } from 'vitest';

import { FRAME_OVERHEAD_BYTES, FrameQueue } from './frame-queue.ts';

const frame = (length: number, fill = 0): Buffer => Buffer.alloc(length, fill);

test('frames leave in the order they came, with their bytes', () => {
  const queue = new FrameQueue({ maxBytes: 10_000, now: () => 0 });
  const shared = frame(3, 1);
  queue.offer(shared, 1);
  shared.fill(9);
  queue.offer(frame(3, 2), 2);
  expect(queue.take()).toEqual({ bytes: frame(3, 1), tagEnd: 1, offeredAtMs: 0 });
  expect(queue.take()).toEqual({ bytes: frame(3, 2), tagEnd: 2, offeredAtMs: 0 });
  expect(queue.take()).toBeUndefined();
  expect(queue.heldBytes).toBe(0);
});

test('the oldest frames are dropped at the bound, a frame larger than the queue is dropped itself', () => {
  const queue = new FrameQueue({ maxBytes: 3 * (FRAME_OVERHEAD_BYTES + 10), now: () => 0 });
  for (let n = 1; n <= 3; n += 1) expect(queue.offer(frame(10, n), 0)).toBe(0);
  expect(queue.fits(10)).toBe(false);
  expect(queue.offer(frame(10, 4), 0)).toBe(1);
  expect(queue.offer(frame(100_000), 0)).toBe(1);
  expect([queue.take(), queue.take(), queue.take()].map((taken) => taken?.bytes[0])).toEqual([2, 3, 4]);
});

test('the age is that of the oldest frame', () => {
  let now = 100;
  const queue = new FrameQueue({ maxBytes: 10_000, now: () => now });
  expect(queue.oldestAgeMs).toBe(0);
  queue.offer(frame(1), 0);
  now = 150;
  queue.offer(frame(1), 0);
  expect(queue.oldestAgeMs).toBe(50);
  queue.take();
  expect(queue.oldestAgeMs).toBe(0);
});

test('whatever is offered and taken, it behaves like a list that loses its head at the bound', () => {
  const maxBytes = 5_000;
  const step = fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 0, max: 6_000 }) }, { weight: 1, arbitrary: fc.constant('take' as const) });
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const queue = new FrameQueue({ maxBytes, now: () => 0 });
    let model: number[] = [];
    const held = (): number => model.reduce((sum, length) => sum + length + FRAME_OVERHEAD_BYTES, 0);
    for (const one of steps) {
      if (one === 'take') {
        if (queue.take()?.bytes.length !== model.shift()) return false;
      } else {
        const before = model.length;
        const tooLarge = one + FRAME_OVERHEAD_BYTES > maxBytes;
        if (!tooLarge) model.push(one);
        while (held() > maxBytes) model = model.slice(1);
        if (queue.offer(frame(one), 0) !== before + 1 - model.length) return false;
      }
      if (queue.frames !== model.length || queue.heldBytes !== held()) return false;
    }
    return true;
  }));
});

test('thousands of frames pass through in order', () => {
  const queue = new FrameQueue({ maxBytes: 10_000_000, now: () => 0 });
  for (let round = 0; round < 5; round += 1) {
    for (let n = 0; n < 3_000; n += 1) queue.offer(frame(1, n % 251), n);
    for (let n = 0; n < 3_000; n += 1) if (queue.take()?.tagEnd !== n) throw new Error(`frame ${n} is not in its place`);
  }
  expect([queue.frames, queue.heldBytes]).toEqual([0, 0]);
});
