import { setTimeout as sleep } from 'node:timers/promises';

import type { WrittenEvent } from './chaos-checker.ts';
import { MARK_TIMEOUT_MS, type ChaosWriter } from './chaos-writer.ts';

const EVENTS_PER_SECOND = 30;
const TIMEOUT_MS = 5_000;
const RETRY_MS = 100;

/**
 * A device that posts to the repeater, one event after the other. An answer of 200 is the repeater's word that the event will
 * reach the log; whatever else comes, or nothing, leaves it open, and the device goes on with its next event.
 */
export class DeviceWriter implements ChaosWriter {
  readonly name: string;
  readonly room: string;
  readonly isReady = true;
  readonly written: WrittenEvent[] = [];
  readonly refused = new Map<string, number>();
  readonly #url: string;
  #writing: Promise<void> | undefined;
  #isStopped = false;
  #isClosed = false;

  constructor(name: string, url: string, room: string) {
    this.name = name;
    this.room = room;
    this.#url = `${url}/send`;
  }

  get unanswered(): number {
    return this.#writing === undefined ? 0 : 1;
  }

  start(): void {
    this.#isStopped = false;
    this.#writing = (async () => {
      while (!this.#isStopped) {
        await this.#write();
        await sleep(1_000 / EVENTS_PER_SECOND);
      }
      this.#writing = undefined;
    })();
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Writes until one is taken. */
  async mark(): Promise<WrittenEvent> {
    await this.#writing;
    const untilMs = performance.now() + MARK_TIMEOUT_MS;
    while (performance.now() < untilMs && !this.#isClosed) {
      const event = await this.#write();
      if (event.isAcked) return event;
      await sleep(RETRY_MS);
    }
    throw new Error(`The repeater took nothing of ${this.name} for ${MARK_TIMEOUT_MS} ms: ${JSON.stringify([...this.refused])}`);
  }

  async close(): Promise<void> {
    this.stop();
    this.#isClosed = true;
    await this.#writing;
  }

  async #write(): Promise<WrittenEvent> {
    const event: WrittenEvent = { room: this.room, writer: this.name, counter: this.written.length + 1, seq: undefined, isAcked: false };
    this.written.push(event);
    const body = JSON.stringify({ 'affected-room': { roomID: this.room }, writer: event.writer, counter: event.counter });
    try {
      const answer = await fetch(this.#url, { method: 'POST', body, headers: { connection: 'close' }, signal: AbortSignal.timeout(TIMEOUT_MS) });
      event.isAcked = answer.ok;
      if (!answer.ok) this.#count(((await answer.json()) as { readonly code: string }).code);
    } catch (error) {
      if (!event.isAcked) this.#count(`no answer: ${reasonOf(error)}`);
    }
    return event;
  }

  #count(code: string): void {
    this.refused.set(code, (this.refused.get(code) ?? 0) + 1);
  }
}

/** `TimeoutError`, `ECONNREFUSED` … */
function reasonOf(error: unknown): string {
  const { name, cause } = error as Error & { readonly cause?: { readonly code?: string } };
  return cause?.code ?? name;
}
