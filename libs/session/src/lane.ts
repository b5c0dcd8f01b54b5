import type { Codec } from './codec.ts';

/**
 * A lane is the ordered, byte-bounded outbound queue of one peer. Chunks go straight to the socket while it takes
 * them; what it does not take waits here, so that a lane that overflows can be emptied at once and the close frame
 * stands right behind what the kernel has already got:
 *
 *   write ──▶ socket (at most SINK_MAX_BYTES inside Node) ──▶ kernel
 *        └──▶ queue (at most maxBytes) ── on drain ──▶ socket
 *
 * At the bound the lane is cut, never trimmed: a live peer that misses events is told so by its close code.
 */

/** The part of a stream that a lane uses: a socket, or the response of a live tail. */
export interface LaneSink {
  readonly writableLength: number;
  readonly destroyed: boolean;
  write(chunk: Buffer): boolean;
  cork(): void;
  uncork(): void;
  once(event: 'drain', listener: () => void): unknown;
}

/** What Node may hold of one peer; more waits in the lane. Four times Node 20's socket buffer. */
const SINK_MAX_BYTES = 65_536;

export type LaneCut = 'PEER_SLOW' | 'PEER_STALLED' | 'MEMORY_PRESSURE';

export interface LaneOwner {
  /** Called when what waits passes half of the bound, again after the lane was empty: the last moment to send less. */
  laneBehind?(): void;
  /** Called once when the lane must be cut; `droppedEvents` were queued or about to be and are gone. */
  laneCut(cut: LaneCut, droppedEvents: number): void;
}

/** The lanes of one process and what they hold together. */
export class LaneGroup {
  readonly #totalMaxBytes: number;
  readonly #backlogged = new Set<Lane>();
  #queuedBytes = 0;

  constructor(totalMaxBytes: number) {
    this.#totalMaxBytes = totalMaxBytes;
  }

  /** Bytes waiting in all lanes (what Node and the kernel hold not counted). */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  get backloggedLanes(): number {
    return this.#backlogged.size;
  }

  grow(lane: Lane, bytes: number): void {
    this.#backlogged.add(lane);
    this.#queuedBytes += bytes;
    if (this.#queuedBytes > this.#totalMaxBytes) this.#largest()?.cut('MEMORY_PRESSURE');
  }

  shrink(lane: Lane, bytes: number): void {
    this.#queuedBytes -= bytes;
    if (lane.queuedBytes === 0) this.#backlogged.delete(lane);
  }

  #largest(): Lane | undefined {
    let largest: Lane | undefined;
    for (const lane of this.#backlogged) if (largest === undefined || lane.queuedBytes > largest.queuedBytes) largest = lane;
    return largest;
  }
}

interface Queued {
  readonly chunk: Buffer;
  readonly events: number;
  readonly seq: number;
}

export class Lane {
  readonly codec: Codec;
  /** Batch writer's notes: the last batch this lane took part in as receiver and as source, and its routes in it. */
  batch = 0;
  sourceBatch = 0;
  firstRoute = 0;
  moreRoutes: number[] | undefined = undefined;

  readonly #sink: LaneSink;
  readonly #owner: LaneOwner;
  readonly #group: LaneGroup;
  readonly #maxBytes: number;
  #queue: Queued[] | undefined = undefined;
  #queuedBytes = 0;
  #writtenBytes = 0;
  #writtenEvents = 0;
  #writtenSeq = 0;
  #acceptedBytes = 0;
  #lateEvents = 0;
  #closed = false;
  #emptied: (() => void) | undefined = undefined;
  #isBehind = false;
  #clearListeners: (() => void)[] | undefined = undefined;

  constructor(sink: LaneSink, options: { readonly codec: Codec; readonly owner: LaneOwner; readonly group: LaneGroup; readonly maxBytes: number }) {
    this.#sink = sink;
    this.codec = options.codec;
    this.#owner = options.owner;
    this.#group = options.group;
    this.#maxBytes = options.maxBytes;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Whether it takes no more. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Whether a control frame may be written now without growing what waits. */
  get isClear(): boolean {
    return this.#queue === undefined && this.#sink.writableLength < SINK_MAX_BYTES;
  }

  /** Events handed to the socket so far. */
  get writtenEvents(): number {
    return this.#writtenEvents;
  }

  /** The sequence in the log of the last event handed to the socket whose batch was written with one; 0: none yet. */
  get writtenSeq(): number {
    return this.#writtenSeq;
  }

  /**
   * Writes a chunk that holds whole encoded events, up to a sequence of the log if they have one. Overflow cuts the lane with
   * PEER_SLOW; a closed lane counts them as dropped.
   */
  write(chunk: Buffer, events: number, seq = 0): void {
    if (this.#closed) {
      this.#lateEvents += events;
      return;
    }
    if (this.#queue === undefined && this.#sink.writableLength < SINK_MAX_BYTES) {
      this.#writtenBytes += chunk.length;
      this.#writtenEvents += events;
      if (seq > 0) this.#writtenSeq = seq;
      this.#sink.write(chunk);
      return;
    }
    if (this.#queuedBytes + chunk.length > this.#maxBytes) {
      this.cut('PEER_SLOW', events);
      return;
    }
    if (this.#queue === undefined) {
      this.#queue = [];
      this.#sink.once('drain', () => this.#drain());
    }
    this.#queue.push({ chunk, events, seq });
    this.#queuedBytes += chunk.length;
    this.#group.grow(this, chunk.length);
    if (this.#isBehind || this.#queuedBytes * 2 <= this.#maxBytes) return;
    this.#isBehind = true;
    this.#owner.laneBehind?.();
  }

  /** Calls back once when the socket takes more, at once when it does now; also when the lane ends. */
  whenClear(listener: () => void): void {
    if (this.#closed || this.isClear) {
      listener();
      return;
    }
    (this.#clearListeners ??= []).push(listener);
    if (this.#queue === undefined && this.#clearListeners.length === 1) this.#sink.once('drain', () => this.#clear());
  }

  #clear(): void {
    const listeners = this.#clearListeners ?? [];
    this.#clearListeners = undefined;
    for (const listener of listeners) listener();
  }

  #drain(): void {
    const queue = this.#queue;
    if (queue === undefined) return;
    let taken = 0;
    let bytes = 0;
    this.#sink.cork();
    while (taken < queue.length && this.#sink.writableLength < SINK_MAX_BYTES) {
      const { chunk, events, seq } = queue[taken] as Queued;
      this.#sink.write(chunk);
      bytes += chunk.length;
      this.#writtenEvents += events;
      if (seq > 0) this.#writtenSeq = seq;
      taken += 1;
    }
    this.#sink.uncork();
    this.#writtenBytes += bytes;
    this.#queuedBytes -= bytes;
    if (taken === queue.length) this.#queue = undefined;
    else queue.splice(0, taken);
    this.#group.shrink(this, bytes);
    if (this.#queue === undefined) {
      const emptied = this.#emptied;
      this.#emptied = undefined;
      this.#isBehind = false;
      emptied?.();
      this.#clear();
      return;
    }
    // The kernel may have taken all of it at once: then no drain event comes.
    if (this.#sink.writableLength === 0) this.#drain();
    else this.#sink.once('drain', () => this.#drain());
  }

  /** True when bytes wait and the kernel has taken none since the last call: the peer is not reading. */
  isStalled(): boolean {
    const waiting = this.#sink.writableLength;
    const accepted = this.#writtenBytes - waiting;
    // Below what it was: a ping or a control frame was written beside the lane, and still nothing was taken.
    const stalled = waiting > 0 && accepted <= this.#acceptedBytes;
    this.#acceptedBytes = accepted;
    return stalled;
  }

  /** Takes no more, and calls back once when all that waits is with the socket or forgotten: at once when nothing waits. */
  end(emptied: () => void): void {
    this.#closed = true;
    if (this.#queue === undefined) emptied();
    else this.#emptied = emptied;
  }

  /** Empties the lane, and tells its owner once. */
  cut(cut: LaneCut, alsoDropped = 0): void {
    if (this.#closed && this.#queue === undefined) return;
    this.#owner.laneCut(cut, this.close() + alsoDropped);
  }

  /** Takes no more and forgets what waits; answers how many events that were, and came late since the last answer. */
  close(): number {
    this.#closed = true;
    const dropped = (this.#queue ?? []).reduce((sum, { events }) => sum + events, this.#lateEvents);
    const [bytes, emptied] = [this.#queuedBytes, this.#emptied];
    this.#queue = undefined;
    this.#queuedBytes = 0;
    this.#lateEvents = 0;
    this.#emptied = undefined;
    if (bytes > 0) this.#group.shrink(this, bytes);
    emptied?.();
    this.#clear();
    return dropped;
  }
}
