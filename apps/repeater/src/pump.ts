import { compose, type Connection, type OutboundEvent } from '@carillon/session';

import type { QueuedFrame } from './frame-queue.ts';

/**
 * Moves frames from a queue to a connection no faster than its peer reads. A lane cuts a peer that overflows it,
 * which is right for a device and wrong for the hub; so the pump hands over a batch only while the socket takes it at
 * once, and what the peer does not take stays in the queue, where it is bounded and survives the connection.
 */
export interface PumpOptions {
  readonly take: () => QueuedFrame | undefined;
  /** Frames were handed to the connection. */
  readonly handedOver: (frames: number, bytes: number) => void;
}

/** A write is over this by at most one frame: large enough to be cheap, small enough that little is lost with the connection. */
const BATCH_BYTES = 65_536;
/** How much one turn of the event loop may hand over, so that draining a long queue delays nobody for long: masking takes 3 ms a MiB here. */
const TURN_MAX_BYTES = 262_144;
/** How often a peer that does not keep up is looked at: a lane tells nobody when it is clear. */
const BACKLOG_POLL_MS = 5;

export class Pump {
  readonly #options: PumpOptions;
  #connection: Connection | undefined = undefined;
  #immediate: NodeJS.Immediate | undefined = undefined;
  #timer: NodeJS.Timeout | undefined = undefined;

  constructor(options: PumpOptions) {
    this.#options = options;
  }

  /** True when the peer keeps up with what was handed over. */
  get isClear(): boolean {
    return this.#connection?.lane.isClear !== false;
  }

  attach(connection: Connection): void {
    this.#connection = connection;
    this.kick();
  }

  detach(): void {
    this.#connection = undefined;
    clearImmediate(this.#immediate);
    clearTimeout(this.#timer);
    this.#immediate = undefined;
    this.#timer = undefined;
  }

  /** There are frames to take: they go at the end of this turn. */
  kick(): void {
    if (this.#connection === undefined || this.#immediate !== undefined || this.#timer !== undefined) return;
    this.#immediate = setImmediate(() => this.#run());
  }

  #run(): void {
    this.#immediate = undefined;
    this.#timer = undefined;
    const connection = this.#connection;
    if (connection === undefined || !connection.isOpen) return;
    let turnBytes = 0;
    while (connection.lane.isClear && turnBytes < TURN_MAX_BYTES) {
      const batch = this.#batch();
      if (batch.length === 0) return;
      const bytes = batch.reduce((sum, event) => sum + event.bytes.length, 0);
      connection.lane.write(compose(batch, connection.lane.codec), batch.length);
      this.#options.handedOver(batch.length, bytes);
      turnBytes += bytes;
    }
    if (connection.lane.isClear) this.#immediate = setImmediate(() => this.#run());
    else this.#timer = setTimeout(() => this.#run(), BACKLOG_POLL_MS);
  }

  #batch(): OutboundEvent[] {
    const batch: OutboundEvent[] = [];
    let bytes = 0;
    while (bytes < BATCH_BYTES) {
      const frame = this.#options.take();
      if (frame === undefined) break;
      bytes += frame.bytes.length;
      batch.push({ bytes: frame.bytes, roomEnd: frame.tagEnd, tagEnd: frame.tagEnd, fields: frame.fields ?? '', source: undefined, order: batch.length });
    }
    return batch;
  }
}
