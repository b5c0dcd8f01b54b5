import type { Logger } from '@carillon/runtime';
import { dial, keepConnected, LaneGroup, type Connection, type ConnectionHandler, type Heartbeat } from '@carillon/session';
import type { BackoffOptions, WireLimits } from '@carillon/wire';

import { hubJoinUrl } from './addresses.ts';
import { REPEATER_HEADER, repeaterHeaderValue } from './device-id.ts';
import type { RepeaterCounts } from './metrics.ts';
import { Pump } from './pump.ts';
import { until } from './until.ts';
import type { UpstreamQueue } from './upstream-queue.ts';

export interface UpstreamOptions {
  readonly hubUrl: string;
  readonly ownId: string;
  readonly queue: UpstreamQueue;
  readonly limits: WireLimits;
  readonly heartbeat: Heartbeat;
  readonly handshakeTimeoutMs: number;
  readonly backoff: BackoffOptions;
  readonly counts: RepeaterCounts;
  readonly log: Logger;
  /** A binary frame came down from the hub. */
  readonly frame: (bytes: Buffer) => void;
}

/** A connection that held this long was a good one: its loss is tried again at once, not where the last outage left off. */
const STABLE_MS = 10_000;

/** The connection to the hub, kept for ever; frames go through the queue whether it is up or not, so their order is one. */
export class Upstream {
  readonly #options: UpstreamOptions;
  readonly #pump: Pump;
  readonly #stopping = new AbortController();
  #connection: Connection | undefined = undefined;
  #kept: Promise<void> | undefined = undefined;

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

  start(): void {
    const { hubUrl, ownId, limits, heartbeat, handshakeTimeoutMs, backoff, log } = this.#options;
    const group = new LaneGroup(Number.MAX_SAFE_INTEGER); // its one lane is never given more than it takes at once
    const url = hubJoinUrl(hubUrl);
    const headers = { [REPEATER_HEADER]: repeaterHeaderValue(ownId) };
    this.#kept = keepConnected({
      dial: (handler, signal) => dial(url, { handler, signal, handshakeTimeoutMs, headers, limits, group, laneMaxBytes: limits.frameMaxBytes, ticks: heartbeat.ticks }),
      handler: this.#handler(),
      backoff,
      stableMs: STABLE_MS,
      signal: this.#stopping.signal,
      up: ({ connection }) => this.#up(connection),
      down: ({ reason }, nextTryMs) => log.warn({ hub: url, reason, nextTryMs }, 'the hub is away'),
    });
  }

  /** Queues a frame for the hub. */
  offer(bytes: Buffer, tagEnd: number): void {
    this.#options.queue.offer(bytes, tagEnd);
    this.#pump.kick();
  }

  /** Waits until everything queued has left; gives up when the hub is away or the signal aborts. */
  async flush(signal: AbortSignal): Promise<void> {
    this.#pump.kick();
    await until(() => !this.connected || (this.#options.queue.frames === 0 && this.#pump.isClear), signal);
  }

  /** Leaves the hub; what is still queued is counted as dropped. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#kept;
    const { queue, counts, log } = this.#options;
    const unsent = queue.frames;
    if (unsent === 0) return;
    while (queue.take() !== undefined);
    counts.drop('hub-away', unsent);
    log.warn({ unsent }, 'stopped with frames that the hub did not get');
  }

  #up(connection: Connection): void {
    const { heartbeat, hubUrl, queue, log } = this.#options;
    this.#connection = connection;
    heartbeat.watch(connection);
    log.info({ hub: hubUrl, queuedFrames: queue.frames, oldestAgeMs: queue.oldestAgeMs }, 'joined the hub');
    this.#pump.attach(connection);
  }

  #handler(): ConnectionHandler {
    const { counts, frame, heartbeat } = this.#options;
    return {
      frame: (_connection, bytes) => frame(bytes),
      text: () => counts.refuse('TEXT_UNEXPECTED'),
      closed: (connection, { cause, droppedEvents }) => {
        this.#pump.detach();
        this.#connection = undefined;
        heartbeat.forget(connection);
        if (cause !== undefined) counts.refuse(cause);
        counts.drop('peer-gone', droppedEvents);
      },
    };
  }
}
