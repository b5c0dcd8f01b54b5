import type { Logger } from '@carillon/runtime';
import type { Lane, OutboundEvent } from '@carillon/session';
import { splitFrame, type ErrorCode, type FrameParts, type WireLimits } from '@carillon/wire';

import type { LocalRooms } from './local-rooms.ts';
import type { FrameSource, RepeaterCounts } from './metrics.ts';
import type { Targets } from './targets.ts';
import type { Upstream } from './upstream.ts';

/**
 * Where a frame goes by where it came from; never back where it came from.
 *
 *   from          | hub | local rooms | subscribers | send list
 *   device, http  |  ×  |      ×      |      ×      |
 *   target        |  ×  |      ×      |      ×      |
 *   hub           |     |             |      ×      |     ×
 */
export interface FramePathsOptions {
  readonly upstream: Upstream;
  readonly localRooms: LocalRooms;
  readonly targets: Targets;
  readonly limits: WireLimits;
  readonly counts: RepeaterCounts;
  readonly log: Logger;
}

export class FramePaths {
  readonly #options: FramePathsOptions;

  constructor(options: FramePathsOptions) {
    this.#options = options;
  }

  /** Takes a frame of this site toward the hub; says what is wrong with one that is refused. */
  up(bytes: Buffer, from: Exclude<FrameSource, 'hub'>, source: Lane | undefined): ErrorCode | undefined {
    const { upstream, localRooms, limits, counts } = this.#options;
    const parts = splitFrame(bytes, 1, limits);
    if (!parts.ok) return parts.code;
    counts.take(from, bytes.length);
    upstream.offer(bytes, parts.tagEnd);
    localRooms.hear(parts.room, outbound(bytes, parts, source));
    return undefined;
  }

  /** Takes a frame of the hub to whoever of this site it is for. One that is malformed is counted and goes no further. */
  down(bytes: Buffer): void {
    const { localRooms, targets, limits, counts, log } = this.#options;
    const parts = splitFrame(bytes, 1, limits);
    if (!parts.ok) {
      counts.refuse(parts.code);
      log.debug({ code: parts.code, detail: parts.detail }, 'the hub sent a malformed frame');
      return;
    }
    counts.take('hub', bytes.length);
    const event = outbound(bytes, parts, undefined);
    targets.deliver(parts.room, event, localRooms.hearFromHub(parts.room, event));
  }
}

function outbound(bytes: Buffer, { roomEnd, tagEnd }: FrameParts, source: Lane | undefined): OutboundEvent {
  return { bytes, roomEnd, tagEnd, fields: '', source, order: 0 };
}
