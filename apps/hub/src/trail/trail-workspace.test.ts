import { Lane, LaneGroup, V1, type LaneSink } from '@carillon/session';
import { describe, expect, it } from 'vitest';

import { AGAIN_MS, WorkspaceTrail } from './trail-workspace.ts';
import type { TrailFact } from './trail.ts';

/** A socket that takes nothing more once it is full. */
class Sink implements LaneSink {
  writableLength = 0;
  readonly destroyed = false;
  #drained: (() => void)[] = [];
  write(chunk: Buffer): boolean {
    this.writableLength += chunk.length;
    return true;
  }
  cork(): void {}
  uncork(): void {}
  once(_event: 'drain', listener: () => void): void {
    this.#drained.push(listener);
  }
  take(): void {
    this.writableLength = 0;
    for (const listener of this.#drained.splice(0)) listener();
  }
}

function startTrail() {
  const facts: TrailFact[] = [];
  const at = { clockMs: 0, heardSeq: 0, certain: 0 };
  const position = { get heardSeq() { return at.heardSeq; }, get certain() { return at.certain; }, interests: { since: () => Promise.resolve(3) } };
  let named = 0;
  const trail = new WorkspaceTrail({ journal: { note: (fact) => void facts.push(fact), isEmpty: true }, clock: () => at.clockMs, flush: () => undefined, nextName: () => `n${(named += 1)}` });
  trail.follow(position);
  const group = new LaneGroup(100_000_000);
  const join = (): { readonly lane: Lane; readonly sink: Sink } => {
    const sink = new Sink();
    return { sink, lane: new Lane(sink, { codec: V1, group, maxBytes: 1_000_000, owner: { laneCut: () => undefined } }) };
  };
  return {
    trail, at, join,
    session: (lane: Lane, rooms = ['A']) => trail.open({ how: 'session', session: 's', keyId: 'k', rooms, lane }),
    /** What was noted since the last time. */
    noted: () => facts.splice(0),
    beat: (times = 1) => {
      for (let n = 0; n < times; n += 1) trail.beat({ isTold: true });
      return facts.splice(0);
    },
  };
}

const FULL = Buffer.alloc(65_536);

describe('the trail of a workspace', () => {
  it('says how far all are when something was delivered, and otherwise every three seconds that the hub lives', () => {
    const { at, beat, join, noted, session } = startTrail();
    at.clockMs = 10_000;
    expect(beat()).toEqual([]);
    const reader = session(join().lane);
    reader.begin(5);
    reader.live(6);
    expect(noted()).toEqual([{ kind: 'reading', reader: 'n2', peer: 'n1', session: 's', key: 'k', how: 'session', rooms: ['A'], after: 5 }, { kind: 'live', reader: 'n2', seq: 6 }]);
    Object.assign(at, { heardSeq: 9, certain: 8 });
    expect(beat()).toEqual([{ kind: 'delivered', certain: 8 }]);
    // Not certain of all of it yet, and nothing new of that.
    expect(beat(3)).toEqual([]);
    at.certain = 12;
    expect(beat(3)).toEqual([{ kind: 'delivered', certain: 12 }]);
    // Others' events move the log, and are no news here.
    at.certain = 50;
    expect(beat(3)).toEqual([]);
    at.clockMs += 3_000;
    expect(beat(3)).toEqual([{ kind: 'delivered', certain: 50 }]);
    reader.end('unsubscribed');
    expect(noted()).toEqual([{ kind: 'ended', reader: 'n2', upTo: 9, to: 9, reason: 'unsubscribed' }]);
    at.clockMs += 3_000;
    expect(beat()).toEqual([]);
  });

  it('begins anew with a log that does', () => {
    const { at, beat, join, session } = startTrail();
    session(join().lane).begin(0);
    Object.assign(at, { heardSeq: 90, certain: 90 });
    expect(beat()).toContainEqual({ kind: 'delivered', certain: 90 });
    Object.assign(at, { heardSeq: 2, certain: 2 });
    expect(beat()).toEqual([{ kind: 'delivered', certain: 2 }]);
  });

  it('says what waits in a lane before it says that all have everything, and when it waits no more', () => {
    const { at, beat, join, session } = startTrail();
    const { lane, sink } = join();
    session(lane).begin(0);
    lane.write(FULL, 1, 4);
    lane.write(FULL, 1, 7);
    Object.assign(at, { heardSeq: 7, certain: 7 });
    expect(beat().slice(1)).toEqual([{ kind: 'waits', peer: 'n1', upTo: 4 }, { kind: 'delivered', certain: 7 }]);
    expect(beat(2)).toEqual([]);
    sink.take();
    expect(beat()).toEqual([{ kind: 'waits', peer: 'n1', upTo: null }]);
  });

  it('knows of a connection that is gone what it took of live events, and says so before it knows why', () => {
    const { at, beat, join, noted, session, trail } = startTrail();
    const { lane } = join();
    const reader = session(lane);
    reader.begin(0);
    reader.live(2);
    lane.write(FULL, 1, 4);
    lane.write(FULL, 1, 7);
    at.heardSeq = 9;
    noted();
    const droppedEvents = lane.close();
    expect(beat()).toContainEqual({ kind: 'ended', reader: 'n2', upTo: 4, to: 9, reason: 'peer-gone' });
    expect(beat()).toEqual([]);
    // Its subscription ends after its connection: that says nothing.
    reader.end('unsubscribed');
    trail.left(lane, { droppedEvents, reason: 'PEER_SLOW' });
    trail.left(lane, { droppedEvents, reason: 'PEER_SLOW' });
    expect([noted(), trail.isIdle]).toEqual([[{ kind: 'ended', reader: 'n2', upTo: 4, to: 9, reason: 'PEER_SLOW' }], true]);
  });

  it('knows of a connection that is gone what it took of the log', () => {
    const { join, noted, session, trail } = startTrail();
    const { lane } = join();
    const reader = session(lane);
    reader.begin(0);
    reader.gave(100);
    reader.taken();
    reader.gave(200);
    lane.write(FULL, 1);
    lane.write(FULL, 1);
    noted();
    trail.left(lane, { droppedEvents: lane.close(), reason: 'peer-gone' });
    expect(noted()).toEqual([{ kind: 'ended', reader: 'n2', upTo: 100, to: 200, reason: 'peer-gone' }]);
  });

  it('has a slow reader begin again where its connection was', () => {
    const { join, noted, session } = startTrail();
    const { lane, sink } = join();
    const reader = session(lane);
    reader.begin(0);
    reader.live(2);
    lane.write(FULL, 1, 4);
    lane.write(FULL, 1, 7);
    noted();
    reader.behind(7);
    expect(noted()).toEqual([{ kind: 'behind', reader: 'n2', upTo: 4 }]);
    sink.take();
    reader.taken();
    reader.live(30);
    expect(noted().at(-1)).toEqual({ kind: 'live', reader: 'n2', seq: 30 });
  });

  it('says twice a second at most how far a reader has read, and all of it in the end', () => {
    const { at, beat, join, noted, session } = startTrail();
    at.clockMs = 1_000;
    const reader = session(join().lane);
    reader.begin(0);
    noted();
    for (let seq = 1; seq <= 100; seq += 1) {
      reader.gave(seq);
      reader.taken();
    }
    expect(noted()).toEqual([{ kind: 'read', reader: 'n2', upTo: 1 }]);
    expect(beat()).toContainEqual({ kind: 'read', reader: 'n2', upTo: 100 });
  });

  it('notes what connections may not have in runs, each for all of them', () => {
    const { beat, join, session, trail } = startTrail();
    const [one, other] = [join().lane, join().lane];
    for (const lane of [one, other]) session(lane).begin(0);
    beat();
    const lanes = [one, other, join().lane];
    const event = (seq: number, prevSeq: number) => ({ seq, prevSeq, room: 'A', workspaceId: 'w', id: `e${seq}`, atMs: 0, storedAtMs: 0, fields: '', body: Buffer.alloc(0) });
    for (const [seq, prevSeq] of [[10, 4], [12, 10], [20, 15]] as const) trail.denied(lanes, event(seq, prevSeq));
    expect(beat()).toEqual([{ kind: 'skipped', peers: ['n1', 'n3'], room: 'A', from: 10, to: 12, reason: 'RECEIVE_DENIED' }, { kind: 'skipped', peers: ['n1', 'n3'], room: 'A', from: 20, to: 20, reason: 'RECEIVE_DENIED' }]);
    expect(beat()).toEqual([]);
  });

  it('notes what a repeater was given, and what of it may be lost', () => {
    const { beat, join, noted, trail } = startTrail();
    const { lane } = join();
    trail.repeater({ session: 'r', keyId: undefined, lane });
    for (const seq of [5, 6, 9]) trail.given(lane, { seq });
    trail.given(lane, { id: 'offered' });
    expect(beat()).toEqual([{ kind: 'given', peer: 'n1', session: 'r', seqs: '5-6,9', ids: ['offered'] }]);
    trail.given(lane, { seq: 12 });
    trail.left(lane, { droppedEvents: 1, reason: 'PEER_SLOW' });
    expect(noted()).toEqual([{ kind: 'given', peer: 'n1', session: 'r', seqs: '12' }, { kind: 'lost', peer: 'n1', upTo: 9, reason: 'PEER_SLOW' }]);
    trail.given(lane, { seq: 13 });
    expect(beat()).toEqual([]);
  });

  it('notes every reader again well within the time that is read back', () => {
    const { at, beat, join, session } = startTrail();
    const readers = Array.from({ length: 450 }, (_, n) => session(join().lane, [`R${n}`]));
    for (const reader of readers) reader.begin(0);
    readers[7]?.live(44);
    beat();
    const again = (facts: readonly TrailFact[]) => facts.filter((fact) => fact.kind === 'reading');
    expect(again(beat(10))).toEqual([]);
    at.clockMs += AGAIN_MS / 2;
    const noted = again(beat(3));
    expect([noted.length, new Set(noted.map((fact) => fact.kind === 'reading' && fact.reader)).size]).toEqual([450, 450]);
    expect(noted[7]).toMatchObject({ after: 0, live: 44, again: true });
    expect(again(beat(10))).toEqual([]);
  });

  it('has whoever hears a pattern begin behind what the hub has heard', async () => {
    const { at, join, noted, trail } = startTrail();
    const { lane } = join();
    at.heardSeq = 8;
    trail.hears('A', { how: 'v1', session: 'v', keyId: undefined, lane });
    await Promise.resolve();
    expect(noted()).toMatchObject([{ kind: 'reading', how: 'v1', rooms: ['A'], after: 8, live: 8 }]);
    trail.hears('B', { how: 'v1', session: 'v', keyId: undefined, lane });
    // Gone before it was in force: it never was.
    trail.hearsNoMore('B', lane);
    await Promise.resolve();
    trail.hearsNoMore('A', lane);
    expect(noted()).toMatchObject([{ kind: 'ended', upTo: 8, reason: 'unsubscribed' }]);
  });
});
