import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Consumer, Delivery } from './consumer.ts';
import { turn } from './fakes.test.fixture.ts';
import { ModelHub } from './model-hub.test.fixture.ts';
import { joinedRig, type ModelRig } from './model-rig.test.fixture.ts';

/** What may happen next, by how often. `which` says to which of two members, `count` how much of it. */
const WEIGHTS = { owe: 3, deliver: 5, 'time-out': 1, up: 5, down: 6, answer: 4, cut: 1, read: 5, ack: 4, nack: 2, defer: 1, discard: 1, forget: 1, close: 1, turn: 2 } as const;

type Step = keyof typeof WEIGHTS;
type Verdict = 'ack' | 'nack' | 'defer' | 'discard';

const STEPS = Object.entries(WEIGHTS).flatMap(([step, weight]) => Array.from({ length: weight }, () => step as Step));
const steps = fc.array(fc.record({ step: fc.constantFrom(...STEPS), which: fc.nat({ max: 1 }), count: fc.integer({ min: 1, max: 5 }) }), { minLength: 1, maxLength: 120, size: 'max' });

const WINDOW = 3;
/** By then everything has come to its end: each round settles what two windows hold. */
const ROUNDS_MAX = 400;

interface Said {
  readonly seq: number;
  readonly verdict: Verdict;
  fate: 'waits' | 'kept' | 'unknown';
}

/** One member: its connection, and a program that reads and settles when the test says so. */
class Member {
  readonly rig: ModelRig;
  readonly said: Said[] = [];
  consumer: Consumer;
  #held: Delivery[] = [];
  #reader: AsyncIterator<Delivery>;
  #isReading = false;

  constructor(rig: ModelRig) {
    this.rig = rig;
    this.consumer = this.#join();
    this.#reader = this.consumer[Symbol.asyncIterator]();
  }

  /** Leaves and joins anew, as a program that restarts. */
  restart(): void {
    void this.consumer.close();
    this.consumer = this.#join();
    this.#reader = this.consumer[Symbol.asyncIterator]();
    this.#isReading = false;
    this.#held = [];
  }

  async read(count: number): Promise<void> {
    for (let read = 0; read < count && !this.#isReading; read += 1) {
      const reader = this.#reader;
      this.#isReading = true;
      void reader.next().then(({ value, done }) => {
        if (reader !== this.#reader) return;
        this.#isReading = false;
        if (done !== true) this.#held.push(value);
      });
      await turn();
    }
  }

  say(verdict: Verdict, count: number): void {
    for (const delivery of this.#held.splice(0, count)) {
      const said: Said = { seq: delivery.event.seq ?? 0, verdict, fate: 'waits' };
      this.said.push(said);
      delivery[verdict]().then(() => (said.fate = 'kept'), (error: { readonly code?: string }) => {
        expect(error.code).toBe('DELIVERY_UNKNOWN');
        said.fate = 'unknown';
      });
    }
  }

  forget(count: number): void {
    this.#held.splice(0, count);
  }

  cut(): void {
    this.rig.cut();
    this.rig.clock.advance(4_000);
    this.rig.join();
  }

  #join(): Consumer {
    return this.rig.messenger.consume('jobs', 'A', { window: WINDOW, maxDeliveries: 4 });
  }
}

class World {
  readonly hub: ModelHub;
  readonly members: readonly [Member, Member];

  constructor(members: readonly [Member, Member], hub: ModelHub) {
    this.members = members;
    this.hub = hub;
  }

  static async create(): Promise<World> {
    const hub = new ModelHub();
    return new World([new Member(await joinedRig({}, hub, 0.25)), new Member(await joinedRig({}, hub))], hub);
  }

  async take(step: Step, which: number, count: number): Promise<void> {
    const { hub } = this;
    const member = this.members[which === 0 ? 0 : 1];
    const { rig } = member;
    switch (step) {
      case 'owe':
        for (let made = 0; made < count; made += 1) hub.publish('A', { id: `id-${hub.head + 1}`, from: 'somebody', body: 'x' });
        return;
      case 'deliver':
        return hub.consumers.deliver(count);
      case 'time-out':
        return hub.consumers.timeOut(count);
      case 'up':
        return rig.up(count);
      case 'down':
        return rig.down(count);
      case 'answer':
        return rig.peer.answer(count);
      case 'cut':
        return member.cut();
      case 'read':
        return member.read(count);
      case 'forget':
        return member.forget(count);
      case 'close':
        return member.restart();
      case 'turn':
        return turn();
      default:
        return member.say(step, count);
    }
  }

  /** Both read and ack whatever comes until nothing is owed. */
  async finish(): Promise<void> {
    const { hub, members } = this;
    for (let rounds = 0; this.#isOwing() || rounds === 0; rounds += 1) {
      expect(rounds).toBeLessThan(ROUNDS_MAX);
      hub.consumers.timeOut();
      hub.consumers.deliver();
      for (const member of members) {
        await member.rig.settle();
        await member.read(WINDOW);
        member.say('ack', 2 * WINDOW);
        await member.rig.settle();
        member.rig.peer.answer();
        await member.rig.settle();
      }
    }
    for (const { rig } of members) {
      const end = rig.messenger.close();
      rig.transport.socket.gone({ closeCode: 1000 });
      await end;
    }
    await turn();
  }

  #isOwing(): boolean {
    const owed = this.hub.consumers.owed('jobs');
    return owed.length < this.hub.head || owed.some(({ over }) => over === undefined);
  }
}

describe('deliveries, whatever is lost, late or settled out of turn', () => {
  it('are settled once or come again, and every promise of theirs is settled', async () => {
    const kept = { count: 0, unknown: 0 };
    await fc.assert(fc.asyncProperty(steps, async (script) => {
      const world = await World.create();
      for (const { step, which, count } of script) await world.take(step, which, count);
      await world.finish();
      const owed = world.hub.consumers.owed('jobs');
      expect(owed.map(({ seq }) => seq)).toEqual(world.hub.log.map(({ seq }) => seq));
      const said = world.members.flatMap((member) => member.said);
      expect(said.filter(({ fate }) => fate === 'waits')).toEqual([]);
      for (const { seq, over, settledTimes } of owed) {
        const finals = said.filter((each) => each.seq === seq && each.fate === 'kept' && (each.verdict === 'ack' || each.verdict === 'discard'));
        expect(over).toBeDefined();
        expect(settledTimes).toBe(1);
        expect(finals.length).toBeLessThanOrEqual(1);
        if (finals[0]?.verdict === 'ack') expect(over).toBe('acked');
      }
      for (const { rig } of world.members) expect(rig.errors.filter(({ code }) => code !== 'LINK_UNREACHABLE')).toEqual([]);
      kept.count += said.filter(({ fate }) => fate === 'kept').length;
      kept.unknown += said.filter(({ fate }) => fate === 'unknown').length;
    }), { numRuns: 150 });
    expect(kept.count).toBeGreaterThan(kept.unknown);
    expect(kept.unknown).toBeGreaterThan(0);
  });
});
