import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { BatchWriter, createRoute, Lane, LaneGroup, SSE, Subscriptions, V1, V2, type Codec, type LaneSink, type OutboundEvent } from './index.ts';
import { maskedV1 } from './codec.ts';

/** Takes everything at once and keeps each write. */
class Sink implements LaneSink {
  readonly writableLength = 0;
  readonly destroyed = false;
  readonly writes: Buffer[] = [];
  write(chunk: Buffer): boolean {
    this.writes.push(chunk);
    return true;
  }
  cork(): void {}
  uncork(): void {}
  once(): void {}
}

interface Peer { readonly lane: Lane; readonly sink: Sink }
const group = new LaneGroup(1_000_000);
const join = (codec: Codec = V1): Peer => {
  const sink = new Sink();
  return { sink, lane: new Lane(sink, { codec, group, maxBytes: 1_000_000, owner: { laneCut: () => undefined } }) };
};

/** An event `A\n<name>`; names are short, so that every frame has a header of two bytes. */
const event = (name: string, source?: Lane, fields = ''): OutboundEvent => ({ bytes: Buffer.from(`A\n${name}`), roomEnd: 1, tagEnd: 1, fields, source, order: 0 });
const big = (bytes: number, letter: string): OutboundEvent => ({ bytes: Buffer.from(`A\n${letter.repeat(bytes)}`), roomEnd: 1, tagEnd: 1, fields: '', source: undefined, order: 0 });

/** Names of the events that a peer got, in order (unmasked v1 and v2). */
function namesOf({ sink }: Peer): string[] {
  const bytes = Buffer.concat(sink.writes);
  const names: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const short = bytes.readUInt8(at + 1);
    const [length, start] = short < 126 ? [short, at + 2] : short === 126 ? [bytes.readUInt16BE(at + 2), at + 4] : [Number(bytes.readBigUInt64BE(at + 2)), at + 10];
    names.push(bytes.toString('latin1', start, start + length).split('\n')[1]?.replace(/(.)\1{9,}/, '$1…') ?? '');
    at = start + length;
  }
  return names;
}

/** A writer with its clock in our hands: what it put off to the end of the turn, and what for some milliseconds. */
function createWriter(): { readonly writer: BatchWriter; readonly endTurn: () => void; readonly scheduled: () => number; readonly held: number[]; readonly clock: { nowMs: number } } {
  let pending: (() => void)[] = [];
  const held: number[] = [];
  const clock = { nowMs: 1_000 };
  const later = (flush: () => void, ms: number): void => {
    held.push(ms);
    pending.push(flush);
  };
  const writer = new BatchWriter({ endOfCallback: (flush) => pending.push(flush), endOfTurn: (flush) => pending.push(flush), after: later, now: () => clock.nowMs });
  const endTurn = (): void => {
    const due = pending;
    pending = [];
    for (const flush of due) flush();
  };
  return { writer, endTurn, scheduled: () => pending.length, held, clock };
}

describe('a batch', () => {
  it('waits for the end of the turn, and asks for it once', () => {
    const { writer, endTurn, scheduled } = createWriter();
    const peer = join();
    const route = createRoute([peer.lane]);
    writer.add(event('1'), route);
    writer.add(event('2'), route);
    expect([scheduled(), peer.sink.writes.length]).toEqual([1, 0]);
    endTurn();
    expect(namesOf(peer)).toEqual(['1', '2']);
    writer.add(event('3'), route);
    endTurn();
    expect(namesOf(peer)).toEqual(['1', '2', '3']);
    expect(writer.counts).toEqual({ batches: 2, deliveries: 3, writes: 2 });
  });

  it('of one route is one write to each lane, of the very same buffer', () => {
    const { writer, endTurn } = createWriter();
    const peers = Array.from({ length: 5 }, () => join());
    const route = createRoute(peers.map(({ lane }) => lane));
    for (const name of ['1', '2', '3']) writer.add(event(name), route);
    endTurn();
    const [first] = peers.map(({ sink }) => sink.writes[0]);
    for (const { sink } of peers) expect([sink.writes.length, sink.writes[0] === first]).toEqual([1, true]);
    expect(namesOf(peers[4] as Peer)).toEqual(['1', '2', '3']);
    expect(writer.counts).toEqual({ batches: 1, deliveries: 15, writes: 5 });
  });

  it('has one buffer for each codec, also when codecs alternate', () => {
    const { writer, endTurn } = createWriter();
    const peers = [V1, V2, V1, V2, SSE].map(join);
    const route = createRoute(peers.map(({ lane }) => lane));
    writer.add(event('1', undefined, '\tid=x'), route);
    endTurn();
    const written = peers.map(({ sink }) => sink.writes[0]);
    expect([written[0] === written[2], written[1] === written[3], new Set(written).size]).toEqual([true, true, 3]);
    expect(written[3]?.toString('latin1')).toContain('A\tid=x\n1');
  });

  it('masks for each dialled peer anew', () => {
    const { writer, endTurn } = createWriter();
    let key = 0x01020304;
    const masked = maskedV1(() => (key += 1));
    const peers = [join(masked), join(masked)];
    writer.add(event('1'), createRoute(peers.map(({ lane }) => lane)));
    endTurn();
    expect(peers[0]?.sink.writes[0]?.equals(peers[1]?.sink.writes[0] ?? Buffer.alloc(0))).toBe(false);
  });

  it('of several routes comes in the order of the events', () => {
    const { writer, endTurn } = createWriter();
    const [both, left, right] = [join(), join(), join()];
    const a = createRoute([both.lane, left.lane]);
    const b = createRoute([right.lane, both.lane]);
    for (const [name, route] of [['1', a], ['2', b], ['3', b], ['4', a], ['5', b]] as const) writer.add(event(name), route);
    endTurn();
    expect([both, left, right].map(namesOf)).toEqual([['1', '2', '3', '4', '5'], ['1', '4'], ['2', '3', '5']]);
    expect([both, left, right].map(({ sink }) => sink.writes.length)).toEqual([1, 1, 1]);
  });

  it('shares a buffer between lanes in the same routes', () => {
    const { writer, endTurn } = createWriter();
    const [one, two, other] = [join(), join(), join()];
    writer.add(event('1'), createRoute([one.lane, two.lane, other.lane]));
    writer.add(event('2'), createRoute([two.lane, one.lane]));
    endTurn();
    expect(one.sink.writes[0]).toBe(two.sink.writes[0]);
    expect(other.sink.writes[0]).not.toBe(one.sink.writes[0]);
  });

  it('delivers an event that takes several routes once to each lane', () => {
    const { writer, endTurn } = createWriter();
    const [both, left] = [join(), join()];
    const routes = [createRoute([both.lane, left.lane]), createRoute([both.lane]), createRoute([both.lane, left.lane])];
    for (const name of ['1', '2']) {
      const shared = event(name);
      for (const route of routes) writer.add(shared, route);
    }
    endTurn();
    expect([both, left].map(namesOf)).toEqual([['1', '2'], ['1', '2']]);
    expect(writer.counts.deliveries).toBe(4);
  });

  it('delivers an event that takes several routes once also when it fills the batch', () => {
    const { writer, endTurn } = createWriter();
    const peer = join();
    const routes = [createRoute([peer.lane]), createRoute([peer.lane])];
    for (const letter of 'ab') {
      const large = big(300_000, letter);
      for (const route of routes) writer.add(large, route);
    }
    endTurn();
    expect(namesOf(peer)).toEqual(['a…', 'b…']);
  });

  it('does not grow past its bound by more than one event', () => {
    const { writer, endTurn } = createWriter();
    const peer = join();
    const route = createRoute([peer.lane]);
    for (let count = 0; count < 10; count += 1) writer.add(big(100_000, 'abcdefghij'.charAt(count)), route);
    endTurn();
    expect(namesOf(peer).map((name) => name.charAt(0)).join('')).toBe('abcdefghij');
    for (const { length } of peer.sink.writes) expect(length).toBeLessThan(262_144 + 100_100);
    expect(peer.sink.writes.length).toBeGreaterThan(2);
  });

  it('never goes back to the source, and goes to the others', () => {
    const { writer, endTurn } = createWriter();
    const [source, other] = [join(), join()];
    const route = createRoute([source.lane, other.lane]);
    writer.add(event('1', source.lane), route);
    writer.add(event('2', other.lane), route);
    writer.add(event('3'), route);
    endTurn();
    expect([source, other].map(namesOf)).toEqual([['2', '3'], ['1', '3']]);
    writer.add(event('4', source.lane), route);
    endTurn();
    expect(source.sink.writes.length).toBe(1);
    writer.add(event('5'), route);
    endTurn();
    expect(source.sink.writes[1]).toBe(other.sink.writes[2]);
  });

  it('passes over lanes that are closed and routes that nobody is on', () => {
    const { writer, endTurn, scheduled } = createWriter();
    const [gone, here] = [join(), join()];
    writer.add(event('1'), createRoute([]));
    expect(scheduled()).toBe(0);
    writer.add(event('2'), createRoute([gone.lane, here.lane]));
    gone.lane.close();
    endTurn();
    expect([gone, here].map(namesOf)).toEqual([[], ['2']]);
    expect(writer.counts).toEqual({ batches: 1, deliveries: 1, writes: 1 });
  });

  it('tells each lane the sequence of its last event that has one', () => {
    const { writer, endTurn } = createWriter();
    const [one, both, own, none] = [join(), join(V2), join(), join()];
    const [a, b, live] = [createRoute([one.lane, both.lane, own.lane]), createRoute([both.lane, own.lane]), createRoute([none.lane, one.lane, both.lane, own.lane])];
    writer.add({ ...event('a'), seq: 5 }, a);
    writer.add({ ...event('b', own.lane), seq: 6 }, b);
    writer.add(event('live'), live);
    endTurn();
    expect([one, both, own, none].map(({ lane }) => lane.writtenSeq)).toEqual([5, 6, 5, 0]);
  });

  it('that is empty does nothing', () => {
    const { writer } = createWriter();
    writer.flush();
    expect(writer.counts).toEqual({ batches: 0, deliveries: 0, writes: 0 });
  });
});

describe('a writer under load', () => {
  const MANY = 200;

  it('holds the next batch for a millisecond while it would still be writing', () => {
    const { writer, endTurn, held } = createWriter();
    const peers = Array.from({ length: MANY }, () => join());
    const route = createRoute(peers.map(({ lane }) => lane));
    writer.add(event('1'), route);
    endTurn();
    expect(held).toEqual([]);
    for (const name of ['2', '3']) writer.add(event(name), route);
    expect(held).toEqual([1]);
    endTurn();
    expect(namesOf(peers[MANY - 1] as Peer)).toEqual(['1', '2', '3']);
    expect(writer.counts.writes).toBe(2 * MANY);
  });

  it('holds nothing once as long has passed as the writes may have taken', () => {
    const { writer, endTurn, held, clock } = createWriter();
    const route = createRoute(Array.from({ length: MANY }, () => join().lane));
    writer.add(event('1'), route);
    endTurn();
    clock.nowMs += 5;
    writer.add(event('2'), route);
    expect(held).toEqual([]);
  });

  it('holds nothing after a batch of few writes', () => {
    const { writer, endTurn, held } = createWriter();
    const route = createRoute(Array.from({ length: 10 }, () => join().lane));
    for (const name of ['1', '2', '3']) {
      writer.add(event(name), route);
      endTurn();
    }
    expect(held).toEqual([]);
  });

  it('does not hold what is over the bound', () => {
    const { writer, endTurn } = createWriter();
    const peers = Array.from({ length: MANY }, () => join());
    const route = createRoute(peers.map(({ lane }) => lane));
    writer.add(event('1'), route);
    endTurn();
    writer.add(big(300_000, 'a'), route);
    writer.add(big(300_000, 'b'), route);
    expect(namesOf(peers[0] as Peer)).toEqual(['1', 'a…']);
    endTurn();
    expect(namesOf(peers[0] as Peer)).toEqual(['1', 'a…', 'b…']);
  });
});

describe('fan-out', () => {
  it('gives every peer what a list for each peer would hold, in the same order', () => {
    const rooms = ['A', 'A-1', 'A-2', 'B'];
    const patterns = ['A', 'A-1', 'A-*', 'A**', 'B', '*'];
    const step = fc.oneof(
      { weight: 2, arbitrary: fc.record({ what: fc.constant('subscribe' as const), peer: fc.nat(3), pattern: fc.constantFrom(...patterns), add: fc.boolean() }) },
      { weight: 5, arbitrary: fc.record({ what: fc.constant('publish' as const), room: fc.constantFrom(...rooms), source: fc.option(fc.nat(3), { nil: undefined }), alsoAll: fc.boolean(), large: fc.nat(20) }) },
      { weight: 1, arbitrary: fc.record({ what: fc.constant('flush' as const) }) },
      { weight: 1, arbitrary: fc.record({ what: fc.constant('endTurn' as const) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), (steps) => {
        const { writer, endTurn } = createWriter();
        const peers = [V1, V2, V1, V2].map(join);
        const everybody = createRoute(peers.map(({ lane }) => lane));
        const subscriptions = new Subscriptions();
        const expected: string[][] = peers.map(() => []);
        for (const [index, at] of steps.entries()) {
          if (at.what === 'subscribe') {
            const { lane } = peers[at.peer] as Peer;
            if (at.add) subscriptions.add(at.pattern, lane);
            else subscriptions.remove(at.pattern, lane);
          } else if (at.what === 'publish') {
            const source = at.source === undefined ? undefined : (peers[at.source] as Peer).lane;
            const route = subscriptions.route(at.room);
            const published = at.large === 0 ? { ...big(140_000, 'z'), source } : event(`${index}`, source);
            for (const [peer, { lane }] of peers.entries()) {
              if (lane !== source && (at.alsoAll || route.lanes.includes(lane))) expected[peer]?.push(at.large === 0 ? 'z…' : `${index}`);
            }
            writer.add(published, route);
            if (at.alsoAll) writer.add(published, everybody);
          } else if (at.what === 'flush') writer.flush();
          else endTurn();
        }
        endTurn();
        expect(peers.map(namesOf)).toEqual(expected);
        expect(writer.counts.deliveries).toBe(expected.flat().length);
      }),
      { numRuns: 500 },
    );
  });
});
