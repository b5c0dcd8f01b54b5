import { describe, expect, it } from 'vitest';

import { isInRuns, RoomRuns, SeqRuns } from './trail-runs.ts';

describe('runs of sequences', () => {
  it('join neighbours and nothing else, and are read back', () => {
    const runs = new SeqRuns();
    for (const seq of [7, 8, 9, 12, 14, 15]) runs.add(seq);
    expect([runs.text, runs.size]).toEqual(['7-9,12,14-15', 3]);
    expect([6, 7, 8, 9, 10, 12, 13, 14, 15, 16].filter((seq) => isInRuns(runs.text, seq))).toEqual([7, 8, 9, 12, 14, 15]);
    expect(isInRuns('', 1)).toBe(false);
  });
});

describe('runs of a room', () => {
  it('go on only while each event is the next of its room', () => {
    const runs = new RoomRuns();
    for (const [room, seq, prevSeq] of [['A', 10, 4], ['B', 11, 0], ['A', 15, 10], ['A', 20, 17], ['B', 21, 11]] as const) runs.add({ room, seq, prevSeq });
    expect(runs.size).toBe(3);
    expect(runs.take()).toEqual([{ room: 'A', from: 10, to: 15 }, { room: 'A', from: 20, to: 20 }, { room: 'B', from: 11, to: 21 }]);
    expect([runs.size, runs.take()]).toEqual([0, []]);
  });
});
