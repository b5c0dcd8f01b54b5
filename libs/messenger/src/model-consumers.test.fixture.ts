import { matchesPattern, type ControlFrame } from '@carillon/wire';
import type { ModelHub } from './model-hub.test.fixture.ts';
import type { ModelPeer } from './model-peer.test.fixture.ts';

type ConsumeFrame = Extract<ControlFrame, { readonly op: 'consume' }>;
export type SettleFrame = Extract<ControlFrame, { readonly op: 'ack' | 'nack' | 'defer' | 'discard' }>;
type SettledFrame = Extract<ControlFrame, { readonly op: 'settled' }>;

interface Member {
  readonly peer: ModelPeer;
  readonly request: string;
  readonly window: number;
}

/** One event owed to a consumer. */
export interface ModelOwed {
  readonly seq: number;
  attempts: number;
  /** Who has it; undefined: it is due, or it is over. */
  member: Member | undefined;
  over: 'acked' | 'dead' | undefined;
  /** How often it was settled for good. */
  settledTimes: number;
}

interface Consumer {
  readonly frame: ConsumeFrame;
  readonly members: Member[];
  readonly owed: Map<number, ModelOwed>;
}

/** Durable consumers of the model: events go out when the test says so, and are out until they are settled, timed out, or their member is gone. */
export class ModelConsumers {
  readonly #hub: ModelHub;
  readonly #all = new Map<string, Consumer>();

  constructor(hub: ModelHub) {
    this.#hub = hub;
  }

  owed(name: string): readonly ModelOwed[] {
    return [...(this.#all.get(name)?.owed.values() ?? [])];
  }

  members(name: string): number {
    return this.#all.get(name)?.members.length ?? 0;
  }

  join(peer: ModelPeer, frame: ConsumeFrame): void {
    const { request, name, rooms, maxDeliveries, window = 64 } = frame;
    if (rooms.includes('denied')) return peer.say({ op: 'error', code: 'RECEIVE_DENIED', request });
    const consumer = this.#all.get(name) ?? { frame, members: [], owed: new Map<number, ModelOwed>() };
    this.#all.set(name, consumer);
    if (consumer.frame.maxDeliveries !== maxDeliveries) return peer.say({ op: 'error', code: 'CONSUMER_EXISTS', request });
    consumer.members.push({ peer, request, window });
    peer.say({ op: 'consuming', request });
  }

  /** A member leaves, or all of a connection: what it has is due again. */
  left(peer: ModelPeer, request?: string): void {
    for (const { members, owed } of this.#all.values()) {
      for (const member of members.filter((each) => each.peer === peer && (request ?? each.request) === each.request)) {
        members.splice(members.indexOf(member), 1);
        for (const each of owed.values()) if (each.member === member) each.member = undefined;
      }
    }
  }

  /** Gives out so many of the events that are due, as far as windows allow. */
  deliver(count = Number.MAX_SAFE_INTEGER): void {
    let left = count;
    for (const { frame, members, owed } of this.#all.values()) {
      for (const { room, seq } of this.#hub.log) {
        if (!owed.has(seq) && frame.rooms.some((pattern) => matchesPattern(pattern, room))) owed.set(seq, { seq, attempts: 0, member: undefined, over: undefined, settledTimes: 0 });
      }
      for (const each of owed.values()) {
        if (each.over !== undefined || each.member !== undefined) continue;
        const member = members.toSorted((a, b) => out(owed, a) - out(owed, b)).find((candidate) => out(owed, candidate) < candidate.window);
        const event = this.#hub.log.find(({ seq }) => seq === each.seq);
        if (member === undefined || event === undefined || (left -= 1) < 0) break;
        each.member = member;
        each.attempts += 1;
        member.peer.give(event, member.request, each.attempts);
      }
    }
  }

  /** The oldest deliveries that are out have not been settled in time. */
  timeOut(count = Number.MAX_SAFE_INTEGER): void {
    for (const { owed } of this.#all.values()) for (const each of [...owed.values()].filter(({ member }) => member !== undefined).slice(0, count)) each.member = undefined;
  }

  /** Keeps what a member says, and returns what it is to be told of it. */
  settle(peer: ModelPeer, { op, request, seqs }: SettleFrame): SettledFrame {
    const unknown: number[] = [];
    const consumer = [...this.#all.values()].find(({ members }) => members.some((member) => member.peer === peer && member.request === request));
    for (const seq of seqs) {
      const each = consumer?.owed.get(seq);
      if (consumer === undefined || each?.member?.peer !== peer || each.member.request !== request) {
        unknown.push(seq);
        continue;
      }
      each.member = undefined;
      if (op === 'defer') each.attempts -= 1;
      if (op === 'ack') each.over = 'acked';
      if (op === 'discard' || (op === 'nack' && each.attempts >= (consumer.frame.maxDeliveries ?? 5))) each.over = 'dead';
      if (each.over !== undefined) each.settledTimes += 1;
    }
    return { op: 'settled', request, seqs: seqs.filter((seq) => !unknown.includes(seq)), ...(unknown.length === 0 ? {} : { unknown }) };
  }

  /** Refuses what is open under a name, as a hub does when the consumer was deleted. */
  delete(name: string): void {
    for (const { peer, request } of this.#all.get(name)?.members ?? []) peer.say({ op: 'error', code: 'CONSUMER_UNKNOWN', request });
    this.#all.delete(name);
  }
}

const out = (owed: ReadonlyMap<number, ModelOwed>, member: Member): number => [...owed.values()].filter((each) => each.member === member).length;
