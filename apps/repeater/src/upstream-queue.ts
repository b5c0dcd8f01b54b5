import { FrameQueue, type FrameQueueOptions, type QueuedFrame } from './frame-queue.ts';
import type { RepeaterCounts } from './metrics.ts';

/**
 * What must still go up to the hub. It is in memory, so a repeater that is killed loses it; the durable outbox of a
 * later version takes this place. The seam is `offer` and `take`, and nobody else may hold frames for the hub.
 */
export class UpstreamQueue {
  readonly #queue: FrameQueue;
  readonly #counts: RepeaterCounts;

  constructor(options: FrameQueueOptions & { readonly counts: RepeaterCounts }) {
    this.#queue = new FrameQueue(options);
    this.#counts = options.counts;
  }

  get frames(): number {
    return this.#queue.frames;
  }

  get heldBytes(): number {
    return this.#queue.heldBytes;
  }

  get maxBytes(): number {
    return this.#queue.maxBytes;
  }

  get oldestAgeMs(): number {
    return this.#queue.oldestAgeMs;
  }

  /** Whether a frame of this length can be offered without losing an older one. */
  fits(length: number): boolean {
    return this.#queue.fits(length);
  }

  /** Queues a frame; the oldest are dropped for it when there is no room, each counted as `hub-away`. */
  offer(bytes: Buffer, tagEnd: number): void {
    this.#counts.drop('hub-away', this.#queue.offer(bytes, tagEnd));
  }

  /** The oldest frame, which is the taker's from now on. */
  take(): QueuedFrame | undefined {
    return this.#queue.take();
  }
}
