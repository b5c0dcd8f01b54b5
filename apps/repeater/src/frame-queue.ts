/**
 * Frames that wait for somebody, oldest first, in bounded memory. What counts is the memory a frame holds, not its
 * length, so that a flood of tiny frames is bounded too. At the bound the oldest go: a room's latest state is worth
 * more than its first. Whoever owns the queue counts what `offer` says was dropped.
 */
export interface QueuedFrame {
  readonly bytes: Buffer;
  /** Where the tag line ends within `bytes`. */
  readonly tagEnd: number;
  readonly offeredAtMs: number;
  /** Fields of its tag line toward a peer of the second protocol. */
  readonly fields?: string;
}

/** Memory a queued frame takes besides its bytes: measured at 177 to 209 on Node 20 (object, Buffer, array slot). */
export const FRAME_OVERHEAD_BYTES = 200;
/** Taken slots are given back in one go: cheap a frame, and the array stays in proportion to what waits. */
const COMPACT_SLOTS = 1_024;

export interface FrameQueueOptions {
  readonly maxBytes: number;
  /** Milliseconds on any clock. */
  readonly now: () => number;
}

export class FrameQueue {
  readonly maxBytes: number;
  readonly #now: () => number;
  #slots: (QueuedFrame | undefined)[] = [];
  #head = 0;
  #heldBytes = 0;

  constructor({ maxBytes, now }: FrameQueueOptions) {
    this.maxBytes = maxBytes;
    this.#now = now;
  }

  get frames(): number {
    return this.#slots.length - this.#head;
  }

  /** Memory held, overhead included. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** How long the oldest frame has waited; 0 when none does. */
  get oldestAgeMs(): number {
    const oldest = this.#slots[this.#head];
    return oldest === undefined ? 0 : Math.max(0, this.#now() - oldest.offeredAtMs);
  }

  /** Whether a frame of this length can be queued without dropping another. */
  fits(length: number): boolean {
    return this.#heldBytes + length + FRAME_OVERHEAD_BYTES <= this.maxBytes;
  }

  /**
   * Queues a copy (the bytes given may be a view of a socket's whole read buffer) and says how many frames were
   * dropped for it; a frame that is larger than the queue is the one dropped.
   */
  offer(bytes: Buffer, tagEnd: number): number {
    if (bytes.length + FRAME_OVERHEAD_BYTES > this.maxBytes) return 1;
    let dropped = 0;
    while (!this.fits(bytes.length)) {
      this.take();
      dropped += 1;
    }
    this.#slots.push({ bytes: Buffer.from(bytes), tagEnd, offeredAtMs: this.#now() });
    this.#heldBytes += bytes.length + FRAME_OVERHEAD_BYTES;
    return dropped;
  }

  take(): QueuedFrame | undefined {
    const frame = this.#slots[this.#head];
    if (frame === undefined) return undefined;
    this.#slots[this.#head] = undefined;
    this.#head += 1;
    this.#heldBytes -= frame.bytes.length + FRAME_OVERHEAD_BYTES;
    if (this.#head === this.#slots.length) {
      this.#slots = [];
      this.#head = 0;
    } else if (this.#head >= COMPACT_SLOTS && this.#head * 2 >= this.#slots.length) {
      this.#slots = this.#slots.slice(this.#head);
      this.#head = 0;
    }
    return frame;
  }
}
