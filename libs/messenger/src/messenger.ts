import type { ErrorCode } from '@carillon/wire';
import type { ReceivedEvent } from './received-event.ts';
import type { RoomEvent } from './room-event.ts';
import type { CallbackOptions, Subscription } from './subscription.ts';

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
  /** Bytes of frames that wait to be handed to a socket. */
  readonly queuedBytes: number;
}

/** Options of everything that can be aborted: it then fails with ABORTED. */
export interface SignalOptions {
  readonly signal?: AbortSignal;
}

/** Options of `send`. */
export type SendOptions = SignalOptions;

/** Options of `publish`. */
export interface PublishOptions extends SignalOptions {
  /** The room to route by; default: the event's `affected-room.roomID`. */
  readonly room?: string;
}

/** Options of `drain`. */
export interface DrainOptions extends SignalOptions {
  /** After so long the messenger closes with what still waits unsent. Default 10,000. */
  readonly drainTimeoutMs?: number;
}

/** A connection to a hub that heals itself. All methods may be called in any state. */
export interface Messenger {
  readonly state: MessengerState;

  /**
   * Resolves when the messenger is open and its subscriptions were sent to the hub: at once, or the next time.
   * Codes: MESSENGER_CLOSED (closed or draining), the code of a final refusal by the hub, ABORTED.
   */
  ready(options?: SignalOptions): Promise<void>;

  /**
   * Publishes one event as JSON. Resolves when its frame was handed to an open socket, which is no promise that the hub
   * got it: in this protocol events travel at most once. Publishes keep their order; while the hub is away they wait,
   * up to `outboundMaxBytes`. The hub does not send an event back to the messenger that published it.
   * Codes: ROOM_NAME_INVALID, EVENT_INVALID (not expressible as JSON), FRAME_TOO_LARGE, PUBLISH_QUEUE_FULL,
   * MESSENGER_CLOSED, the code of a final refusal by the hub, ABORTED (only while it waits).
   */
  publish<T extends RoomEvent = RoomEvent>(event: T, options?: PublishOptions): Promise<void>;

  /** Publishes a body as it is; otherwise like `publish`. */
  send(room: string, body: Uint8Array | string, options?: SendOptions): Promise<void>;

  /**
   * Receives the events of rooms (or patterns, see the README) from now on, in the order of the hub, each once however
   * many of the patterns match. Without a callback they are kept for the reader of the iterable, up to
   * `subscriptionMaxEvents`. Rooms are restored after a reconnect; events published while away are not seen.
   * `T` is what `json()` is said to return; it is not checked.
   * Codes (thrown): PATTERN_INVALID, SUBSCRIPTIONS_EXCEEDED, MESSENGER_CLOSED, ABORTED.
   */
  subscribe<T = unknown>(rooms: string | readonly string[], options?: SignalOptions): Subscription<T>;
  subscribe<T = unknown>(rooms: string | readonly string[], onEvent: (event: ReceivedEvent<T>) => void, options?: CallbackOptions): Subscription<T>;

  /** Hears every change of `state.status`. Returns what ends it. */
  on(name: 'state', listener: (state: MessengerState) => void): () => void;
  /**
   * Hears what goes wrong without ending a call: refusals by the hub, lost connections, frames that cannot be read
   * (CarillonErrors all), and what subscription callbacks and listeners throw. Returns what ends it.
   */
  on(name: 'error', listener: (error: Error) => void): () => void;

  /**
   * Takes no more publishes, sends what waits (connecting again if need be), then closes. What is still unsent at the
   * deadline rejects with MESSENGER_CLOSED from its own publish. A second call returns the first one's promise; an abort
   * closes at once and rejects with ABORTED.
   */
  drain(options?: DrainOptions): Promise<void>;

  /** Closes now; what waits rejects with MESSENGER_CLOSED. Idempotent: every call returns the same promise. */
  close(): Promise<void>;
}
