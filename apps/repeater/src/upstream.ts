import type { Logger } from '@carillon/runtime';
import { dial, keepConnected, LaneGroup, type Connection, type ConnectionHandler, type Heartbeat } from '@carillon/session';
import { ERRORS, isErrorCode, parseCloseReason, parseControl, type BackoffOptions, type ErrorCode, type WireLimits, type WireVersion } from '@carillon/wire';

import { hubJoinUrl } from './addresses.ts';
import { REPEATER_HEADER, repeaterHeaderValue } from './device-id.ts';
import type { RepeaterCounts } from './metrics.ts';
import { Pump } from './pump.ts';
import { until } from './until.ts';
import type { EventTimes, UpstreamQueue } from './upstream-queue.ts';

export interface UpstreamOptions {
  readonly hubUrl: string;
  readonly ownId: string;
  /** With which this repeater says by what right it joins. */
  readonly headers: Readonly<Record<string, string>>;
  readonly queue: UpstreamQueue;
  readonly limits: WireLimits;
  readonly heartbeat: Heartbeat;
  readonly handshakeTimeoutMs: number;
  readonly backoff: BackoffOptions;
  readonly counts: RepeaterCounts;
  readonly log: Logger;
  /** A binary frame came down from the hub, in the protocol that was agreed on. */
  readonly frame: (bytes: Buffer, version: WireVersion) => void;
}

/** RFC 6455 §7.4.1: a message was too big; a WebSocket library says it without a word of ours. */
const MESSAGE_TOO_BIG = 1009;
/** A connection that held this long was a good one: its loss is tried again at once, not where the last outage left off. */
const STABLE_MS = 10_000;

/**
 * The connection to the hub, kept for ever; frames go through the queue whether it is up or not, so their order is one.
 * The second protocol is offered: a hub that takes it answers every event, and the queue keeps what it has not answered.
 */
export class Upstream {
  readonly #options: UpstreamOptions;
  readonly #pump: Pump;
  readonly #stopping = new AbortController();
  #connection: Connection | undefined = undefined;
  #kept: Promise<void> | undefined = undefined;
  #stopped: Promise<void> | undefined = undefined;
  #refusal: ErrorCode | undefined = undefined;
  /** Codes that were told of since the last connection that held. */
  readonly #told = new Set<ErrorCode>();

  constructor(options: UpstreamOptions) {
    this.#options = options;
    const { counts, queue } = options;
    this.#pump = new Pump({
      take: () => queue.take(),
      handedOver: (frames, bytes) => {
        counts.upstreamFrames += frames;
        counts.upstreamBytes += bytes;
      },
    });
  }

  get connected(): boolean {
    return this.#connection?.isOpen === true;
  }

  /** The connection, for status. */
  get connection(): Connection | undefined {
    return this.#connection;
  }

  /** Why the hub does not take this repeater in, while it does not. */
  get refusal(): ErrorCode | undefined {
    return this.#refusal;
  }

  start(): void {
    const { hubUrl, ownId, limits, heartbeat, handshakeTimeoutMs } = this.#options;
    const group = new LaneGroup(Number.MAX_SAFE_INTEGER); // its one lane is never given more than it takes at once
    const url = hubJoinUrl(hubUrl);
    const headers = { [REPEATER_HEADER]: repeaterHeaderValue(ownId), ...this.#options.headers };
    this.#kept = keepConnected({
      dial: async (handler, signal) => {
        const dialled = await dial(url, { handler, signal, handshakeTimeoutMs, headers, limits, group, offerV2: true, laneMaxBytes: limits.frameMaxBytes, ticks: heartbeat.ticks });
        this.#refusal = dialled.ok ? undefined : accessCode(dialled.code);
        return dialled;
      },
      handler: this.#handler(),
      backoff: this.#patience(),
      stableMs: STABLE_MS,
      signal: this.#stopping.signal,
      up: ({ connection, clock }) => this.#up(connection, clock?.aheadMs),
      down: ({ reason }, nextTryMs) => this.#down(reason, nextTryMs),
    });
  }

  /** Queues a frame for the hub; resolves once it is kept, with why not if it is not. */
  offer(bytes: Buffer, tagEnd: number, times?: EventTimes): Promise<ErrorCode | undefined> {
    return this.#options.queue.offer(bytes, tagEnd, times);
  }

  /** Waits until everything queued has left; gives up when the hub is away or the signal aborts. */
  async flush(signal: AbortSignal): Promise<void> {
    this.#pump.kick();
    await until(() => !this.connected || (this.#options.queue.isFlushed && this.#pump.isClear), signal);
  }

  /** Leaves the hub and ends the queue. */
  stop(): Promise<void> {
    return (this.#stopped ??= this.#stop());
  }

  async #stop(): Promise<void> {
    this.#stopping.abort();
    await this.#kept;
    const { queue, log } = this.#options;
    const { frames: unsent, areLost } = await queue.close();
    if (unsent === 0) return;
    if (areLost) log.warn({ unsent }, 'stopped with frames that the hub did not get');
    else log.info({ unsent }, 'stopped with frames that the hub did not get; they go up after the next start');
  }

  /** A hub that refuses this repeater as such is asked again as seldom as the settings have it. */
  #patience(): BackoffOptions {
    const { firstMs, ...rest } = this.#options.backoff;
    const refusal = (): ErrorCode | undefined => this.#refusal;
    return {
      ...rest,
      get firstMs() {
        return refusal() === undefined ? firstMs : rest.capMs;
      },
    };
  }

  #down(reason: string, nextTryMs: number): void {
    const { counts, hubUrl, log } = this.#options;
    if (this.#refusal === undefined) {
      log.warn({ hub: hubUrl, reason, nextTryMs }, 'the hub is away');
      return;
    }
    counts.hubRefused.add(this.#refusal);
    this.#tell(this.#refusal, { reason, nextTryMs }, 'the hub does not take this repeater in; what comes waits in the queue');
  }

  /** Says at a readable level, once a code, what the hub goes on refusing. */
  #tell(code: ErrorCode, fields: object, text: string): void {
    const { hubUrl, log } = this.#options;
    log[this.#told.has(code) ? 'debug' : 'warn']({ hub: hubUrl, code, ...fields }, text);
    this.#told.add(code);
  }

  #text(connection: Connection, text: string): void {
    const { counts, limits, queue } = this.#options;
    const parsed = parseControl(text, limits);
    if (parsed.ok && parsed.frame.op === 'error') this.#refused(parsed.frame);
    else if (!parsed.ok || connection.version === 1) counts.refuse('TEXT_UNEXPECTED');
    else if (parsed.frame.op === 'published') queue.published(parsed.frame.events.map(([id]) => id));
  }

  #refused({ code, detail, request }: { readonly code: string; readonly detail?: string; readonly request?: string }): void {
    const { counts, queue } = this.#options;
    const isOurs = request !== undefined && queue.refused(request, code);
    if (isErrorCode(code)) {
      counts.hubRefused.add(code);
      this.#tell(code, { detail }, 'the hub refused an event of this repeater');
    } else if (!isOurs) {
      counts.refuse('TEXT_UNEXPECTED');
    }
  }

  #up(connection: Connection, aheadMs: number | undefined): void {
    const { heartbeat, hubUrl, queue, log } = this.#options;
    this.#connection = connection;
    heartbeat.watch(connection);
    log.info({ hub: hubUrl, version: connection.version, queuedFrames: queue.frames, oldestAgeMs: queue.oldestAgeMs }, 'joined the hub');
    this.#pump.attach(connection);
    queue.attach({ acks: connection.version === 2, aheadMs, ready: () => this.#pump.kick() });
  }

  #handler(): ConnectionHandler {
    const { counts, frame, heartbeat, queue } = this.#options;
    return {
      frame: (connection, bytes) => frame(bytes, connection.version),
      text: (connection, text) => this.#text(connection, text),
      closed: (connection, { cause, code, droppedEvents, reason }) => {
        const said = parseCloseReason(reason).code;
        this.#refusal = accessCode(said);
        if (Date.now() - connection.openedAtMs >= STABLE_MS) this.#told.clear();
        this.#pump.detach();
        queue.detach(said ?? (code === MESSAGE_TOO_BIG ? 'FRAME_TOO_LARGE' : undefined));
        this.#connection = undefined;
        heartbeat.forget(connection);
        if (cause !== undefined) counts.refuse(cause);
        // Of the second protocol nothing is lost with a connection: what was not answered goes again.
        if (connection.version === 1) counts.drop('peer-gone', droppedEvents);
      },
    };
  }
}

/** A code that says something of this repeater's key; what else a hub may answer passes by itself. */
function accessCode(code: string | undefined): ErrorCode | undefined {
  return code !== undefined && isErrorCode(code) && ERRORS[code].kind === 'auth' ? code : undefined;
}
