import type { ErrorCode } from '@carillon/wire';

import { FrameQueue, type FrameQueueOptions, type QueuedFrame } from './frame-queue.ts';
import type { RepeaterCounts } from './metrics.ts';
import type { UpstreamLink, UpstreamQueue } from './upstream-queue.ts';

const KEPT: Promise<ErrorCode | undefined> = Promise.resolve(undefined);

/** The upstream queue in memory: a frame is the hub's when it was handed to the connection, and what waits is lost with the process. */
export class MemoryQueue implements UpstreamQueue {
  readonly #queue: FrameQueue;
  readonly #counts: RepeaterCounts;
  #link: UpstreamLink | undefined = undefined;

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

  get isFlushed(): boolean {
    return this.#queue.frames === 0;
  }

  fits(length: number): boolean {
    return this.#queue.fits(length);
  }

  /** The oldest are dropped for it when there is no room, each counted as `hub-away`. */
  offer(bytes: Buffer, tagEnd: number): Promise<ErrorCode | undefined> {
    this.#counts.drop('hub-away', this.#queue.offer(bytes, tagEnd));
    this.#link?.ready();
    return KEPT;
  }

  take(): QueuedFrame | undefined {
    return this.#queue.take();
  }

  attach(link: UpstreamLink): void {
    this.#link = link;
    link.ready();
  }

  detach(): void {
    this.#link = undefined;
  }

  published(): void {
    // Nothing waits for it.
  }

  refused(): boolean {
    return false;
  }

  close(): Promise<{ readonly frames: number; readonly areLost: boolean }> {
    const { frames } = this.#queue;
    while (this.#queue.take() !== undefined);
    this.#counts.drop('hub-away', frames);
    return Promise.resolve({ frames, areLost: true });
  }
}
