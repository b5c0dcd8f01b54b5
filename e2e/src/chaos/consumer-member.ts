import { setTimeout as sleep } from 'node:timers/promises';

import { connect, type Consumer, type Delivery, type Messenger } from '@carillon/messenger';

import { seededRandom } from '../seeded-random.ts';
import type { GivenDelivery } from './consumer-checker.ts';

export interface ConsumerMemberOptions {
  readonly url: string;
  readonly seed: number;
  readonly consumer: string;
  readonly rooms: readonly string[];
  /** Where all members note what they get, in order. */
  readonly notes: GivenDelivery[];
}

interface Body {
  readonly writer: string;
  readonly counter: number;
}

const BACKOFF = { firstMs: 50, capMs: 1_000 };
const ACK_TIMEOUT_MS = 3_000;
/** Few: some events are to end as dead letters. */
const MAX_DELIVERIES = 3;
const AGAIN_MAX_MS = 500;
/** Of a hundred deliveries a member says nack to so many, and nothing at all to so many. */
const NACK_PERCENT = 10;
const SILENT_PERCENT = 5;
const JOIN_AGAIN_MS = 200;

/** A member of a durable consumer: mostly it acks, sometimes it nacks, sometimes it is never heard of again. */
export class ConsumerMember {
  readonly name: string;
  /** Deliveries that could not be settled, by code. */
  readonly failures = new Map<string, number>();
  /** Why its part in the consumer ended, each time; it joins again. */
  readonly ended: string[] = [];
  readonly #options: ConsumerMemberOptions;
  readonly #messenger: Messenger;
  readonly #random: () => number;
  readonly #reading: Promise<void>;
  #isReady = false;
  #isClosed = false;

  constructor(name: string, options: ConsumerMemberOptions) {
    this.name = name;
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#messenger = connect(options.url, { backoff: BACKOFF });
    this.#reading = this.#read();
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#messenger.close();
    await this.#reading;
  }

  async #read(): Promise<void> {
    const { consumer: name, rooms } = this.#options;
    while (!this.#isClosed) {
      const consumer: Consumer<Body> = this.#messenger.consume<Body>(name, rooms, { since: { seq: 0 }, ackTimeoutMs: ACK_TIMEOUT_MS, maxDeliveries: MAX_DELIVERIES });
      try {
        await consumer.ready();
        this.#isReady = true;
        for await (const delivery of consumer) void this.#treat(delivery);
      } catch (error) {
        if (!this.#isClosed) this.ended.push(`${this.name}: ${codeOf(error)}`);
        await sleep(JOIN_AGAIN_MS);
      }
    }
  }

  /** Never rejects: what cannot be settled comes again. */
  async #treat(delivery: Delivery<Body>): Promise<void> {
    const { notes } = this.#options;
    const { writer, counter } = delivery.event.json();
    const given: GivenDelivery = { room: delivery.event.room, writer, counter, member: this.name, attempt: delivery.attempt, atMs: performance.now(), ackedAtMs: undefined, mayBeAcked: false };
    notes.push(given);
    const dice = this.#random() * 100;
    try {
      if (dice < NACK_PERCENT) await delivery.nack({ delayMs: Math.round(this.#random() * AGAIN_MAX_MS), reason: 'chaos' });
      else if (dice >= NACK_PERCENT + SILENT_PERCENT) {
        given.mayBeAcked = true;
        await delivery.ack();
        given.ackedAtMs = performance.now();
        given.mayBeAcked = false;
      }
    } catch (error) {
      this.#count(error);
    }
  }

  #count(error: unknown): void {
    if (this.#isClosed) return;
    const code = codeOf(error);
    this.failures.set(code, (this.failures.get(code) ?? 0) + 1);
  }
}

function codeOf(error: unknown): string {
  return (error as { readonly code?: string }).code ?? String(error);
}
