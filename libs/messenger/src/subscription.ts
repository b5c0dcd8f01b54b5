import { CarillonError, isExactPattern, matchesPattern, type Since } from '@carillon/wire';
import { abortedError } from './abort.ts';
import { Cursor } from './cursor.ts';
import type { EventGap } from './gap.ts';
import type { SignalOptions } from './messenger.ts';
import type { ReceivedEvent } from './received-event.ts';

/**
 * Interest in rooms. Read it with `for await`; leaving the loop closes it, several loops share the events between them.
 * It ends when it is closed or its messenger is, with the error that ended the messenger if there was one; with the hub's
 * code when the hub refuses it; with ABORTED when its signal aborted. When it is read too slowly, events of the log wait
 * there and come later; an event that no log keeps ends it with SUBSCRIPTION_OVERFLOW (what was kept can be read first). A subscription with a callback has nothing to iterate over.
 */
export interface Subscription<T = unknown> extends AsyncIterable<ReceivedEvent<T>> {
  /** The rooms and patterns as they were asked for, without repeats. */
  readonly rooms: readonly string[];
  readonly closed: boolean;
  /** Of the log that its events' `seq` counts in; undefined over v1, and until the hub has answered. */
  readonly epoch: string | undefined;
  /** Ends it; idempotent. The hub is told when no other subscription asks for the same rooms. */
  close(): void;
}

/** Options of a subscription. */
export interface SubscribeOptions extends SignalOptions {
  /**
   * Where it begins: after a sequence (of a log's epoch), at a time (ms since 1970), or with the last n events. Default: now.
   * A hub without a log, or of the first protocol, begins now whatever is asked, and LOG_ABSENT is told to `error` listeners.
   */
  readonly since?: Since;
  /** Also what this messenger publishes itself. Default false. Of no effect over v1, where that never comes. */
  readonly echo?: boolean;
  /** Hears of events that it does not get; default: EVENTS_MISSED to the messenger's `error` listeners. */
  readonly onGap?: (gap: EventGap) => void;
}

/** Options of a subscription with a callback. */
export interface CallbackOptions extends SubscribeOptions {
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
  readonly request: SubscribeOptions;
  readonly onGap: (gap: EventGap) => void;
  /** It is to be asked for anew, from where its cursor is. */
  readonly onRestart: (subscription: RoomSubscription) => void;
  /** Called once, when it closes. */
  readonly onClosed: (subscription: RoomSubscription) => void;
}

/** How an event came: for this subscription alone (with `re`) or for all; and whether this messenger published it. */
export interface EventOffer {
  readonly isAnswer: boolean;
  readonly isOwn: boolean;
}

/** A subscription as the router sees it: what it wants, and where its events go. */
export class RoomSubscription implements Subscription {
  readonly rooms: readonly string[];
  readonly exactRooms: readonly string[];
  readonly patterns: readonly string[];
  readonly cursor: Cursor;
  readonly isEcho: boolean;
  readonly #options: RoomSubscriptionOptions;
  readonly #signal: AbortSignal | undefined;
  #closed = false;

  constructor(rooms: readonly string[], options: RoomSubscriptionOptions) {
    this.rooms = rooms;
    this.exactRooms = rooms.filter((room) => isExactPattern(room));
    this.patterns = rooms.filter((room) => !isExactPattern(room));
    this.cursor = new Cursor(options.request.since);
    this.isEcho = options.request.echo ?? false;
    this.#options = options;
    this.#signal = options.request.signal;
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  get closed(): boolean {
    return this.#closed;
  }

  get epoch(): string | undefined {
    return this.cursor.epoch;
  }

  /** For details of errors. */
  get shownRooms(): string {
    return this.rooms.slice(0, 3).join(', ');
  }

  /** Whether one of its wildcards selects a room. */
  matches(room: string): boolean {
    return this.patterns.some((pattern) => matchesPattern(pattern, room));
  }

  /** Takes an event that its rooms select, if it is new to it. */
  receive(event: ReceivedEvent, { isAnswer, isOwn }: EventOffer): void {
    const { seq, room } = event;
    if (this.#closed || (seq !== undefined && !this.cursor.wants(seq, { room, isAnswer }))) return;
    if ((isOwn && !this.isEcho) || this.#options.sink.push(event)) {
      if (seq !== undefined) this.cursor.took(seq, { room, isAnswer });
    } else if (seq === undefined) {
      this.end(new CarillonError('SUBSCRIPTION_OVERFLOW', this.shownRooms));
    } else {
      this.cursor.pause();
      this.#options.onRestart(this);
    }
  }

  /** Its reader has room again. */
  resume(): void {
    if (this.#closed) return;
    this.cursor.resume();
    this.#options.onRestart(this);
  }

  /** The hub says that these do not come. */
  miss(gap: EventGap): void {
    const news = this.cursor.gap(gap);
    if (!this.#closed && news !== undefined) this.#options.onGap(news);
  }

  close(): void {
    this.end();
  }

  /** Closes it for a reason that its reader is to hear. */
  end(error?: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#options.sink.end(error);
    this.#options.onClosed(this);
  }

  /** `never`: what `json()` returns is whatever the caller of `subscribe` says. */
  [Symbol.asyncIterator](): AsyncIterator<ReceivedEvent<never>, undefined> {
    return {
      next: () => this.#options.sink.next() as Promise<IteratorResult<ReceivedEvent<never>, undefined>>,
      return: () => {
        this.close();
        this.#options.sink.clear();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  readonly #onAbort = (): void => {
    if (this.#signal !== undefined) this.end(abortedError(this.#signal));
  };
}
