import type { Bus, BusDelivery, BusSubscription } from '@carillon/bus';
import type { OutboundEvent } from '@carillon/session';
import type { Logger } from '@carillon/runtime';
import { formatTagFields, parseFrame, roomSubject, type DropReason, type WireLimits } from '@carillon/wire';

import { decodeEnvelope, encodeEnvelope, ENVELOPE_BYTES, FRAME_OVERHEAD_BYTES } from './cluster-envelope.ts';
import { ClusterInterest } from './cluster-interest.ts';
import type { HubCounts } from '../counts.ts';
import type { ClusterDoor, Origin, Router } from '../routing/router.ts';

/**
 * Hubs that share a bus are one hub to each workspace. An event goes out once, on a subject that says where it entered
 * and which room it is of; hubs that want the room get it:
 *
 *   carillon.1.<workspace>.ev.<origin>.<room tokens>      origin: m messenger, q messenger with a repeater owed,
 *                                                         r repeater, h hub link
 *   carillon.1.<workspace>.offer.<try>                    an owed event whose hub had lost its last repeater
 *
 * Hubs with a repeater share a queue group on `q`: NATS gives an owed event to one of them. Events of one turn and room
 * travel in one message. While the bus is away nothing waits: it would come late and out of order; it is counted.
 */
const ROOT = 'carillon.1';
/** Where hubs say which links to originals a workspace holds. Ids of workspaces are single tokens; `*` stands for all. */
export const claimsSubject = (workspaceId: string): string => `${ROOT}.${workspaceId}.claims`;
const REPEATERS = 'repeaters';
/** An owed event is passed on this often when hubs keep losing their repeaters under it. */
const OFFERS_MAX = 3;
const ORIGIN_TOKENS: Readonly<Record<Origin, string>> = { messenger: 'm', 'messenger-owed': 'q', repeater: 'r', hub: 'h' };
const ORIGINS: Readonly<Record<string, Origin>> = { m: 'messenger', q: 'messenger-owed', r: 'repeater', h: 'hub' };
const DROPS: Readonly<Record<'away' | 'too-large' | 'backlogged', DropReason>> = { away: 'bus-away', 'too-large': 'bus-too-large', backlogged: 'bus-backlogged' };

export interface ClusterOptions {
  readonly workspaceId: string;
  readonly bus: Bus;
  readonly router: Router;
  readonly counts: HubCounts;
  /** Of frames between hubs. */
  readonly limits: WireLimits;
  readonly log: Logger;
  /** Runs a function at the end of the current turn; `setImmediate` in a process. */
  readonly schedule: (flush: () => void) => void;
}

interface Pending {
  readonly subject: string;
  frames: Buffer[];
  bytes: number;
}

interface Arrival {
  readonly room: string;
  readonly id: string;
  readonly event: OutboundEvent;
}

export class Cluster implements ClusterDoor {
  readonly interest: ClusterInterest;
  readonly #options: ClusterOptions;
  readonly #pending = new Map<string, Pending>();
  #owed: readonly BusSubscription[] = [];
  #scheduled = false;
  #hasLinks = false;
  readonly #prefix: string;
  readonly #offer: string;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#prefix = `${ROOT}.${options.workspaceId}.ev`;
    this.#offer = `${ROOT}.${options.workspaceId}.offer`;
    this.interest = new ClusterInterest(options.bus, { prefix: `${this.#prefix}.*`, deliver: (delivery) => this.#arrived(delivery) });
  }

  present(links: number, repeaters: number): void {
    if (links > 0 && !this.#hasLinks) this.interest.addAll();
    if (links === 0 && this.#hasLinks) this.interest.removeAll();
    this.#hasLinks = links > 0;
    this.#joinChoice(repeaters > 0);
  }

  /** Takes part in the choice of a repeater from the first local one to the last. */
  #joinChoice(join: boolean): void {
    if (join === this.#owed.length > 0) return;
    const leaving = this.#owed;
    this.#owed = join ? [this.#owedOn(`${this.#prefix}.${ORIGIN_TOKENS['messenger-owed']}.>`, 0), ...[1, 2, 3].map((tries) => this.#owedOn(`${this.#offer}.${tries}`, tries))] : [];
    for (const subscription of leaving) void subscription.unsubscribe();
  }

  #owedOn(subject: string, tries: number): BusSubscription {
    return this.#options.bus.subscribe(subject, { queue: REPEATERS, deliver: ({ payload }) => this.#owedArrived(payload, tries) });
  }

  publish(room: string, origin: Origin, event: OutboundEvent): void {
    const key = `${ORIGIN_TOKENS[origin]}.${room}`;
    const frame = frameOf(event);
    const bytes = frame.length + FRAME_OVERHEAD_BYTES;
    let pending = this.#pending.get(key);
    if (pending === undefined) {
      pending = { subject: `${this.#prefix}.${ORIGIN_TOKENS[origin]}.${roomSubject(room)}`, frames: [], bytes: ENVELOPE_BYTES };
      this.#pending.set(key, pending);
    }
    if (pending.bytes + bytes > this.#options.bus.payloadMaxBytes) this.#send(pending);
    pending.frames.push(frame);
    pending.bytes += bytes;
    if (!this.#scheduled) {
      this.#scheduled = true;
      this.#options.schedule(() => this.flush());
    }
  }

  offer(event: OutboundEvent): void {
    const outcome = this.#options.bus.publish(`${this.#offer}.1`, encodeEnvelope([frameOf(event)]));
    if (outcome !== 'sent') this.#options.counts.drop(DROPS[outcome], 1);
  }

  /** Hands what is pending to the bus now. */
  flush(): void {
    this.#scheduled = false;
    for (const pending of this.#pending.values()) this.#send(pending);
    this.#pending.clear();
  }

  #send(pending: Pending): void {
    const { frames } = pending;
    if (frames.length === 0) return;
    pending.frames = [];
    pending.bytes = ENVELOPE_BYTES;
    const outcome = this.#options.bus.publish(pending.subject, encodeEnvelope(frames));
    if (outcome === 'sent') this.#options.counts.clusterMessages += 1;
    else this.#options.counts.drop(DROPS[outcome], frames.length);
  }

  #arrived({ subject, payload }: BusDelivery): void {
    const origin = ORIGINS[subject.charAt(this.#prefix.length + 1)];
    for (const { room, id, event } of this.#arrivals(payload)) {
      this.#options.counts.take('cluster', event.bytes.length);
      if (origin !== undefined) this.#options.router.fromCluster(room, origin, event, id);
    }
  }

  #owedArrived(payload: Uint8Array, tries: number): void {
    const { router } = this.#options;
    const homeless = this.#arrivals(payload).filter(({ room, event }) => !router.offerRepeater(room, event));
    if (homeless.length === 0) return;
    const envelope = encodeEnvelope(homeless.map(({ event }) => event.bytes));
    const passedOn = tries < OFFERS_MAX && this.#options.bus.publish(`${this.#offer}.${tries + 1}`, envelope) === 'sent';
    if (!passedOn) this.#options.counts.drop(router.repeaters > 0 ? 'denied' : 'no-repeater', homeless.length);
  }

  /** The events of a message. Malformed ones are counted; another hub of the cluster has a fault then. */
  #arrivals(payload: Uint8Array): Arrival[] {
    // The bytes are the bus's during this call only; events live until the end of the turn.
    const frames = decodeEnvelope(Buffer.from(payload));
    if (frames === undefined) this.#options.counts.refuse('FRAME_MALFORMED');
    const arrivals: Arrival[] = [];
    for (const bytes of frames ?? []) {
      const frame = parseFrame(bytes, 2, this.#options.limits);
      if (!frame.ok || frame.fields.id === undefined) {
        this.#options.counts.refuse(frame.ok ? 'TAG_LINE_INVALID' : frame.code);
        continue;
      }
      const { id, rt, et } = frame.fields;
      const fields = formatTagFields({ id, ...(rt === undefined ? {} : { rt }), ...(et === undefined ? {} : { et }) });
      const event = { bytes, roomEnd: Buffer.byteLength(frame.room), tagEnd: bytes.length - frame.body.length - 1, fields, source: undefined, order: 0 };
      arrivals.push({ room: frame.room, id, event });
    }
    return arrivals;
  }
}

/** Whether the largest frame that goes between hubs fits a message of the bus. */
export function takesLargestFrame(bus: Bus, { frameMaxBytes }: WireLimits): boolean {
  return frameMaxBytes + ENVELOPE_BYTES + FRAME_OVERHEAD_BYTES <= bus.payloadMaxBytes;
}

/** The event as a v2 frame, in memory of its own: the bus may keep it past this turn. */
export function frameOf({ bytes, roomEnd, tagEnd, fields }: OutboundEvent): Buffer {
  return Buffer.concat([bytes.subarray(0, roomEnd), Buffer.from(fields, 'latin1'), bytes.subarray(tagEnd)]);
}
