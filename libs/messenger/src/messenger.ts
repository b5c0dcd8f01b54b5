import type { ErrorCode } from '@carillon/wire';
import type { Consumer, ConsumeOptions } from './consumer.ts';
import type { HistoryPage, HistoryRange } from './histories.ts';
import type { EnterOptions, Presence, PresenceChange, RoomWatch } from './presence.ts';
import type { Published } from './published.ts';
import type { ReceivedEvent } from './received-event.ts';
import type { RoomEvent } from './room-event.ts';
import type { CallbackOptions, SubscribeOptions, Subscription } from './subscription.ts';

/**
 * What a messenger is doing: `connecting` to the hub, `open`, `waiting` for its next try, `draining` (flushing what
 * waits, then closing), or `closed` for good.
 */
export type MessengerStatus = 'connecting' | 'open' | 'waiting' | 'draining' | 'closed';

/** The last thing that went wrong; `at` is in milliseconds since 1970. */
export interface LastError {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly at: number;
}

/** A snapshot; it does not change after it was taken. */
export interface MessengerState {
  readonly status: MessengerStatus;
  /** Where it connects to, without the secrets its URL may carry. */
  readonly hub: string;
  /** Tries that failed or connections that were lost since the last one that was stable; 0 when all is well. */
  readonly attempt: number;
  readonly lastError?: LastError;
  /** When the hub last pinged, in milliseconds since 1970; never set in browsers, which hide pings. */
  readonly lastPingAt?: number;
  /** The patterns that its open subscriptions ask for. */
  readonly rooms: readonly string[];
  /** The protocol agreed on with the hub; unset while there is no connection. */
  readonly protocol?: 1 | 2;
  /** Bytes of events that wait to be handed to a socket or, over v2, for the hub's answer. */
  readonly queuedBytes: number;
}

/** Options of everything that can be aborted: it then fails with ABORTED. */
export interface SignalOptions {
  readonly signal?: AbortSignal;
}

/** Options of `reply`. An abort ends the wait; an event that was handed to a hub may or may not be stored then. */
export interface ReplyOptions extends SignalOptions {
  /**
   * 1 to 64 of `0-9A-Za-z_-`. The log takes an id once, so a publish that is repeated with its id (after a restart, too)
   * is stored once. Default: a new one. Of no effect over v1, as are the next two.
   */
  readonly id?: string;
  /** Milliseconds after which the event is of no more use. Default: it stays of use. */
  readonly ttlMs?: number;
  /** W3C traceparent of the trace that it belongs to. */
  readonly traceparent?: string;
}

/** Options of `send`. */
export interface SendOptions extends ReplyOptions {
  /**
   * Milliseconds that the hub keeps the event before it takes its place in its room (and `ttlMs` begins to count). For durable
   * rooms; over v1 the event is refused with DELAY_INVALID. Default: none.
   */
  readonly delayMs?: number;
}

/** Options of `request`; an abort ends the wait. */
export interface RequestOptions extends Omit<ReplyOptions, 'ttlMs'> {
  /** Without a reply by then it rejects with REPLY_TIMEOUT; also the request's time to live. Default 10,000. */
  readonly timeoutMs?: number;
}

/** Options of `history`. */
export interface HistoryOptions extends SignalOptions, HistoryRange {}

/** Options of `publish`. */
export interface PublishOptions extends SendOptions {
  /** The room to route by; default: the event's `affected-room.roomID`. */
  readonly room?: string;
}

/** Options of `drain`. */
export interface DrainOptions extends SignalOptions {
  /** After so long the messenger closes with what still waits. Default 10,000. */
  readonly drainTimeoutMs?: number;
}

/** A connection to a hub that heals itself. All methods may be called in any state. */
export interface Messenger {
  readonly state: MessengerState;

  /**
   * Resolves when the messenger is open and its subscriptions are in force at the hub: at once, or the next time. (Over v1
   * a hub does not say so: there they were sent.)
   * Codes: MESSENGER_CLOSED (closed or draining), the code of a final refusal by the hub, ABORTED.
   */
  ready(options?: SignalOptions): Promise<void>;

  /**
   * Publishes one event as JSON. Resolves when the hub has it and says how safe (`Published`); what was not answered when
   * a connection broke goes again with its id, before anything newer. Over v1 it resolves with class `sent` when its frame
   * was handed to an open socket, which is no promise that the hub got it. Publishes keep their order; while they wait
   * they take room, up to `outboundMaxBytes`. The hub does not send an event back to the messenger that published it. With
   * `delayMs` it resolves when the hub keeps it; its sequence is 0, as it has no place yet.
   * Codes: ROOM_NAME_INVALID, EVENT_INVALID (not expressible as JSON), TAG_LINE_INVALID (id, ttlMs, delayMs or traceparent),
   * FRAME_TOO_LARGE, DELAY_INVALID, DELAYED_EXCEEDED, PUBLISH_QUEUE_FULL, MESSENGER_CLOSED, the code of a refusal by the hub (of this event, or for good),
   * ABORTED (only while it waits; also after `publishTimeoutMs`).
   */
  publish<T extends RoomEvent = RoomEvent>(event: T, options?: PublishOptions): Promise<Published>;

  /** Publishes a body as it is; otherwise like `publish`. */
  send(room: string, body: Uint8Array | string, options?: SendOptions): Promise<Published>;

  /**
   * Publishes a request and resolves with the first reply to it. Whoever gets the event, live or from a consumer, may reply;
   * replies go to this messenger and nobody else, at most once, on the connection that the request went over: when that is lost
   * after the hub has the request, so is the reply, and the wait ends with REPLY_TIMEOUT. Over v2 only.
   * Codes: REPLY_TIMEOUT, REPLIES_ABSENT (a hub of the first protocol, or one that gives no inbox), REQUEST_IN_USE (a request of
   * the same id waits), REQUESTS_EXCEEDED (4,096 wait), and those of `publish`. A `timeoutMs` that is not positive: RangeError.
   */
  request<T = unknown>(room: string, body: Uint8Array | string, options?: RequestOptions): Promise<ReceivedEvent<T>>;

  /**
   * Replies to a request, an event with `replyTo`. Resolves when the hub has handed it on, with class `live`. It takes permission
   * to send to the request's room. Codes: EVENT_INVALID (the event is no request), REPLY_UNDELIVERABLE (nobody waits any more,
   * or a hub of the first protocol), and those of `publish`.
   */
  reply(event: ReceivedEvent, body: Uint8Array | string, options?: ReplyOptions): Promise<Published>;

  /**
   * Receives the events of rooms (or patterns, see the README), by default from now on, in the order of the hub, each once
   * however many of the patterns match. Without a callback they are kept for the reader of the iterable, up to
   * `subscriptionMaxEvents`. After a reconnect it goes on after the last event of the log that it had; events of live
   * rooms, and over v1 all events, that were published while away are not seen.
   * `T` is what `json()` is said to return; it is not checked.
   * Codes (thrown): PATTERN_INVALID, SUBSCRIPTIONS_EXCEEDED, MESSENGER_CLOSED, ABORTED.
   */
  subscribe<T = unknown>(rooms: string | readonly string[], options?: SubscribeOptions): Subscription<T>;
  subscribe<T = unknown>(rooms: string | readonly string[], onEvent: (event: ReceivedEvent<T>) => void, options?: CallbackOptions): Subscription<T>;

  /**
   * Joins those who share the events of a durable consumer, and makes it if there is none of this name in the workspace. Each
   * event goes to one of them; it is settled, or goes out again. `T` is what `json()` is said to return; it is not checked.
   * Codes (thrown): PATTERN_INVALID, CONSUMER_INVALID (a name that is not 1 to 64 of `0-9A-Za-z_-`, a setting that is no whole
   * number above 0), MESSENGER_CLOSED, ABORTED; what the hub refuses comes from the iterable and `ready`.
   */
  consume<T = unknown>(name: string, rooms: string | readonly string[], options?: ConsumeOptions): Consumer<T>;

  /**
   * Is in a room, as those see who watch it, until it leaves or the connection is gone; enters again after each reconnect.
   * Codes (thrown): ROOM_NAME_INVALID, CONTROL_INVALID (name or data), MESSENGER_CLOSED; what the hub refuses comes from `ready`.
   */
  enter(room: string, options?: EnterOptions): Presence;

  /** Tells who is in a room. Codes (thrown): ROOM_NAME_INVALID, MESSENGER_CLOSED; what the hub refuses comes from `ready`. */
  watch(room: string, listener?: (change: PresenceChange) => void): RoomWatch;

  /**
   * Reads the past of rooms: a page of what the log has. Waits for a connection; asked again after a reconnect.
   * Codes: PATTERN_INVALID, LOG_ABSENT (no log at this hub, or a hub of the first protocol), REQUESTS_EXCEEDED (16 at a
   * time), MESSENGER_CLOSED, the code of a refusal by the hub, ABORTED. A range that is none rejects with RangeError.
   */
  history<T = unknown>(rooms: string | readonly string[], options?: HistoryOptions): Promise<HistoryPage<T>>;

  /**
   * Shows another access key from now on, without a reconnect: resolves when the hub of the live connection has taken it. Without
   * a connection the next one is made with it: resolves when that is open. Over v1 it is for the next connection, and resolves at
   * once. When it rejects, the old key stays.
   * Codes: ACCESS_KEY_INVALID, ACCESS_KEY_EXPIRED, ACCESS_KEY_REVOKED, ACCESS_WORKSPACE_CHANGED and whatever else the hub says;
   * REQUESTS_EXCEEDED (one at a time), MESSENGER_CLOSED.
   */
  refresh(key: string): Promise<void>;

  /** Hears every change of `state.status`. Returns what ends it. */
  on(name: 'state', listener: (state: MessengerState) => void): () => void;
  /**
   * Hears what goes wrong without ending a call: refusals by the hub, lost connections, frames that cannot be read
   * (CarillonErrors all), and what subscription callbacks and listeners throw. Returns what ends it.
   */
  on(name: 'error', listener: (error: Error) => void): () => void;

  /**
   * Takes no more calls, sends what waits (connecting again if need be), over v2 waits for the answers, also to what was said of
   * deliveries, then closes. Consumers go on until then: close them first. Requests that wait for a reply reject with MESSENGER_CLOSED.
   * What is still unsent or unanswered at the deadline rejects with MESSENGER_CLOSED from its own publish. A second call
   * returns the first one's promise; an abort closes at once and rejects with ABORTED.
   */
  drain(options?: DrainOptions): Promise<void>;

  /** Closes now; what waits rejects with MESSENGER_CLOSED. Idempotent: every call returns the same promise. */
  close(): Promise<void>;
}
