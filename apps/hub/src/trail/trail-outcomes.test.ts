import { describe, expect, it } from 'vitest';

import { outcomesOf, type OutcomeQuery, type ReaderOutcome, type TrailEvent } from './trail-outcomes.ts';
import type { ReaderFact, TrailFact, TrailLine } from './trail.ts';

const EVENT: TrailEvent = { id: 'e', room: 'A-1', seq: 100, from: 'writer', origin: 'messenger' };

type Reading = Extract<ReaderFact, { readonly kind: 'reading' }>;

const reading = (more: Partial<Reading> = {}): Reading => ({ kind: 'reading', reader: 'r', peer: 'p', session: 's', how: 'session', rooms: ['A-*'], after: 10, ...more });
const delivered = (certain: number): TrailFact => ({ kind: 'delivered', certain });

/** Facts of one hub, a millisecond apart. */
const linesOf = (facts: readonly TrailFact[], hub = 'h'): TrailLine[] => facts.map((fact, at) => ({ at, hub, ...fact }));

function told(facts: readonly TrailFact[], more: Partial<OutcomeQuery> = {}): readonly ReaderOutcome[] {
  return outcomesOf({ event: EVENT, facts: linesOf(facts), isAlive: () => true, wasAlive: () => true, ...more });
}

const outcome = (facts: readonly TrailFact[], more: Partial<OutcomeQuery> = {}): string[] => told(facts, more).map((each) => (each.reason === undefined ? each.outcome : `${each.outcome}: ${each.reason}`));

describe('what became of an event at a reader', () => {
  it.each<{ readonly name: string; readonly facts: readonly TrailFact[]; readonly is: readonly string[] }>([
    { name: 'live, and all who are live were handed it', facts: [reading({ live: 50 }), delivered(99), delivered(100)], is: ['delivered'] },
    { name: 'live, and nothing says that it was handed over yet', facts: [reading({ live: 50 }), delivered(99)], is: ['pending'] },
    { name: 'live from behind it on', facts: [reading({ after: 100, live: 100 }), delivered(200)], is: [] },
    { name: 'of other rooms', facts: [reading({ rooms: ['B-*'], live: 50 }), delivered(100)], is: [] },
    { name: 'read from the log up to it', facts: [reading(), { kind: 'read', reader: 'r', upTo: 99 }, { kind: 'read', reader: 'r', upTo: 100 }], is: ['delivered'] },
    { name: 'read from the log up to before it', facts: [reading(), { kind: 'read', reader: 'r', upTo: 99 }, delivered(500)], is: ['pending'] },
    { name: 'live after the log was read beyond it', facts: [reading(), { kind: 'live', reader: 'r', seq: 120 }], is: ['delivered'] },
    { name: 'behind before it, and read up to it later', facts: [reading({ live: 50 }), { kind: 'behind', reader: 'r', upTo: 90 }, delivered(100), { kind: 'read', reader: 'r', upTo: 130 }], is: ['delivered'] },
    { name: 'behind before it, and not there yet', facts: [reading({ live: 50 }), { kind: 'behind', reader: 'r', upTo: 90 }, delivered(100)], is: ['pending'] },
    { name: 'ended behind it', facts: [reading({ live: 50 }), { kind: 'ended', reader: 'r', upTo: 100, to: 100, reason: 'unsubscribed' }], is: ['delivered'] },
    { name: 'ended before it', facts: [reading({ live: 50 }), { kind: 'ended', reader: 'r', upTo: 99, to: 99, reason: 'unsubscribed' }, delivered(100)], is: [] },
    { name: 'cut with it in its lane', facts: [reading({ live: 50 }), { kind: 'ended', reader: 'r', upTo: 99, to: 100, reason: 'PEER_SLOW' }], is: ['skipped: PEER_SLOW'] },
    { name: 'cut, which is known better later', facts: [reading({ live: 50 }), { kind: 'ended', reader: 'r', upTo: 0, to: 100, reason: 'peer-gone' }, { kind: 'ended', reader: 'r', upTo: 100, to: 100, reason: 'DRAINING' }], is: ['delivered'] },
    { name: 'live, with it waiting in the lane', facts: [reading({ live: 50 }), { kind: 'waits', peer: 'p', upTo: 80 }, delivered(100)], is: ['pending'] },
    { name: 'live, with it taken from the lane later', facts: [reading({ live: 50 }), { kind: 'waits', peer: 'p', upTo: 80 }, delivered(100), { kind: 'waits', peer: 'p', upTo: 110 }], is: ['delivered'] },
    { name: 'live, with the lane empty again', facts: [reading({ live: 50 }), { kind: 'waits', peer: 'p', upTo: 80 }, delivered(100), { kind: 'waits', peer: 'p', upTo: null }], is: ['delivered'] },
    { name: 'waiting in the lane of another', facts: [reading({ live: 50 }), { kind: 'waits', peer: 'other', upTo: 80 }, delivered(100)], is: ['delivered'] },
    { name: 'told of a gap', facts: [reading(), { kind: 'gap', reader: 'r', from: 90, to: 110, reason: 'retention' }, { kind: 'read', reader: 'r', upTo: 110 }], is: ['skipped: retention'] },
    { name: 'denied while live', facts: [reading({ live: 50 }), { kind: 'skipped', peers: ['x', 'p'], room: 'A-1', from: 95, to: 105, reason: 'RECEIVE_DENIED' }, delivered(110)], is: ['skipped: RECEIVE_DENIED'] },
    { name: 'denied, said after it was handed what else there was', facts: [reading({ live: 50 }), delivered(110), { kind: 'skipped', reader: 'r', room: 'A-1', from: 100, to: 100, reason: 'RECEIVE_DENIED' }], is: ['skipped: RECEIVE_DENIED'] },
    { name: 'denied another room', facts: [reading({ live: 50 }), { kind: 'skipped', peers: ['p'], room: 'A-2', from: 95, to: 105, reason: 'RECEIVE_DENIED' }, delivered(110)], is: ['delivered'] },
    { name: 'its own', facts: [reading({ session: 'writer', live: 50 }), delivered(100)], is: ['skipped: own'] },
    { name: 'its own, with echo', facts: [reading({ session: 'writer', echo: true, live: 50 }), delivered(100)], is: ['delivered'] },
    { name: 'a pattern of the first protocol whose tail had a hole there', facts: [reading({ how: 'v1', live: 50 }), { kind: 'untold', from: 100, to: 100, reason: 'retention' }, delivered(110)], is: ['skipped: retention'] },
    { name: 'a pattern of the first protocol whose tail had a wide hole', facts: [reading({ how: 'v1', live: 50 }), { kind: 'untold', from: 90, to: 110, reason: 'damaged' }, delivered(110)], is: ['unknown: damaged'] },
    { name: 'gone before the tail found it', facts: [reading({ live: 50 }), { kind: 'ended', reader: 'r', upTo: 120, to: 120, reason: 'unsubscribed' }, { kind: 'late', room: 'A-1', seq: 100 }], is: ['unknown: late'] },
    { name: 'there when the tail found it', facts: [reading({ live: 50 }), { kind: 'late', room: 'A-1', seq: 100 }, delivered(120), { kind: 'ended', reader: 'r', upTo: 120, to: 120, reason: 'unsubscribed' }], is: ['delivered'] },
    { name: 'known only from being noted again', facts: [reading({ live: 110, again: true })], is: ['delivered'] },
    { name: 'noted again, and reading', facts: [reading({ read: 60, again: true }), delivered(200)], is: ['pending'] },
  ])('$name', ({ facts, is }) => {
    expect(outcome(facts)).toEqual(is);
  });

  it('is expired when its time was over by then', () => {
    const event = { ...EVENT, expiresAtMs: 1 };
    expect(outcome([reading(), { kind: 'gap', reader: 'r', from: 100, to: 100, reason: 'retention' }], { event })).toEqual(['skipped: expired']);
    expect(outcome([reading(), { kind: 'gap', reader: 'r', from: 100, to: 100, reason: 'retention' }], { event: { ...EVENT, expiresAtMs: 5 } })).toEqual(['skipped: retention']);
  });

  it('is unknown where its hub has fallen silent, until its session comes back', () => {
    const facts = [reading({ live: 50 }), delivered(99)];
    expect(outcome(facts, { isAlive: () => false })).toEqual(['unknown: hub-silent']);
    const came = reading({ reader: 'r2', peer: 'p2', after: 100, since: 100 });
    expect(told([...facts, came], { isAlive: () => false })).toMatchObject([{ session: 's', outcome: 'delivered', confirmed: true }]);
    expect(outcome([...facts, { ...came, since: 99, after: 99 }], { isAlive: () => false })).toEqual(['unknown: hub-silent']);
    // One that was silent before had nobody there any more.
    expect(outcome(facts, { isAlive: () => false, wasAlive: () => false })).toEqual([]);
    // Somebody else under the same name says nothing of it.
    expect(outcome([...facts, { ...came, key: 'k' }], { isAlive: () => false })).toEqual(['unknown: hub-silent']);
  });

  it('is the best of what became of it at the subscriptions of a session', () => {
    const cut = [reading({ live: 50 }), { kind: 'ended', reader: 'r', upTo: 99, to: 100, reason: 'PEER_SLOW' }] as const;
    const back = [reading({ reader: 'r2', peer: 'p2', rooms: ['**'], after: 99 }), { kind: 'live', reader: 'r2', seq: 100 }] as const;
    expect(told([...cut, ...back])).toEqual([{ session: 's', key: undefined, how: 'session', hub: 'h', rooms: ['A-*', '**'], outcome: 'delivered', reason: undefined, at: 3 }]);
  });

  it('counts what a hub says for its own readers only', () => {
    const facts = [...linesOf([reading({ live: 50 })]), ...linesOf([reading({ reader: 'r2', session: 's2', live: 50 }), delivered(100)], 'other')];
    expect(outcomesOf({ event: EVENT, facts, isAlive: () => true, wasAlive: () => true }).map(({ session, outcome: of }) => [session, of])).toEqual([['s', 'pending'], ['s2', 'delivered']]);
  });

  it('is nothing at links when it came over one, and at links like others when it did not', () => {
    const facts = [reading({ how: 'link', rooms: ['*'], live: 50 }), delivered(100)];
    expect(outcome(facts)).toEqual(['delivered']);
    expect(outcome(facts, { event: { ...EVENT, origin: 'hub' } })).toEqual([]);
  });

  it('is told of the repeater that was given it, until that one is gone with something in its lane', () => {
    const given: TrailFact = { kind: 'given', peer: 'p1', session: 'repeater 1', seqs: '7,90-100' };
    expect(outcome([given, { kind: 'given', peer: 'p2', session: 'repeater 2', seqs: '8-99' }])).toEqual(['delivered']);
    expect(outcome([{ kind: 'given', peer: 'p3', session: 'repeater 3', ids: ['d', 'e'] }])).toEqual(['delivered']);
    expect(outcome([given, { kind: 'lost', peer: 'p1', upTo: 100, reason: 'PEER_SLOW' }])).toEqual(['delivered']);
    expect(outcome([given, { kind: 'lost', peer: 'p1', upTo: 99, reason: 'PEER_SLOW' }])).toEqual(['unknown: PEER_SLOW']);
  });

  it('is told only of readers that a page says something about', () => {
    const facts = linesOf([reading({ live: 50 }), reading({ reader: 'r2', session: 's2', peer: 'p2', live: 60 }), delivered(100), { kind: 'ended', reader: 'r2', upTo: 300, to: 300, reason: 'unsubscribed' }]);
    expect(outcomesOf({ event: EVENT, facts, isAlive: () => true, wasAlive: () => true, about: new Set(facts.slice(3)) }).map(({ session }) => session)).toEqual(['s2']);
  });
});
