import { setTimeout as sleep } from 'node:timers/promises';

import { connect, type Messenger } from '@carillon/messenger';

import type { WrittenEvent } from './chaos-checker.ts';

/** Somebody who writes numbered events to one room and knows what became of each. */
export interface ChaosWriter {
  readonly name: string;
  readonly written: readonly WrittenEvent[];
  /** Events that were refused for good, by code. */
  readonly refused: ReadonlyMap<string, number>;
  readonly isReady: boolean;
  readonly unanswered: number;
  start(): void;
  stop(): void;
  /** Writes until one is taken; that one is to reach everybody. */
  mark(): Promise<WrittenEvent>;
  close(): Promise<void>;
}

export interface MessengerWriterOptions {
  readonly url: string;
  readonly room: string;
  /** Of its events; they never expire when there is none. */
  readonly ttlMs: number | undefined;
}

const EVENTS_PER_SECOND = 60;
const TICK_MS = 20;
const RETRY_MS = 100;
/** A hub that takes nothing for so long will not. */
export const MARK_TIMEOUT_MS = 60_000;
const BACKOFF = { firstMs: 50, capMs: 1_000 };
const PADDING = 'x'.repeat(200);

/** A messenger that does not wait for one answer before the next event. */
export class MessengerWriter implements ChaosWriter {
  readonly name: string;
  readonly written: WrittenEvent[] = [];
  readonly refused = new Map<string, number>();
  unanswered = 0;
  readonly #options: MessengerWriterOptions;
  readonly #messenger: Messenger;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(name: string, options: MessengerWriterOptions) {
    this.name = name;
    this.#options = options;
    this.#messenger = connect(options.url, { backoff: BACKOFF });
  }

  get isReady(): boolean {
    return this.#messenger.state.status === 'open';
  }

  start(): void {
    this.#timer = setInterval(() => {
      for (let due = (EVENTS_PER_SECOND * TICK_MS) / 1_000; due > 0; due -= 1) if (due >= 1 || Math.random() < due) this.#write();
    }, TICK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async mark(): Promise<WrittenEvent> {
    const untilMs = performance.now() + MARK_TIMEOUT_MS;
    while (performance.now() < untilMs && !this.#isClosed) {
      const { event, answered } = this.#write();
      await answered;
      if (event.isAcked) return event;
      await sleep(RETRY_MS);
    }
    throw new Error(`The hub took nothing of ${this.name} for ${MARK_TIMEOUT_MS} ms: ${JSON.stringify([...this.refused])}`);
  }

  close(): Promise<void> {
    this.stop();
    this.#isClosed = true;
    return this.#messenger.close();
  }

  #write(): { readonly event: WrittenEvent; readonly answered: Promise<void> } {
    const { room, ttlMs } = this.#options;
    const event: WrittenEvent = { room, writer: this.name, counter: this.written.length + 1, seq: undefined, isAcked: false };
    this.written.push(event);
    this.unanswered += 1;
    const body = JSON.stringify({ writer: event.writer, counter: event.counter, padding: PADDING });
    const answered = this.#messenger.send(room, body, { id: `${event.writer}-${event.counter}`, ...(ttlMs === undefined ? {} : { ttlMs }) }).then(
      (published) => {
        event.isAcked = true;
        event.seq = 'seq' in published ? published.seq : undefined;
      },
      (error: unknown) => {
        const code = (error as { readonly code?: string }).code ?? 'UNKNOWN';
        this.refused.set(code, (this.refused.get(code) ?? 0) + 1);
      },
    ).then(() => {
      this.unanswered -= 1;
    });
    return { event, answered };
  }
}
