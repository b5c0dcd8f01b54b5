import type { Connection, Ticks } from './connection.ts';

/**
 * One timer a process looks after all connections: it pings them, cuts those that do not answer, those whose socket
 * takes no byte, and, when messages that have begun and do not end hold too much together, those that hold the most.
 * Pings are spread over the interval by joining order.
 */
export interface HeartbeatOptions {
  /** Every connection is pinged this often (the original's 30 s). */
  readonly pingIntervalMs: number;
  /** How long a peer may take to answer a ping (the original's 60 s). */
  readonly pongTimeoutMs: number;
  /** How long a peer may take no byte of what is written to it (the original's 10 s). */
  readonly writeTimeoutMs: number;
  /** What unfinished messages of all connections may hold together, looked at once a second. Default: no bound. */
  readonly inboundMaxBytes?: number;
}

const TICK_MS = 1_000;
const ticksOf = (ms: number): number => Math.max(1, Math.ceil(ms / TICK_MS));

interface Watched {
  readonly phase: number;
  stalledTicks: number;
}

export class Heartbeat {
  readonly ticks: Ticks = { now: 0 };
  readonly #watched = new Map<Connection, Watched>();
  readonly #pingTicks: number;
  readonly #pongTicks: number;
  readonly #writeTicks: number;
  readonly #inboundMaxBytes: number;
  #timer: NodeJS.Timeout | undefined = undefined;
  #joined = 0;

  constructor(options: HeartbeatOptions) {
    this.#pingTicks = ticksOf(options.pingIntervalMs);
    this.#pongTicks = ticksOf(options.pongTimeoutMs);
    this.#writeTicks = ticksOf(options.writeTimeoutMs);
    this.#inboundMaxBytes = options.inboundMaxBytes ?? Number.POSITIVE_INFINITY;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.tick(), TICK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  watch(connection: Connection): void {
    this.#watched.set(connection, { phase: this.#joined++ % this.#pingTicks, stalledTicks: 0 });
  }

  forget(connection: Connection): void {
    this.#watched.delete(connection);
  }

  /** One second has passed. */
  tick(): void {
    this.ticks.now += 1;
    let inbound = 0;
    for (const [connection, watched] of this.#watched) {
      this.#look(connection, watched);
      inbound += connection.partialBytes();
    }
    if (inbound > this.#inboundMaxBytes) this.#relieve(inbound);
  }

  /** Cuts the connections with the largest unfinished messages until the rest is within its bound. */
  #relieve(inbound: number): void {
    const largest = [...this.#watched.keys()].map((connection) => ({ connection, bytes: connection.partialBytes() })).sort((left, right) => right.bytes - left.bytes);
    let rest = inbound;
    for (const { connection, bytes } of largest) {
      if (rest <= this.#inboundMaxBytes) return;
      rest -= bytes;
      connection.refuse('MEMORY_PRESSURE');
    }
  }

  #look(connection: Connection, watched: Watched): void {
    watched.stalledTicks = connection.lane.isStalled() ? watched.stalledTicks + 1 : 0;
    if (watched.stalledTicks > this.#writeTicks) {
      connection.lane.cut('PEER_STALLED');
    } else if (connection.pingTick !== undefined && this.ticks.now - connection.pingTick > this.#pongTicks) {
      connection.refuse('PEER_UNRESPONSIVE');
    } else if (this.ticks.now % this.#pingTicks === watched.phase) {
      connection.ping();
    }
  }
}
