import { assert as check, integer, property } from 'fast-check';
import { describe, expect, it } from 'vitest';

import { AppendSimulation, nameOf } from './append-order.fixture.ts';
import { AppendOrder, Standing, TURN_MS, type Ordered } from './append-order.ts';

const TIMEOUT_MS = 5_000;
// Of each publisher in a simulation.
const EVENTS = 700;

interface Item extends Ordered {
  readonly name: string;
}

/** An order of named items; `sent` and `refused` tell what it did. */
function order(timeoutMs = TIMEOUT_MS) {
  const sent: string[] = [];
  const refused: string[] = [];
  const items = new Map<string, Item>();
  const ends: (() => void)[] = [];
  const appends = new AppendOrder<Item>({ timeoutMs, afterTurn: (end) => ends.push(end), send: ({ name }) => sent.push(name), refuse: ({ name }) => refused.push(name) });
  const of = (name: string): Item => items.get(name) as Item;
  const answered = (name: string, then: () => void): void => {
    if (appends.answered(of(name))) then();
  };
  return {
    appends,
    refused,
    /** What was sent since it was asked last. */
    sent: () => sent.splice(0),
    add: (...names: readonly string[]) => {
      for (const name of names) {
        items.set(name, { standing: new Standing(), name });
        appends.add(of(name));
      }
    },
    store: (...names: readonly string[]) => {
      for (const name of names) answered(name, () => appends.leave(of(name), { isStored: true }));
    },
    refuse: (name: string) => answered(name, () => appends.leave(of(name), { isStored: false })),
    fail: (...names: readonly string[]) => {
      for (const name of names) answered(name, () => appends.failed(of(name)));
    },
    /** The turn of the process is over. */
    endTurn: () => {
      for (const end of ends.splice(0)) end();
    },
    passMs: (ms: number) => {
      for (let turn = 0; turn < ms / TURN_MS; turn += 1) appends.turn();
    },
  };
}

/** One that flows: its first probe was stored. */
function flowing(timeoutMs?: number) {
  const world = order(timeoutMs);
  world.appends.attach();
  world.add('probe');
  world.store('probe');
  world.sent();
  return world;
}

describe('the order of appends', () => {
  it('begins with one alone, and sends the rest when that is stored', () => {
    const { appends, add, store, sent } = order();
    add('a', 'b', 'c');
    expect(sent()).toEqual([]);
    appends.attach();
    expect(sent()).toEqual(['a']);
    store('a');

    expect(sent()).toEqual(['b', 'c']);
    add('d');
    expect(sent()).toEqual(['d']);
  });

  it('sends nothing new behind what failed, and goes on when that is stored, alone and first', () => {
    const { add, store, fail, sent, passMs } = flowing();
    add('a', 'b', 'c');
    sent();
    fail('b');
    add('d');
    store('a');
    fail('c');
    expect(sent()).toEqual([]);
    passMs(100);
    expect(sent()).toEqual(['b']);
    fail('b');
    passMs(100);
    expect(sent()).toEqual(['b']);
    store('b');

    expect(sent()).toEqual(['c', 'd']);
  });

  it('waits for what is unanswered when a probe is stored, and then sends it again', () => {
    const { add, store, fail, sent, passMs } = flowing();
    add('a', 'b', 'c', 'd');
    sent();
    fail('d');
    passMs(1_000);
    expect(sent()).toEqual(['a']);
    store('a');
    store('b');
    passMs(200);
    expect(sent()).toEqual([]);
    passMs(50);

    expect(sent()).toEqual(['c', 'd']);
  });

  it('sends nothing new while nothing is answered, and goes on as soon as all is answered', () => {
    const { appends, add, store, sent, passMs } = flowing();
    add('a', 'b');
    passMs(50);
    store('a');
    passMs(50);
    add('c');
    expect(sent()).toEqual(['a', 'b', 'c']);
    passMs(50);
    add('d', 'e');
    expect([sent(), appends.state]).toEqual([[], 'slow']);
    store('b');
    expect(sent()).toEqual([]);
    store('c');

    expect(sent()).toEqual(['d', 'e']);
  });

  it('sends what comes in a later turn when all that was sent before is answered, and then all of it', () => {
    const { appends, add, store, sent, endTurn } = flowing();
    add('a', 'b');
    expect(sent()).toEqual(['a', 'b']);
    endTurn();
    add('c');
    store('a');
    add('d');
    expect(sent()).toEqual([]);
    store('b');
    expect([sent(), appends.state]).toEqual([['c', 'd'], 'flowing']);
    endTurn();
    store('c', 'd');
    add('e');
    expect(sent()).toEqual(['e']);
  });

  it('takes silence for none while nothing is unanswered', () => {
    const { appends, add, store, sent, passMs } = flowing();
    add('a');
    store('a');
    passMs(10_000);
    add('b');
    passMs(50);
    add('c');

    expect([sent(), appends.state]).toEqual([['a', 'b', 'c'], 'flowing']);
  });

  it('sends nothing new behind one that was overtaken', () => {
    const { appends, add, store, sent, passMs } = flowing();
    add('a', 'b', 'c');
    sent();
    store('b');
    add('d');
    store('c');
    expect([sent(), appends.state]).toEqual([[], 'slow']);
    passMs(1_000);
    expect(sent()).toEqual(['a']);
    store('a');

    expect(sent()).toEqual(['d']);
  });

  it('takes one that is refused for good out of the way, and holds nobody up for it', () => {
    const { appends, add, refuse, store, sent } = flowing();
    add('a', 'b', 'c');
    refuse('b');
    refuse('a');
    add('d');
    expect([sent(), appends.state]).toEqual([['a', 'b', 'c', 'd'], 'flowing']);
    store('c', 'd');

    expect(appends.isEmpty).toBe(true);
  });

  it('refuses all, in their order, when the first has waited for its time, and sends the next alone', () => {
    const { add, fail, store, sent, refused, passMs } = flowing(2_000);
    add('a', 'b');
    fail('a');
    passMs(1_000);
    add('c');
    sent();
    passMs(950);
    expect(refused).toEqual([]);
    passMs(50);
    expect(refused).toEqual(['a', 'b', 'c']);
    store('b'); // too late to mean anything
    sent();
    add('d', 'e');
    expect(sent()).toEqual(['d']);
    store('d');

    expect(sent()).toEqual(['e']);
    expect(refused).toHaveLength(3);
  });

  it('keeps what waits while the connection is away, also its time', () => {
    const { appends, add, fail, store, sent, refused, passMs } = flowing(2_000);
    add('a', 'b');
    sent();
    fail('a', 'b');
    appends.detach();
    passMs(1_500);
    expect(sent()).toEqual([]);
    appends.attach();
    expect(sent()).toEqual(['a']);
    store('a');
    expect(sent()).toEqual(['b']);
    appends.detach();
    passMs(500);

    expect([sent(), refused]).toEqual([[], ['b']]);
  });

  it('gives out what was never sent', () => {
    const { appends, add, fail, sent } = flowing();
    add('a', 'b');
    fail('a');
    add('c', 'd');

    expect(appends.takeUnsent().map(({ name }) => name)).toEqual(['c', 'd']);
    expect(appends.pending().map(({ name }) => name)).toEqual(['a', 'b']);
    expect(sent()).toEqual(['a', 'b']);
  });

  it('holds whatever the store, its servers and the network do in which order', () => {
    let [faults, refusals] = [0, 0];
    check(
      property(integer(), (seed) => {
        const simulation = new AppendSimulation({ random: seeded(seed), publishers: 3, events: EVENTS, timeoutMs: TIMEOUT_MS });
        expect(simulation.run()).toBe(true);
        faults += simulation.faults;
        refusals += simulation.refusals;
        const names = simulation.stored.map(nameOf);
        expect(new Set(names).size).toBe(names.length);
        expect(new Set(names)).toEqual(simulation.acked);
        for (const publisher of [0, 1, 2]) {
          const counters = simulation.stored.filter((event) => event.publisher === publisher).map(({ counter }) => counter);
          expect(counters).toEqual(Array.from({ length: EVENTS }, (_, index) => index + 1));
        }
      }),
      { numRuns: 60 },
    );

    expect(faults).toBeGreaterThan(300);
    expect(refusals).toBeGreaterThan(1_000);
  });
});

/** 0 to 1, the same for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
