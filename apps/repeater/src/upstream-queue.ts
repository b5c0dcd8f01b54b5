import type { ErrorCode } from '@carillon/wire';

import type { QueuedFrame } from './frame-queue.ts';

/** The connection that frames leave by. */
export interface UpstreamLink {
  /** The hub answers each event: what was handed over is its own only then. */
  readonly acks: boolean;
  /** What its clock was ahead of this machine's at the join, in milliseconds, if it said so. */
  readonly aheadMs?: number | undefined;
  /** There may be something to take again. */
  readonly ready: () => void;
}

/** What a sender says of its event besides the frame. */
export interface EventTimes {
  /** When it happened, ms since 1970 by the sender's own clock. */
  readonly eventAtMs?: number | undefined;
}

/**
 * What must still go up to the hub; nobody else may hold frames for it. In memory a repeater that is killed loses it;
 * the outbox is on disk, and gives up a frame only when the hub has it.
 */
export interface UpstreamQueue {
  /** Frames that are the hub's not yet, and what they take: of memory, or of the disk. */
  readonly frames: number;
  readonly heldBytes: number;
  readonly maxBytes: number;
  readonly oldestAgeMs: number;
  /** What the hub's clock is ahead of this machine's, in milliseconds; of a queue that notes when events happened, once a hub has said its time. */
  readonly hubAheadMs?: number | undefined;
  /** Whether a frame of this length can be offered without losing an older one. */
  fits(length: number): boolean;
  /** Takes a frame, whose bytes are copied; resolves once it is kept, with why not if it is not. In memory, and toward a hub of the first protocol, times are of no effect. */
  offer(bytes: Buffer, tagEnd: number, times?: EventTimes): Promise<ErrorCode | undefined>;
  /** The frame that goes next, if one may. */
  take(): QueuedFrame | undefined;
  /** The hub is there. */
  attach(link: UpstreamLink): void;
  /** It is gone; `code` is that of its close, if it gave one. */
  detach(code: string | undefined): void;
  /** The hub has these events. */
  published(ids: readonly string[]): void;
  /** The hub does not take this event; false: it is none that waits for an answer. */
  refused(id: string, code: string): boolean;
  /** Whether all that can go has gone. */
  readonly isFlushed: boolean;
  /** Ends it; answers how many frames stay behind, and whether they are lost. */
  close(): Promise<{ readonly frames: number; readonly areLost: boolean }>;
}
