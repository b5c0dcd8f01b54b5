import { eventually } from '@carillon/testing';

import type { ConsumerRecord, GivenDelivery } from './consumer-checker.ts';
import { ConsumerMember } from './consumer-member.ts';

export interface ChaosConsumerOptions {
  /** Of the hubs, one for each member. */
  readonly urls: readonly string[];
  readonly seed: number;
}

const NAME = 'chaos';
const ROOMS = ['CHAOS-1', 'CHAOS-3'];
const LETTERS_PAGE = 1_000;

interface Letter {
  readonly room: string;
  readonly reason: string;
  readonly attempts: number;
  readonly event: { readonly body: { readonly writer: string; readonly counter: number } };
}

/** A durable consumer that members at every hub share, and what a hub says of it over HTTP. */
export class ChaosConsumer {
  readonly members: readonly ConsumerMember[];
  readonly #deliveries: GivenDelivery[] = [];

  constructor({ urls, seed }: ChaosConsumerOptions) {
    this.members = urls.map((url, at) => new ConsumerMember(`m${at}`, { url, seed: seed + at, consumer: NAME, rooms: ROOMS, notes: this.#deliveries }));
  }

  get deliveries(): number {
    return this.#deliveries.length;
  }

  /** Resolves when a hub says that nothing is owed any more. */
  async settled(httpUrl: string, timeoutMs: number): Promise<void> {
    await eventually(async () => {
      const { items } = await get<{ readonly items: readonly { readonly name: string; readonly pending: number; readonly inFlight: number }[] }>(`${httpUrl}/consumers`);
      const { pending, inFlight } = items.find(({ name }) => name === NAME) ?? { pending: undefined, inFlight: undefined };
      if (pending !== 0 || inFlight !== 0) throw new Error(`${pending} pending, ${inFlight} in flight`);
    }, { timeoutMs, intervalMs: 100, what: 'the consumer to be settled' });
  }

  /** What its members got, and what a hub has as its dead letters. */
  async record(httpUrl: string): Promise<ConsumerRecord> {
    const dead: ConsumerRecord['dead'][number][] = [];
    for (let after: string | null = ''; after !== null; ) {
      const page: { readonly items: readonly Letter[]; readonly next: string | null } = await get(`${httpUrl}/dead-letters?consumer=${NAME}&limit=${LETTERS_PAGE}${after === '' ? '' : `&after=${after}`}`);
      for (const { room, reason, attempts, event: { body: { writer, counter } } } of page.items) dead.push({ room, writer, counter, reason: `${reason} (${attempts})` });
      after = page.next;
    }
    return { name: `consumer ${NAME}`, wants: (room) => ROOMS.includes(room), deliveries: this.#deliveries, dead, ended: this.members.flatMap(({ ended }) => ended) };
  }

  async close(): Promise<void> {
    await Promise.all(this.members.map((member) => member.close()));
  }
}

async function get<Answer>(url: string): Promise<Answer> {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as Answer;
}
