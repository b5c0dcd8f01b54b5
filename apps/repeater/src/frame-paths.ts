import { eventNameOf, type Principal } from '@carillon/access';
import type { Logger } from '@carillon/runtime';
import type { Lane, OutboundEvent } from '@carillon/session';
import { splitFrame, type ErrorCode, type FrameParts, type WireLimits } from '@carillon/wire';

import { endOf } from './gate.ts';
import type { LocalRooms } from './local-rooms.ts';
import type { RepeaterCounts } from './metrics.ts';
import type { Targets } from './targets.ts';
import type { Upstream } from './upstream.ts';

/**
 * Where a frame goes by where it came from; never back where it came from.
 *
 *   from          | hub | local rooms | subscribers | send list
 *   device, http  |  ×  |      ×      |      ×      |
 *   target        |  ×  |      ×      |      ×      |
 *   hub           |     |             |      ×      |     ×
 *
 * What a device or a program sends is judged by its principal's permissions and limits, and so is what a device gets,
 * by whatever way. Targets that are dialled are the configuration's own.
 */
export interface FramePathsOptions {
  readonly upstream: Upstream;
  readonly localRooms: LocalRooms;
  readonly targets: Targets;
  readonly limits: WireLimits;
  readonly counts: RepeaterCounts;
  readonly log: Logger;
}

/** Where a frame of this site came from. */
export type FrameOrigin =
  | { readonly from: 'device' | 'http'; readonly sender: Principal; readonly lane: Lane | undefined }
  | { readonly from: 'target'; readonly lane: Lane };

/** Why a frame was not taken. */
export interface FrameRefused {
  readonly code: ErrorCode;
  readonly detail?: string;
}

export class FramePaths {
  readonly #options: FramePathsOptions;

  constructor(options: FramePathsOptions) {
    this.#options = options;
  }

  /** Takes a frame of this site toward the hub; says what is wrong with one that is refused. */
  up(bytes: Buffer, origin: FrameOrigin): FrameRefused | undefined {
    const { upstream, localRooms, limits, counts } = this.#options;
    const parts = splitFrame(bytes, 1, limits);
    if (!parts.ok) return parts;
    const refused = origin.from === 'target' ? undefined : judge(origin.sender, parts, bytes);
    if (refused !== undefined) return refused;
    counts.take(origin.from, bytes.length);
    upstream.offer(bytes, parts.tagEnd);
    localRooms.hear(parts.room, outbound(bytes, parts, origin.lane));
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

/**
 * Codes: ACCESS_KEY_REVOKED, ACCESS_KEY_EXPIRED, EVENT_RATE_EXCEEDED, BYTE_RATE_EXCEEDED, SEND_DENIED. Rates come before permissions: what is denied costs its sender as much.
 */
function judge(sender: Principal, { room, tagEnd }: FrameParts, bytes: Buffer): FrameRefused | undefined {
  const { permissions, meter } = sender;
  const code = endOf(sender) ?? meter.send(bytes.length);
  if (code !== undefined) return { code };
  const decision = permissions.decide('send', room);
  const allowed = decision === 'by-event' ? permissions.allows('send', room, eventNameOf(bytes.subarray(tagEnd + 1))) : decision === 'allow';
  return allowed ? undefined : { code: 'SEND_DENIED', detail: room };
}

function outbound(bytes: Buffer, { roomEnd, tagEnd }: FrameParts, source: Lane | undefined): OutboundEvent {
  return { bytes, roomEnd, tagEnd, fields: '', source, order: 0 };
}
