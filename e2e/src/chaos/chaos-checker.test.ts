import { describe, expect, it } from 'vitest';

import { check, checkMemory, MEMORY_MAX_BYTES, type ReadEvent, type ReaderLog, type WrittenEvent } from './chaos-checker.ts';

const written = (counter: number, seq: number | undefined, room = 'A'): WrittenEvent => ({ room, writer: 'w', counter, seq, isAcked: seq !== undefined });
const read = (counter: number, seq: number, room = 'A'): ReadEvent => ({ room, writer: 'w', counter, seq });
const reader = (events: readonly ReadEvent[], gaps: ReaderLog['gaps'] = []): ReaderLog => ({ name: 'r', wants: (room) => room === 'A', events, gaps });
const rules = (all: readonly WrittenEvent[], ...readers: readonly ReaderLog[]): string[] => check(all, readers).map(({ rule }) => rule);

describe('the checker of a chaos run', () => {
  it('finds nothing wrong with a reader that got all, in order, whether acked or not', () => {
    expect(rules([written(1, 5), written(2, undefined), written(3, 9), written(4, undefined)], reader([read(1, 5), read(2, 6), read(3, 9)]))).toEqual([]);
  });

  it('takes no event of another room to be lost, and none in a gap that was told', () => {
    expect(rules([written(1, 5, 'B'), written(2, 6)], reader([], [{ from: 6, to: 6 }]))).toEqual([]);
  });

  it('finds what was acked and did not come', () => {
    expect(rules([written(1, 5), written(2, 6)], reader([read(1, 5)]))).toEqual(['lost']);
    expect(rules([written(1, 5)], reader([], [{ from: 6, to: 9 }]))).toEqual(['lost']);
  });

  it('finds what was kept without a place and did not come', () => {
    const kept = { ...written(1, undefined), isAcked: true };
    expect([rules([kept], reader([])), rules([kept], reader([read(1, 5)]))]).toEqual([['lost'], []]);
  });

  it('finds what nobody wrote, what came twice, and what came out of order', () => {
    expect(rules([written(1, 5)], reader([read(1, 5), read(7, 6)]))).toEqual(['from-nowhere']);
    expect(rules([written(1, 5)], reader([read(1, 5), read(1, 5)]))).toEqual(['sequence-back', 'writer-back', 'repeated']);
    expect(rules([written(1, 6), written(2, 5)], reader([read(2, 5), read(1, 6)]))).toEqual(['writer-back']);
  });

  it('finds an event that has two places', () => {
    expect(rules([written(1, 5)], reader([read(1, 6)]))).toEqual(['places-differ']);
    expect(rules([written(1, undefined)], reader([read(1, 5)]), reader([read(1, 6)]))).toEqual(['places-differ']);
  });

  it('finds a process that had more memory than its budget', () => {
    expect(checkMemory({ hub: MEMORY_MAX_BYTES, repeater: MEMORY_MAX_BYTES + 1 })).toMatchObject([{ rule: 'memory-over-budget', reader: 'repeater' }]);
  });
});
