import { describe, expect, it } from 'vitest';

import type { WrittenEvent } from './chaos-checker.ts';
import { checkConsumer, type ConsumerRecord, type GivenDelivery } from './consumer-checker.ts';

const written = (counter: number, isAcked = true, room = 'A'): WrittenEvent => ({ room, writer: 'w', counter, seq: isAcked ? counter : undefined, isAcked });
const given = (counter: number, atMs: number, ackedAtMs?: number): GivenDelivery => ({ room: 'A', writer: 'w', counter, member: 'm', attempt: 1, atMs, ackedAtMs, mayBeAcked: false });
const record = (deliveries: readonly GivenDelivery[], dead: readonly number[] = []): ConsumerRecord => ({
  ended: [],
  name: 'c', wants: (room) => room === 'A', deliveries, dead: dead.map((counter) => ({ room: 'A', writer: 'w', counter, reason: 'chaos' })),
});
const rules = (all: readonly WrittenEvent[], one: ConsumerRecord): string[] => checkConsumer(all, one).map(({ rule }) => rule);

describe('the checker of a durable consumer', () => {
  it('finds nothing wrong when all is acked, sooner or later, or dead', () => {
    expect(rules([written(1), written(2), written(3), written(4, true, 'B'), written(5, false)], record([given(1, 1, 2), given(2, 3), given(2, 4, 6), given(3, 5)], [3]))).toEqual([]);
    expect(rules([written(1)], record([], [1]))).toEqual([]);
  });

  it('finds what came to no member', () => {
    expect(rules([written(1), written(2)], record([given(1, 1, 2)]))).toEqual(['not-consumed']);
  });

  it('finds what was never settled, whether its writer had an answer or not', () => {
    expect(rules([written(1), written(2, false)], record([given(1, 1), given(2, 2), given(1, 3)]))).toEqual(['not-settled', 'not-settled']);
  });

  it('takes an ack that was not confirmed for done or not done', () => {
    const unsure = { ...given(1, 1), mayBeAcked: true };
    expect([rules([written(1)], record([unsure])), rules([written(1)], record([unsure, given(1, 2)])), rules([written(1)], record([unsure], [1]))]).toEqual([[], [], []]);
  });

  it('finds what came after its ack, and not what came before', () => {
    const again = (atMs: number, attempt: number): GivenDelivery => ({ ...given(1, atMs), attempt });
    expect(rules([written(1)], record([given(1, 1, 2), again(3, 2)]))).toEqual(['given-after-ack']);
    expect(rules([written(1)], record([given(1, 1, 3), again(2, 2)]))).toEqual([]);
  });

  it('takes an earlier attempt that was held up on its way for no new one', () => {
    expect(rules([written(1)], record([{ ...given(1, 1, 2), attempt: 2 }, given(1, 3)]))).toEqual([]);
  });

  it('finds what is a dead letter though its ack was taken', () => {
    expect(rules([written(1)], record([given(1, 1, 2)], [1]))).toEqual(['dead-after-ack']);
  });

  it('finds a member whose part ended though nobody ended it', () => {
    expect(rules([], { ...record([]), ended: ['m0: CONSUMER_UNKNOWN'] })).toEqual(['member-ended']);
  });

  it('finds what nobody wrote, or not to rooms of the consumer', () => {
    expect(rules([], record([given(1, 1, 2)], [2]))).toEqual(['from-nowhere', 'from-nowhere']);
    expect(rules([written(1, true, 'B')], record([{ ...given(1, 1, 2), room: 'B' }]))).toEqual(['from-nowhere']);
  });
});
