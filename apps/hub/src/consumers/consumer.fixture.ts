import { eventually } from '@carillon/testing';
import type { ControlFrame } from '@carillon/wire';
import { expect } from 'vitest';

import { startTestHub, type TestHub } from '../hub.fixture.ts';
import { openSession, type TestSession } from '../sessions/session.fixture.ts';

type Frame<Op extends ControlFrame['op']> = Extract<ControlFrame, { readonly op: Op }>;
type Asked = Omit<Frame<'consume'>, 'op' | 'request' | 'name' | 'rooms'> & { readonly rooms?: readonly string[]; readonly request?: string };

interface Settling {
  readonly op: 'ack' | 'nack' | 'defer' | 'discard';
  readonly seqs: readonly number[];
  readonly delayMs?: number;
  readonly reason?: string;
}

export interface TestDelivery {
  readonly seq: number;
  readonly id: string;
  readonly room: string;
  readonly body: string;
  readonly attempt: number;
}

/** A member of a consumer, by hand. */
export interface TestMember extends TestSession {
  readonly request: string;
  /** What was delivered to it so far, in the order it came. */
  deliveries(): TestDelivery[];
  /** Waits until there were so many deliveries; gives the last of them. */
  delivered(count: number): Promise<TestDelivery>;
  /** Settles, and waits for the answer. */
  settled(frame: Settling): Promise<Frame<'settled'>>;
}

/** Joins a consumer of room `ITB-1101`, by default, and waits until it is a member. */
export async function joinConsumer(hub: { readonly url: string }, name: string, { rooms = ['ITB-1101'], request = 'c', ...more }: Asked = {}): Promise<TestMember> {
  return consumeOn(await openSession(hub), name, { rooms, request, ...more });
}

/** The same on a session that is there. */
export async function consumeOn(session: TestSession, name: string, { rooms = ['ITB-1101'], request = 'c', ...more }: Asked = {}): Promise<TestMember> {
  session.say({ op: 'consume', request, name, rooms, ...more });
  await session.got('consuming', (frame) => frame.request === request);
  const deliveries = (): TestDelivery[] => session.heard.flatMap((each) => {
    if (each.kind !== 'event' || each.fields.re !== request) return [];
    const { room, body, fields: { id = '', seq = 0, try: attempt = 0 } } = each;
    return [{ id, seq, room, body, attempt }];
  });
  return {
    ...session, request, deliveries,
    delivered: (count) => eventually(() => deliveries()[count - 1] ?? false, { what: `${count} deliveries`, intervalMs: 2 }),
    settled: async ({ op, seqs, ...rest }) => {
      const before = session.all('settled').length;
      session.say({ ...rest, op, request, seqs } as ControlFrame);
      return eventually(() => session.all('settled')[before] ?? false, { what: `an answer to ${op}`, intervalMs: 2 });
    },
  };
}

/** The room of whoever names no other. */
export const ROOM = 'ITB-1101';

export const bodiesOf = (member: TestMember): string[] => member.deliveries().map(({ body }) => body);
/** Bodies with their attempts. */
export const triesOf = (member: TestMember): (readonly [string, number])[] => member.deliveries().map(({ body, attempt }) => [body, attempt]);

/** A hub that keeps a log, and somebody who stores events there, one after the other. */
export async function startConsumerHub(): Promise<{ readonly hub: TestHub; readonly store: (...bodies: readonly string[]) => Promise<number[]> }> {
  const hub = await startTestHub({ log: true });
  const writer = await openSession(hub, { session: 'writer' });
  return {
    hub,
    store: async (...bodies) => {
      const seqs: number[] = [];
      for (const body of bodies) seqs.push(await writer.store(ROOM, body));
      return seqs;
    },
  };
}

/** Resolves when nothing is owed to a consumer any more. */
export async function spent(hub: TestHub, name: string): Promise<void> {
  await eventually(async () => {
    const { items } = JSON.parse((await hub.call('GET', '/consumers')).text) as { readonly items: readonly { readonly name: string; readonly pending: number; readonly inFlight: number }[] };
    expect(items.find((item) => item.name === name)).toMatchObject({ pending: 0, inFlight: 0 });
  });
}
