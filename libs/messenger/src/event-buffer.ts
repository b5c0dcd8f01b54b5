import { Readers } from './readers.ts';
import type { ReceivedEvent } from './received-event.ts';

export interface EventBufferLimits {
  readonly maxEvents: number;
  readonly maxBytes: number;
  /** It had no room for an event, and is half empty again. */
  readonly onRoom?: () => void;
}

/** How many events may be read before the array that holds them is cut. */
const COMPACT_AFTER = 1_024;

/**
 * What a subscription keeps for the reader of its iterable. It ends once: what it holds can still be read, then comes
 * the error it ended with (once), then nothing.
 */
export class EventBuffer {
  readonly #limits: EventBufferLimits;
  readonly #readers = new Readers<ReceivedEvent>();
  #events: (ReceivedEvent | undefined)[] = [];
  #head = 0;
  #bytes = 0;
  #wasFull = false;

  constructor(limits: EventBufferLimits) {
    this.#limits = limits;
  }

  /** Takes an event, or says that there is no room for it. */
  push(event: ReceivedEvent): boolean {
    if (this.#readers.give(event)) return true;
    const isFull = this.#events.length - this.#head >= this.#limits.maxEvents || this.#bytes + event.body.length > this.#limits.maxBytes;
    if (isFull) {
      this.#wasFull = true;
      return false;
    }
    this.#events.push(event);
    this.#bytes += event.body.length;
    return true;
  }

  /** Nothing comes any more; the first end counts. */
  end(error?: Error): void {
    this.#readers.end(error);
  }

  /** Throws away what is held. */
  clear(): void {
    this.#events = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#readers.forgive();
  }

  next(): Promise<IteratorResult<ReceivedEvent, undefined>> {
    const event = this.#take();
    if (event === undefined) return this.#readers.next();
    this.#tellRoom();
    return Promise.resolve({ done: false, value: event });
  }

  #tellRoom(): void {
    const { maxEvents, maxBytes, onRoom } = this.#limits;
    if (!this.#wasFull || this.#readers.isEnded || (this.#events.length - this.#head) * 2 > maxEvents || this.#bytes * 2 > maxBytes) return;
    this.#wasFull = false;
    onRoom?.();
  }

  #take(): ReceivedEvent | undefined {
    const event = this.#events[this.#head];
    if (event === undefined) return undefined;
    this.#events[this.#head] = undefined;
    this.#head += 1;
    this.#bytes -= event.body.length;
    const compact = this.#head >= COMPACT_AFTER && this.#head * 2 >= this.#events.length;
    if (compact || this.#head === this.#events.length) {
      this.#events.splice(0, this.#head);
      this.#head = 0;
    }
    return event;
  }
}
