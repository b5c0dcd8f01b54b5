import type { Logger } from '@carillon/runtime';
import { dial, type Connection, type ConnectionClose, type ConnectionHandler, type Heartbeat, type Lane, type LaneGroup, type OutboundEvent } from '@carillon/session';
import { backoffMs, type BackoffOptions, type ErrorCode, type WireLimits } from '@carillon/wire';

import { targetJoinUrl } from './addresses.ts';
import { REPEATER_HEADER, repeaterHeaderValue } from './device-id.ts';
import { readErrorFrame } from './error-frame.ts';
import { FrameQueue } from './frame-queue.ts';
import type { RepeaterCounts } from './metrics.ts';
import { Pump } from './pump.ts';
import { until } from './until.ts';

/**
 * A device or another repeater that is dialled when a frame is for it:
 *
 *   state   | frame offered       | dial ok | dial failed | idle    | closed
 *   resting | dialling or waiting |         |             |         |
 *   waiting | (queued)            |         |             |         |          backoff over → dialling
 *   dialling| (queued)            | open    | resting *   |         |
 *   open    | (pumped)            |         |             | closing | resting *
 *   closing | (queued)            |         |             |         | resting *
 *
 *   * and on at once to waiting or dialling while frames are queued.
 */
type State = 'resting' | 'waiting' | 'dialling' | 'open' | 'closing';

export interface SocketTargetOptions {
  readonly ownId: string;
  readonly limits: WireLimits;
  readonly group: LaneGroup;
  readonly heartbeat: Heartbeat;
  readonly handshakeTimeoutMs: number;
  readonly idleMs: number;
  readonly queueMaxBytes: number;
  readonly backoff: BackoffOptions;
  readonly now: () => number;
  readonly counts: RepeaterCounts;
  readonly log: Logger;
  /** A frame came back down the connection. */
  readonly frame: (bytes: Buffer, lane: Lane) => void;
}

/** RFC 6455's "going away", as the original closes a connection it no longer needs. */
const GOING_AWAY = 1001;
/** A peer that closed sooner than this is not redialled as if nothing had been. */
const STABLE_MS = 2_000;
/** Longer than a peer is given to answer a close. */
const STOP_TIMEOUT_MS = 3_000;

export class SocketTarget {
  readonly #address: string;
  readonly #options: SocketTargetOptions;
  readonly #queue: FrameQueue;
  readonly #pump: Pump;
  readonly #stopping = new AbortController();
  #state: State = 'resting';
  #connection: Connection | undefined = undefined;
  #room = '';
  #lastRefusal: ErrorCode | undefined = undefined;
  #attempt = 0;
  #notBeforeMs = 0;
  #openedAtMs = 0;
  #idle: NodeJS.Timeout | undefined = undefined;
  #backoff: NodeJS.Timeout | undefined = undefined;

  constructor(address: string, options: SocketTargetOptions) {
    this.#address = address;
    this.#options = options;
    this.#queue = new FrameQueue({ maxBytes: options.queueMaxBytes, now: options.now });
    this.#pump = new Pump({
      take: () => this.#queue.take(),
      handedOver: (frames) => {
        options.counts.delivered.add('socket', frames);
        this.#idle?.refresh();
      },
    });
  }

  /** The connection, for status. */
  get connection(): Connection | undefined {
    return this.#connection;
  }

  get queuedBytes(): number {
    return this.#queue.heldBytes;
  }

  deliver(room: string, { bytes, tagEnd }: OutboundEvent): void {
    this.#room = room;
    this.#options.counts.fail('socket', 'target-overflow', this.#queue.offer(bytes, tagEnd));
    this.#goOn();
  }

  /** Waits for what an open connection still takes; a target that is away gets nothing more. */
  async drain(signal: AbortSignal): Promise<void> {
    await until(() => this.#state === 'resting' || this.#state === 'waiting' || (this.#queue.frames === 0 && this.#pump.isClear), signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#backoff);
    if (this.#state === 'waiting') this.#state = 'resting';
    let waiting = 0;
    while (this.#queue.take() !== undefined) waiting += 1;
    this.#options.counts.fail('socket', 'target-failed', waiting);
    this.#connection?.close(GOING_AWAY, '');
    await until(() => this.#state === 'resting', AbortSignal.timeout(STOP_TIMEOUT_MS));
  }

  /** Does what the state and the queue ask for next. */
  #goOn(): void {
    if (this.#state === 'open') this.#pump.kick();
    if (this.#state !== 'resting' || this.#queue.frames === 0 || this.#stopping.signal.aborted) return;
    const waitMs = this.#notBeforeMs - this.#options.now();
    if (waitMs > 0) {
      this.#state = 'waiting';
      this.#backoff = setTimeout(() => void this.#dial(), waitMs);
    } else {
      void this.#dial();
    }
  }

  async #dial(): Promise<void> {
    const { ownId, limits, group, heartbeat, handshakeTimeoutMs, log } = this.#options;
    this.#state = 'dialling';
    const dialled = await dial(targetJoinUrl(this.#address, this.#room, ownId), {
      handler: this.#handler(), limits, group, laneMaxBytes: limits.frameMaxBytes, ticks: heartbeat.ticks,
      handshakeTimeoutMs, signal: this.#stopping.signal, headers: { [REPEATER_HEADER]: repeaterHeaderValue(ownId) },
    });
    if (dialled.ok) {
      this.#opened(dialled.connection);
      return;
    }
    if (!this.#stopping.signal.aborted) {
      log[this.#attempt === 0 ? 'warn' : 'debug']({ target: this.#address, reason: dialled.reason, queuedFrames: this.#queue.frames }, 'a target could not be joined');
    }
    this.#rest('failed');
  }

  #opened(connection: Connection): void {
    this.#state = 'open';
    this.#openedAtMs = this.#options.now();
    this.#connection = connection;
    this.#options.heartbeat.watch(connection);
    this.#idle = setTimeout(() => this.#closeIfIdle(connection), this.#options.idleMs);
    this.#pump.attach(connection);
    if (this.#stopping.signal.aborted) connection.close(GOING_AWAY, '');
  }

  #closeIfIdle(connection: Connection): void {
    if (this.#queue.frames > 0) {
      this.#idle?.refresh();
      return;
    }
    this.#state = 'closing';
    connection.close(GOING_AWAY, '');
  }

  #handler(): ConnectionHandler {
    const { frame } = this.#options;
    return {
      frame: (connection, bytes) => {
        this.#idle?.refresh();
        frame(bytes, connection.lane);
      },
      text: (_connection, text) => {
        this.#idle?.refresh();
        this.#refused(text);
      },
      closed: (connection, close) => this.#closed(connection, close),
    };
  }

  /** A repeater of ours refuses an event by an error frame: it was handed over, and is lost. */
  #refused(text: string): void {
    const { counts, limits, log } = this.#options;
    const error = readErrorFrame(text, limits);
    if (error === undefined) {
      counts.refuse('TEXT_UNEXPECTED');
      return;
    }
    counts.fail('socket', 'target-failed', 1);
    log[error.code === this.#lastRefusal ? 'debug' : 'warn']({ target: this.#address, ...error }, 'a target refused an event');
    this.#lastRefusal = error.code;
  }

  #closed(connection: Connection, { cause, droppedEvents }: ConnectionClose): void {
    const { counts, heartbeat, now } = this.#options;
    clearTimeout(this.#idle);
    this.#idle = undefined;
    this.#pump.detach();
    heartbeat.forget(connection);
    this.#connection = undefined;
    if (cause !== undefined) counts.refuse(cause);
    counts.fail('socket', 'peer-gone', droppedEvents);
    if (now() - this.#openedAtMs >= STABLE_MS) this.#attempt = 0;
    this.#rest(this.#state === 'closing' ? 'done' : 'failed');
  }

  #rest(how: 'done' | 'failed'): void {
    const { backoff, now } = this.#options;
    this.#state = 'resting';
    this.#notBeforeMs = how === 'done' ? 0 : now() + backoffMs(this.#attempt, backoff);
    this.#attempt = how === 'done' ? 0 : this.#attempt + 1;
    this.#goOn();
  }
}
