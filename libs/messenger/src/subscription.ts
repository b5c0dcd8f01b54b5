import { CarillonError, isExactPattern, matchesPattern } from '@carillon/wire';
import { abortedError } from './abort.ts';
import type { SignalOptions } from './messenger.ts';
import type { ReceivedEvent } from './received-event.ts';

/**
 * Interest in rooms. Read it with `for await`; leaving the loop closes it, several loops share the events between them.
 * It ends when it is closed or its messenger is, with the error that ended the messenger if there was one; with
 * SUBSCRIPTION_OVERFLOW when it was read too slowly (what was kept can be read first, what came after was not taken);
 * with ABORTED when its signal aborted. A subscription with a callback has nothing to iterate over.
 */
export interface Subscription<T = unknown> extends AsyncIterable<ReceivedEvent<T>> {
  /** The rooms and patterns as they were asked for, without repeats. */
  readonly rooms: readonly string[];
  readonly closed: boolean;
  /** Ends it; idempotent. The hub is told when no other subscription asks for the same rooms. */
  close(): void;
}

/** Options of a subscription with a callback. */
export interface CallbackOptions extends SignalOptions {
  /** Gets what the callback throws; default: the messenger's `error` listeners. */
  readonly onError?: (error: Error) => void;
}

/** Takes the events of one subscription. */
export interface EventSink {
  /** False when there is no room for it. */
  push(event: ReceivedEvent): boolean;
  end(error?: Error): void;
  clear(): void;
  next(): Promise<IteratorResult<ReceivedEvent, undefined>>;
}

export interface RoomSubscriptionOptions {
  readonly sink: EventSink;
  readonly signal: AbortSignal | undefined;
  /** Called once, when it closes. */
  readonly onClosed: (subscription: RoomSubscription) => void;
}

/** A subscription as the router sees it: what it wants, and where its events go. */
export class RoomSubscription implements Subscription {
  readonly rooms: readonly string[];
  readonly exactRooms: readonly string[];
  readonly patterns: readonly string[];
  readonly #sink: EventSink;
  readonly #signal: AbortSignal | undefined;
  readonly #onClosed: RoomSubscriptionOptions['onClosed'];
  #closed = false;

  constructor(rooms: readonly string[], options: RoomSubscriptionOptions) {
    this.rooms = rooms;
    this.exactRooms = rooms.filter((room) => isExactPattern(room));
    this.patterns = rooms.filter((room) => !isExactPattern(room));
    this.#sink = options.sink;
    this.#signal = options.signal;
    this.#onClosed = options.onClosed;
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Whether one of its wildcards selects a room. */
  matches(room: string): boolean {
    return this.patterns.some((pattern) => matchesPattern(pattern, room));
  }

  receive(event: ReceivedEvent): void {
    if (this.#closed) return;
    if (!this.#sink.push(event)) this.end(new CarillonError('SUBSCRIPTION_OVERFLOW', this.rooms.slice(0, 3).join(', ')));
  }

  close(): void {
    this.end();
  }

  /** Closes it for a reason that its reader is to hear. */
  end(error?: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#sink.end(error);
    this.#onClosed(this);
  }

  /** `never`: what `json()` returns is whatever the caller of `subscribe` says. */
  [Symbol.asyncIterator](): AsyncIterator<ReceivedEvent<never>, undefined> {
    return {
      next: () => this.#sink.next() as Promise<IteratorResult<ReceivedEvent<never>, undefined>>,
      return: () => {
        this.close();
        this.#sink.clear();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  readonly #onAbort = (): void => {
    if (this.#signal !== undefined) this.end(abortedError(this.#signal));
  };
}
