import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { turn } from './fakes.test.fixture.ts';
import type { EventGap } from './gap.ts';
import { ModelHub } from './model-hub.test.fixture.ts';
import { joinedRig, type ModelRig } from './model-rig.test.fixture.ts';
import type { Published } from './published.ts';
import type { ReceivedEvent } from './received-event.ts';
import type { Subscription } from './subscription.ts';

/** What may happen next, by how often: what carries frames more than what cuts them off, or no connection comes to anything. */
const WEIGHTS = {
  publish: 3, 'publisher-up': 3, 'publisher-down': 3, answer: 3, 'publisher-cut': 1,
  other: 3, up: 5, down: 6, 'catch-up': 4, 'fall-behind': 1, cut: 1, read: 2, retain: 1, turn: 2,
} as const;

type Step = keyof typeof WEIGHTS;

const STEPS = Object.entries(WEIGHTS).flatMap(([step, weight]) => Array.from({ length: weight }, () => step as Step));
/** `count` says how much of it. */
const steps = fc.array(fc.record({ step: fc.constantFrom(...STEPS), count: fc.integer({ min: 1, max: 6 }) }), { minLength: 1, maxLength: 120, size: 'max' });

/** By then everything has come to its end: a publish may take three rounds, and three go at a time. */
const ROUNDS_MAX = 400;

/** A subscriber and all that it was told. */
interface Hearer {
  readonly seqs: number[];
  readonly gaps: EventGap[];
}

/** A publisher and a subscriber at one hub, each on a connection that may be cut at any moment. */
class World {
  readonly hub: ModelHub;
  readonly publisher: ModelRig;
  readonly subscriber: ModelRig;
  readonly sent: Promise<Published>[] = [];
  readonly callback: Hearer = { seqs: [], gaps: [] };
  readonly iterable: Hearer = { seqs: [], gaps: [] };
  readonly #events: Subscription;
  readonly #reading: Promise<void>;
  #turns = 0;
  #others = 0;
  #mayRead = 0;
  #wake: () => void = () => undefined;

  constructor(hub: ModelHub, publisher: ModelRig, subscriber: ModelRig) {
    this.hub = hub;
    this.publisher = publisher;
    this.subscriber = subscriber;
    subscriber.messenger.subscribe('A', ({ seq = 0 }) => this.callback.seqs.push(seq), { since: { seq: 0 }, onGap: (gap) => this.callback.gaps.push(gap) });
    this.#events = subscriber.messenger.subscribe(['A', '*'], { since: { seq: 0 }, onGap: (gap) => this.iterable.gaps.push(gap) });
    this.#reading = this.#read();
  }

  static async create(isRefusing: (turns: number) => boolean): Promise<World> {
    const hub: ModelHub = new ModelHub({ publishesMax: 3, refuse: () => (isRefusing(world.#turns) ? 'LOG_BACKLOGGED' : undefined) });
    const publisher = await joinedRig({}, hub, 0.25);
    const subscriber = await joinedRig({ subscriptionMaxEvents: 3 }, hub);
    const world = new World(hub, publisher, subscriber);
    return world;
  }

  async take(step: Step, count: number): Promise<void> {
    const { hub, publisher, subscriber } = this;
    this.#turns += 1;
    switch (step) {
      case 'publish':
        this.sent.push(publisher.messenger.send('A', `own ${this.sent.length}`));
        return;
      case 'other':
        for (let made = 0; made < count; made += 1) hub.publish('A', { id: `other-${this.#others}`, from: 'somebody', body: `other ${this.#others++}` });
        return;
      case 'publisher-up':
        return publisher.up(count);
      case 'publisher-down':
        return publisher.down(count);
      case 'answer':
        return publisher.peer.answer(count);
      case 'publisher-cut':
        return cut(publisher);
      case 'up':
        return subscriber.up(count);
      case 'down':
        return subscriber.down(count);
      case 'catch-up':
        return subscriber.peer.catchUp(count);
      case 'fall-behind':
        return subscriber.peer.fallBehind();
      case 'cut':
        return cut(subscriber);
      case 'read':
        this.#mayRead += count;
        this.#wake();
        return turn();
      case 'retain':
        hub.retainedAfter = Math.min(hub.retainedAfter + count, hub.head);
        return;
      case 'turn':
        publisher.transport.socket.ping();
        publisher.clock.advance(2_000);
        publisher.mend();
        return turn();
      default:
        step satisfies never;
    }
  }

  /** Lets everything come to its end. */
  async finish(): Promise<void> {
    const { publisher, subscriber } = this;
    this.#mayRead = Number.MAX_SAFE_INTEGER;
    this.#wake();
    this.#turns = Number.MAX_SAFE_INTEGER;
    let before = '';
    for (let now = this.#progress(), rounds = 0; now !== before || publisher.messenger.state.queuedBytes > 0; now = this.#progress(), rounds += 1) {
      expect(rounds).toBeLessThan(ROUNDS_MAX);
      before = now;
      publisher.transport.socket.ping();
      for (const rig of [publisher, subscriber]) {
        rig.mend();
        await rig.settle();
        rig.peer.answer();
        rig.peer.catchUp();
        await rig.settle();
      }
      publisher.clock.advance(8_000);
    }
    this.#events.close();
    await this.#reading;
  }

  #progress(): string {
    return JSON.stringify([this.hub.head, this.callback, this.iterable, this.publisher.messenger.state.queuedBytes]);
  }

  async #read(): Promise<void> {
    const reader = this.#events[Symbol.asyncIterator]();
    for (;;) {
      while (this.#mayRead === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#mayRead -= 1;
      const { value, done } = await reader.next() as IteratorResult<ReceivedEvent, undefined>;
      if (done === true) return;
      this.iterable.seqs.push(value.seq ?? 0);
    }
  }
}

function cut(rig: ModelRig): void {
  rig.cut();
  rig.clock.advance(4_000);
  rig.join();
}

/** Each sequence was heard or told to be missing, none was heard twice, all in order. A gap may name what was heard just before a cut. */
function expectComplete({ seqs, gaps }: Hearer, head: number): void {
  expect(seqs).toEqual([...new Set(seqs)].toSorted((a, b) => a - b));
  const missing = gaps.flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, index) => from + index));
  expect([...new Set([...seqs, ...missing])].toSorted((a, b) => a - b)).toEqual(Array.from({ length: head }, (_, index) => index + 1));
}

async function run(script: readonly { readonly step: Step; readonly count: number }[], isRefusing: (turns: number) => boolean): Promise<World> {
  const world = await World.create(isRefusing);
  for (const { step, count } of script) await world.take(step, count);
  await world.finish();
  const published = await Promise.all(world.sent);
  for (const [index, each] of published.entries()) {
    const stored = world.hub.log.filter(({ body }) => body === `own ${index}`);
    expect(stored).toHaveLength(1);
    expect(each).toEqual({ class: 'stored', id: stored[0]?.id, seq: stored[0]?.seq });
  }
  expectComplete(world.callback, world.hub.head);
  expectComplete(world.iterable, world.hub.head);
  expect(world.publisher.errors.filter(({ code }) => code !== 'LINK_UNREACHABLE')).toEqual([]);
  expect(world.subscriber.errors.filter(({ code }) => code !== 'LINK_UNREACHABLE')).toEqual([]);
  await closed(world);
  return world;
}

async function closed({ publisher, subscriber }: World): Promise<void> {
  for (const { messenger, transport } of [publisher, subscriber]) {
    const end = messenger.close();
    transport.socket.gone({ closeCode: 1000 });
    await end;
  }
}

describe('whatever is lost, late or answered out of turn', () => {
  it('P1 P2 P6: each publish is stored once, in order, and each subscriber hears of each event once, in order', async () => {
    await fc.assert(fc.asyncProperty(steps, async (script) => {
      const world = await run(script, () => false);
      const own = world.hub.log.filter(({ body }) => body.startsWith('own')).map(({ body }) => body);
      expect(own).toEqual(world.sent.map((_, index) => `own ${index}`));
    }), { numRuns: 150 });
  });

  it('P1 P6: each publish is stored once also when the log refuses some of them for now', async () => {
    await fc.assert(fc.asyncProperty(steps, fc.integer({ min: 2, max: 5 }), async (script, period) => {
      await run(script, (turns) => turns < Number.MAX_SAFE_INTEGER && turns % period === 0);
    }), { numRuns: 100 });
  });
});
