import { eventNameOf, type Principal } from '@carillon/access';
import type { Logger } from '@carillon/runtime';
import type { Lane, OutboundEvent } from '@carillon/session';
import { splitFrame, type ErrorCode, type FrameParts, type WireLimits, type WireVersion } from '@carillon/wire';

import { endOf } from './gate.ts';
import type { LocalRooms } from './local-rooms.ts';
import type { RepeaterCounts } from './metrics.ts';
import type { Targets } from './targets.ts';
import type { EventTimes } from './upstream-queue.ts';
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
  readonly ok: false;
  readonly code: ErrorCode;
  readonly detail?: string;
}

/** What became of a frame of this site: `kept` resolves once it is sure to go up, with why not if it is not. */
export type FrameTaken = FrameRefused | { readonly ok: true; readonly kept: Promise<ErrorCode | undefined> };

export class FramePaths {
  readonly #options: FramePathsOptions;

  constructor(options: FramePathsOptions) {
    this.#options = options;
  }

  /** Takes a frame of this site toward the hub, and at once to whoever hears its room; says what is wrong with one that is refused. */
  up(bytes: Buffer, origin: FrameOrigin, times?: EventTimes): FrameTaken {
    const { upstream, localRooms, limits, counts } = this.#options;
    const parts = splitFrame(bytes, 1, limits);
    if (!parts.ok) return parts;
    const refused = origin.from === 'target' ? undefined : judge(origin.sender, parts, bytes);
    if (refused !== undefined) return refused;
    counts.take(origin.from, bytes.length);
    const kept = upstream.offer(bytes, parts.tagEnd, times);
    localRooms.hear(parts.room, outbound(bytes, parts, origin.lane));
    return { ok: true, kept };
  }

  /** Takes a frame of the hub to whoever of this site it is for. One that is malformed is counted and goes no further. */
  down(bytes: Buffer, version: WireVersion): void {
    const { localRooms, targets, limits, counts, log } = this.#options;
    const parts = splitFrame(bytes, version, limits);
    if (!parts.ok) {
      counts.refuse(parts.code);
      log.debug({ code: parts.code, detail: parts.detail }, 'the hub sent a malformed frame');
      return;
    }
    counts.take('hub', bytes.length);
    const event = parts.roomEnd === parts.tagEnd ? outbound(bytes, parts, undefined) : outbound(withoutFields(bytes, parts), { ...parts, tagEnd: parts.roomEnd }, undefined);
    targets.deliver(parts.room, event, localRooms.hearFromHub(parts.room, event));
  }
}

/**
 * Codes: ACCESS_KEY_REVOKED, ACCESS_KEY_EXPIRED, EVENT_RATE_EXCEEDED, BYTE_RATE_EXCEEDED, SEND_DENIED. Rates come before permissions: what is denied costs its sender as much.
 */
function judge(sender: Principal, { room, tagEnd }: FrameParts, bytes: Buffer): FrameRefused | undefined {
  const { permissions, meter } = sender;
  const code = endOf(sender) ?? meter.send(bytes.length);
  if (code !== undefined) return { ok: false, code };
  const decision = permissions.decide('send', room);
  const allowed = decision === 'by-event' ? permissions.allows('send', room, eventNameOf(bytes.subarray(tagEnd + 1))) : decision === 'allow';
  return allowed ? undefined : { ok: false, code: 'SEND_DENIED', detail: room };
}

/** Devices and targets speak the first protocol, in which a tab is no separator. */
function withoutFields(bytes: Buffer, { roomEnd, tagEnd }: FrameParts): Buffer {
  return Buffer.concat([bytes.subarray(0, roomEnd), bytes.subarray(tagEnd)]);
}

function outbound(bytes: Buffer, { roomEnd, tagEnd }: FrameParts, source: Lane | undefined): OutboundEvent {
  return { bytes, roomEnd, tagEnd, fields: '', source, order: 0 };
}
