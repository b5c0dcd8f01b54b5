import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { Lane, LaneGroup, V1, type LaneCut, type LaneSink } from './index.ts';

/** A socket as Node has it: `write` says whether to go on, and "drain" comes when all was taken after it said no. */
class Sink implements LaneSink {
  readonly highWaterMark = 16_384;
  readonly destroyed = false;
  writableLength = 0;
  readonly chunks: Buffer[] = [];
  corks = 0;
  listeners: (() => void)[] = [];
  /** Takes everything at the end of a cork, as a kernel with room does. */
  isEager = false;
  #needDrain = false;

  write(chunk: Buffer): boolean {
    this.chunks.push(chunk);
    this.writableLength += chunk.length;
    if (this.writableLength >= this.highWaterMark) this.#needDrain = true;
    return !this.#needDrain;
  }

  /** What was written, a letter for each run of it. */
  get written(): string {
    return Buffer.concat(this.chunks).toString('latin1').replace(/(.)\1*/gs, '$1');
  }

  get writtenBytes(): number {
    return this.chunks.reduce((sum, { length }) => sum + length, 0);
  }

  cork(): void {
    this.corks += 1;
  }

  uncork(): void {
    this.corks -= 1;
    if (this.isEager && this.corks === 0) this.writableLength = 0;
  }

  once(_event: 'drain', listener: () => void): void {
    this.listeners.push(listener);
  }

  /** The kernel takes some bytes. */
  take(bytes = Infinity): void {
    this.writableLength -= Math.min(bytes, this.writableLength);
    if (this.writableLength > 0 || !this.#needDrain) return;
    this.#needDrain = false;
    for (const listener of this.listeners.splice(0)) listener();
  }
}

interface Peer { readonly lane: Lane; readonly sink: Sink; readonly cuts: { cut: LaneCut; droppedEvents: number }[] }

function join(group: LaneGroup, maxBytes: number): Peer {
  const sink = new Sink();
  const cuts: Peer['cuts'] = [];
  return { sink, cuts, lane: new Lane(sink, { codec: V1, group, maxBytes, owner: { laneCut: (cut, droppedEvents) => cuts.push({ cut, droppedEvents }) } }) };
}

const KIB = 1_024;
const chunk = (bytes: number, letter = 'x'): Buffer => Buffer.alloc(bytes, letter);
const SINK_MAX_BYTES = 64 * KIB;

/** A lane whose socket takes no more, so that everything written from here waits in the lane. */
function full(group: LaneGroup, maxBytes: number): Peer {
  const peer = join(group, maxBytes);
  peer.lane.write(chunk(SINK_MAX_BYTES, '.'), 0);
  return peer;
}

describe('a lane', () => {
  it('writes straight to a socket that takes', () => {
    const group = new LaneGroup(1_000_000);
    const { lane, sink } = join(group, 1_000);
    for (const letter of 'abc') lane.write(chunk(1, letter), 1);
    expect(sink.written).toBe('abc');
    expect([lane.queuedBytes, lane.writtenEvents, group.queuedBytes, group.backloggedLanes]).toEqual([0, 3, 0, 0]);
  });

  it('holds what the socket does not take and hands it over in order', () => {
    const group = new LaneGroup(10_000_000);
    const { lane, sink } = full(group, 1_000_000);
    for (const letter of 'abcdef') lane.write(chunk(40 * KIB, letter), 2);
    expect(sink.written).not.toContain('a');
    expect([lane.queuedBytes, group.queuedBytes, group.backloggedLanes, lane.writtenEvents]).toEqual([240 * KIB, 240 * KIB, 1, 0]);
    sink.take();
    expect(sink.written).toBe('.ab');
    expect([lane.queuedBytes, lane.writtenEvents]).toEqual([160 * KIB, 4]);
    lane.write(chunk(1, 'g'), 1);
    sink.take(40 * KIB);
    expect(lane.writtenEvents).toBe(4);
    while (sink.writableLength > 0) sink.take();
    expect(sink.written).toBe('.abcdefg');
    expect([lane.queuedBytes, lane.writtenEvents, group.queuedBytes, group.backloggedLanes, sink.corks]).toEqual([0, 13, 0, 0, 0]);
  });

  it('knows the sequence of what the socket took last, not of what waits', () => {
    const { lane, sink } = full(new LaneGroup(10_000_000), 1_000_000);
    expect(lane.writtenSeq).toBe(0);
    for (const seq of [7, 0, 9]) lane.write(chunk(40 * KIB), 1, seq);
    expect(lane.writtenSeq).toBe(0);
    sink.take();
    // What has none, as a control frame, leaves it where it is.
    expect([lane.writtenEvents, lane.writtenSeq]).toEqual([2, 7]);
    while (sink.writableLength > 0) sink.take();
    expect(lane.writtenSeq).toBe(9);
    lane.write(chunk(1), 1, 12);
    expect(lane.writtenSeq).toBe(12);
  });

  it('waits for one drain at a time, also when the kernel takes all at once', () => {
    const { lane, sink } = full(new LaneGroup(100_000_000), 10_000_000);
    for (let count = 0; count < 40; count += 1) lane.write(chunk(SINK_MAX_BYTES, 'a'), 1);
    expect(sink.listeners.length).toBe(1);
    sink.isEager = true;
    sink.take();
    expect([lane.queuedBytes, lane.writtenEvents]).toEqual([0, 40]);
    expect(sink.listeners.length).toBe(0);
  });

  it('takes exactly its bound and is cut by one byte more', () => {
    const group = new LaneGroup(1_000_000);
    const { lane, cuts } = full(group, 1_000);
    lane.write(chunk(400), 3);
    lane.write(chunk(600), 4);
    expect(cuts).toEqual([]);
    lane.write(chunk(1), 5);
    expect(cuts).toEqual([{ cut: 'PEER_SLOW', droppedEvents: 12 }]);
    expect([lane.closed, lane.queuedBytes, group.queuedBytes, group.backloggedLanes]).toEqual([true, 0, 0, 0]);
  });

  it('is cut once and then takes and writes nothing', () => {
    const { lane, sink, cuts } = full(new LaneGroup(1_000_000), 1_000);
    lane.write(chunk(1_000, 'a'), 1);
    lane.cut('PEER_STALLED');
    lane.cut('PEER_SLOW', 7);
    lane.write(chunk(5, 'b'), 1);
    sink.take();
    expect(cuts).toEqual([{ cut: 'PEER_STALLED', droppedEvents: 1 }]);
    expect(sink.written).not.toMatch(/[ab]/);
  });

  it('tells how many events it forgot when it is closed', () => {
    const group = new LaneGroup(1_000_000);
    const { lane, cuts } = full(group, 1_000);
    lane.write(chunk(10), 3);
    lane.write(chunk(10), 4);
    expect(lane.close()).toBe(7);
    expect(lane.close()).toBe(0);
    expect(cuts).toEqual([]);
    expect(group.queuedBytes).toBe(0);
  });

  it('counts what comes after it was closed as dropped', () => {
    const { lane, sink } = join(new LaneGroup(1_000_000), 1_000);
    lane.close();
    lane.write(chunk(10), 3);
    lane.write(chunk(10), 4);
    expect([lane.close(), lane.close(), sink.writtenBytes]).toEqual([7, 0, 0]);
  });
});

describe('a lane that ends', () => {
  it('says so at once when nothing waits', () => {
    const { lane } = join(new LaneGroup(1_000_000), 1_000);
    let emptied = 0;
    lane.end(() => (emptied += 1));
    expect([emptied, lane.closed]).toEqual([1, true]);
  });

  it('hands over what waits, takes no more, and says so once', () => {
    const { lane, sink } = full(new LaneGroup(1_000_000), 1_000_000);
    for (const letter of 'abc') lane.write(chunk(60_000, letter), 1);
    const saidAfter: string[] = [];
    lane.end(() => saidAfter.push(sink.written));
    lane.write(chunk(1, 'd'), 5);
    expect([lane.closed, saidAfter]).toEqual([true, []]);
    while (sink.writableLength > 0) sink.take();
    expect(saidAfter).toEqual(['.abc']);
    expect([lane.queuedBytes, lane.writtenEvents, lane.close(), saidAfter.length]).toEqual([0, 3, 5, 1]);
  });

  it('can still be cut, and says then that nothing waits', () => {
    const group = new LaneGroup(1_000);
    const [ending, other] = [full(group, 1_000), full(group, 1_000)];
    ending.lane.write(chunk(900), 9);
    let emptied = 0;
    ending.lane.end(() => (emptied += 1));
    other.lane.write(chunk(101), 1);
    expect(ending.cuts).toEqual([{ cut: 'MEMORY_PRESSURE', droppedEvents: 9 }]);
    expect([emptied, other.cuts, group.queuedBytes]).toEqual([1, [], 101]);
    ending.sink.take();
    ending.lane.cut('PEER_STALLED');
    expect([emptied, ending.cuts.length, ending.lane.writtenEvents]).toEqual([1, 1, 0]);
  });
});

describe('a stalled lane', () => {
  it('is one whose socket took nothing since the last look', () => {
    const { lane, sink } = full(new LaneGroup(1_000_000), 1_000_000);
    lane.isStalled();
    expect(lane.isStalled()).toBe(true);
    sink.take(1);
    expect(lane.isStalled()).toBe(false);
    expect(lane.isStalled()).toBe(true);
    sink.take();
    expect(lane.isStalled()).toBe(false);
    expect(lane.isStalled()).toBe(false);
  });

  it('is not one that gets more to do', () => {
    const { lane, sink } = full(new LaneGroup(1_000_000), 1_000_000);
    lane.isStalled();
    lane.write(chunk(10_000), 1);
    expect(lane.isStalled()).toBe(true);
    sink.take(SINK_MAX_BYTES);
    expect(lane.isStalled()).toBe(false);
  });

  it('stays one while pings and control frames are written beside it', () => {
    const { lane, sink } = full(new LaneGroup(1_000_000), 1_000_000);
    lane.isStalled();
    for (let second = 0; second < 5; second += 1) {
      sink.write(chunk(2));
      expect(lane.isStalled()).toBe(true);
    }
  });
});

describe('the lanes of a process', () => {
  it('are bounded together: the one that holds most is cut', () => {
    const group = new LaneGroup(10_000);
    const [small, large, middle] = [full(group, 9_000), full(group, 9_000), full(group, 9_000)];
    small.lane.write(chunk(1_000), 1);
    large.lane.write(chunk(6_000), 6);
    middle.lane.write(chunk(3_000), 3);
    expect([small, large, middle].flatMap(({ cuts }) => cuts)).toEqual([]);
    small.lane.write(chunk(1), 1);
    expect(large.cuts).toEqual([{ cut: 'MEMORY_PRESSURE', droppedEvents: 6 }]);
    expect([small.cuts, middle.cuts]).toEqual([[], []]);
    expect([group.queuedBytes, group.backloggedLanes]).toEqual([4_001, 2]);
  });

  it('are accounted for to the byte and the event, whatever happens', () => {
    const TOTAL = 400 * KIB;
    const MAX = 200 * KIB;
    const seen = new Set<string>();
    const operation = fc.record({ peer: fc.nat(2), what: fc.constantFrom('write', 'write', 'write', 'write', 'take', 'end'), size: fc.integer({ min: 1, max: 90 * KIB }), luck: fc.nat(19) });
    const store = chunk(90 * KIB);
    fc.assert(
      fc.property(fc.array(operation, { minLength: 1, maxLength: 80, size: 'max' }), (operations) => {
        const group = new LaneGroup(TOTAL);
        const peers = [join(group, MAX), join(group, MAX), join(group, MAX)].map((peer) => ({ ...peer, given: [] as Buffer[], givenBytes: 0, late: 0, closedWith: 0, ended: 0, emptied: 0 }));
        for (const { peer, what, size, luck } of operations) {
          const at = peers[peer] as (typeof peers)[number];
          at.sink.isEager = luck % 2 === 0;
          if (what === 'write') {
            const bytes = store.subarray(0, size);
            if (at.lane.closed) at.late += 2;
            else [at.givenBytes] = [at.givenBytes + size, at.given.push(bytes)];
            at.lane.write(bytes, 2);
          } else if (what === 'take') at.sink.take(size);
          else if (luck === 0) at.lane.cut('PEER_STALLED');
          else if (luck === 1) at.closedWith += at.lane.close();
          else if (luck < 4 && at.ended === 0) {
            at.ended = 1;
            at.lane.end(() => (at.emptied += at.lane.queuedBytes === 0 ? 1 : 100));
          }
          for (const { lane, sink, cuts, givenBytes, closedWith } of peers) {
            expect(lane.queuedBytes).toBeLessThanOrEqual(MAX);
            expect(sink.listeners.length).toBeLessThanOrEqual(1);
            expect(cuts.length).toBeLessThanOrEqual(1);
            expect(lane.writtenEvents).toBe(2 * sink.chunks.length);
            if (!lane.closed) expect([lane.queuedBytes, cuts.length, closedWith]).toEqual([givenBytes - sink.writtenBytes, 0, 0]);
            for (const { cut } of cuts) seen.add(cut);
          }
          expect(group.queuedBytes).toBe(peers.reduce((sum, { lane }) => sum + lane.queuedBytes, 0));
          expect(group.backloggedLanes).toBe(peers.filter(({ lane }) => lane.queuedBytes > 0).length);
          expect(group.queuedBytes).toBeLessThanOrEqual(TOTAL);
        }
        for (const at of peers) {
          const { lane, sink, cuts, given, late } = at;
          while (sink.writableLength > 0) sink.take();
          expect(sink.chunks.every((bytes, index) => bytes === given[index])).toBe(true);
          if (!lane.closed) expect(sink.chunks.length).toBe(given.length);
          at.closedWith += lane.close();
          expect(lane.writtenEvents + at.closedWith + (cuts[0]?.droppedEvents ?? 0)).toBe(2 * given.length + late);
          expect(at.emptied).toBe(at.ended);
        }
        expect([group.queuedBytes, group.backloggedLanes]).toEqual([0, 0]);
      }),
      { numRuns: 100 },
    );
    expect([...seen].sort()).toEqual(['MEMORY_PRESSURE', 'PEER_SLOW', 'PEER_STALLED']);
  });
});
