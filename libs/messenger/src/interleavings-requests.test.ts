import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { turn } from './fakes.test.fixture.ts';
import { ModelHub } from './model-hub.test.fixture.ts';
import { joinedRig, type ModelRig } from './model-rig.test.fixture.ts';
import type { Presence, RoomWatch } from './presence.ts';

/** What may happen next, by how often. `which` says to which of the two messengers, `count` how much of it. */
const WEIGHTS = { ask: 3, up: 6, down: 7, answer: 4, 'catch-up': 3, cut: 1, enter: 2, leave: 1, time: 1, turn: 3 } as const;

type Step = keyof typeof WEIGHTS;

const STEPS = Object.entries(WEIGHTS).flatMap(([step, weight]) => Array.from({ length: weight }, () => step as Step));
const steps = fc.array(fc.record({ step: fc.constantFrom(...STEPS), which: fc.nat({ max: 1 }), count: fc.integer({ min: 1, max: 5 }) }), { minLength: 1, maxLength: 120, size: 'max' });

const TIMEOUT_MS = 30_000;

interface Asked {
  readonly id: string;
  fate: string;
}

/** Two messengers that ask each other, reply to each other, and see each other come and go. */
class Peer {
  readonly rig: ModelRig;
  readonly name: string;
  readonly asked: Asked[] = [];
  readonly watch: RoomWatch;
  /** Refusals of replies. */
  readonly refusals: (string | undefined)[] = [];
  #entered: Presence[] = [];
  #count = 0;

  constructor(rig: ModelRig, name: string) {
    this.rig = rig;
    this.name = name;
    this.watch = rig.messenger.watch('A');
    rig.messenger.subscribe('A', (event) => {
      if (event.replyTo === undefined) return;
      rig.messenger.reply(event, `to ${event.id}`).catch((error: { readonly code?: string }) => this.refusals.push(error.code));
    }, { since: { seq: 0 } });
  }

  ask(): void {
    const asked = { id: `${this.name}-${this.asked.length}`, fate: 'waits' };
    this.asked.push(asked);
    this.rig.messenger.request('A', 'ask', { id: asked.id, timeoutMs: TIMEOUT_MS }).then((reply) => {
      expect(asked.fate).toBe('waits');
      asked.fate = reply.text();
    }, (error: { readonly code?: string }) => (asked.fate = error.code ?? 'no code'));
  }

  enter(): void {
    this.#entered.push(this.rig.messenger.enter('A', { name: `${this.name}-${(this.#count += 1)}` }));
  }

  leave(): void {
    void this.#entered.shift()?.leave();
  }

  get names(): string[] {
    return this.#entered.map((_, index) => `${this.name}-${this.#count - this.#entered.length + index + 1}`);
  }

  cut(): void {
    this.rig.cut();
    this.rig.clock.advance(4_000);
    this.rig.join();
  }

  /** Lets everything come to its end. */
  async settle(): Promise<void> {
    this.rig.mend();
    await this.rig.settle();
    this.rig.peer.catchUp();
    this.rig.peer.answer();
    await this.rig.settle();
  }

  async close(): Promise<void> {
    const end = this.rig.messenger.close();
    this.rig.transport.socket.gone({ closeCode: 1000 });
    await end;
  }
}

async function take(peer: Peer, step: Step, count: number): Promise<void> {
  const { rig } = peer;
  switch (step) {
    case 'ask':
      return peer.ask();
    case 'up':
      return rig.up(count);
    case 'down':
      return rig.down(count);
    case 'answer':
      return rig.peer.answer(count);
    case 'catch-up':
      return rig.peer.catchUp(count);
    case 'cut':
      return peer.cut();
    case 'enter':
      return peer.enter();
    case 'leave':
      return peer.leave();
    case 'time':
      rig.transport.socket.ping();
      rig.clock.advance(1_000);
      return rig.mend();
    default:
      step satisfies 'turn';
      return turn();
  }
}

describe('requests and presence, whatever is lost or late', () => {
  it('every request gets its own reply or its time runs out, is stored once, and everybody sees who is there', async () => {
    const fates = { replied: 0, late: 0 };
    await fc.assert(fc.asyncProperty(steps, async (script) => {
      const hub = new ModelHub({ publishesMax: 3 });
      const peers = [new Peer(await joinedRig({}, hub, 0.25), 'a'), new Peer(await joinedRig({}, hub), 'b')] as const;
      for (const { step, which, count } of script) await take(peers[which === 0 ? 0 : 1], step, count);
      for (let round = 0; round < 40; round += 1) for (const peer of peers) await peer.settle();
      for (const { rig } of peers) rig.clock.advance(TIMEOUT_MS);
      await turn();
      const asked = peers.flatMap((peer) => peer.asked);
      for (const { id, fate } of asked) {
        expect([`to ${id}`, 'REPLY_TIMEOUT']).toContain(fate);
        expect(hub.log.filter((event) => event.id === id)).toHaveLength(1);
        fates[fate === 'REPLY_TIMEOUT' ? 'late' : 'replied'] += 1;
      }
      expect(peers.flatMap(({ refusals }) => refusals).filter((code) => code !== 'REPLY_UNDELIVERABLE')).toEqual([]);
      for (const { rig } of peers) rig.mend();
      for (let round = 0; round < 3; round += 1) for (const peer of peers) await peer.settle();
      const names = peers.flatMap((peer) => peer.names).toSorted();
      expect(hub.presence.names('A').toSorted()).toEqual(names);
      for (const { watch } of peers) expect([...watch.members.keys()].toSorted()).toEqual(names);
      for (const { rig } of peers) expect(rig.errors.filter(({ code }) => code !== 'LINK_UNREACHABLE' && code !== 'PEER_UNRESPONSIVE')).toEqual([]);
      for (const peer of peers) await peer.close();
    }), { numRuns: 100 });
    expect(fates.replied).toBeGreaterThan(0);
    expect(fates.late).toBeGreaterThan(0);
  });
});
