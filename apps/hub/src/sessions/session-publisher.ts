import type { Connection, Lane, OutboundEvent } from '@carillon/session';
import { ERRORS, formatControl, formatTagFields, parseFrame, type ErrorCode, type TagFields, type WireLimits } from '@carillon/wire';

import type { HubCounts } from '../counts.ts';
import type { Publish, PublishAnswer } from '../durable/durable-lane.ts';
import type { Identified } from '../access/identity.ts';
import type { Intake } from '../routing/intake.ts';
import { HeldRooms } from './held-rooms.ts';
import { PublishAcks } from './publish-acks.ts';
import type { Replies } from './replies.ts';
import type { WorkspaceTrail } from '../trail/trail-workspace.ts';

/** Events of one connection that may wait for their ack; whoever publishes keeps as many to send again. */
export const PUBLISHES_MAX = 4_096;

/** What a messenger sends again by itself; a repeater does so with whatever is refused for now. What nobody sends again must hold nobody up. */
const SENT_AGAIN: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['LOG_UNAVAILABLE', 'LOG_BACKLOGGED', 'PUBLISHES_EXCEEDED']);

export interface SessionPublisherOptions {
  readonly kind: 'messenger' | 'repeater';
  readonly connection: Connection;
  readonly peer: Identified;
  readonly intake: Intake;
  /** The hub takes nothing new: whoever publishes sends it again, there or to another hub. */
  readonly isDraining: () => boolean;
  readonly counts: HubCounts;
  /** Of frames with their tag line's fields. */
  readonly limits: WireLimits;
  /** Of room and body alone: what peers of the first protocol are sent. */
  readonly plainMaxBytes: number;
  readonly route: (room: string, event: OutboundEvent, publish: Publish) => void;
  /** The lane that must not hear its own events. */
  readonly source: () => Lane | undefined;
  /** Where replies to its requests go; undefined: it may not ask. */
  readonly inbox: () => string | undefined;
  readonly replies: Replies;
  /** Where it is noted what becomes of events. */
  readonly readerTrail: WorkspaceTrail | undefined;
}

/**
 * The publishing side of a peer that speaks the second protocol: every event is answered, by its id. An event that is refused for
 * now would lose its place to those behind it in its room: they are refused as well, until one of the refused comes again.
 */
export class SessionPublisher {
  readonly #options: SessionPublisherOptions;
  readonly #acks: PublishAcks;
  readonly #answer: PublishAnswer;
  #unacked = 0;
  readonly #held = new HeldRooms(PUBLISHES_MAX);

  constructor(options: SessionPublisherOptions) {
    this.#options = options;
    const { connection } = options;
    this.#acks = new PublishAcks({ send: (text) => connection.sendControl(text), schedule: setImmediate });
    this.#answer = {
      published: (id, place) => {
        this.#unacked -= 1;
        this.#acks.add(place.class, id, place.seq);
      },
      refused: (id, code, room) => {
        this.#unacked -= 1;
        if (this.#isSentAgain(code)) this.#held.hold({ id, room }, code);
        this.#refuse(code, id);
      },
    };
  }

  /** Takes an event; `from` is who publishes, or a refusal because nobody knows yet. */
  frame(bytes: Buffer, from: { readonly name: string | undefined } | { readonly code: ErrorCode }): void {
    const { counts, intake, isDraining, kind, inbox, limits, plainMaxBytes, peer, replies, route, source } = this.#options;
    const frame = parseFrame(bytes, 2, limits);
    if (!frame.ok) {
      this.#malformed(frame.code, frame.detail);
      return;
    }
    const { room, body, fields } = frame;
    const { id } = fields;
    if (id === undefined) return this.#refuse('code' in from ? from.code : 'EVENT_ID_MISSING', id);
    if ('code' in from) return this.#refuseEvent(from.code, { id, room });
    const event = { id, room, from: from.name };
    if (isDraining()) return this.#refuseEvent('DRAINING', event);
    const before = this.#held.refusalOf(event);
    if (before !== undefined) return this.#refuseEvent(before, event);
    if (this.#unacked >= PUBLISHES_MAX) return this.#refuseEvent('PUBLISHES_EXCEEDED', event);
    const [roomEnd, tagEnd] = [Buffer.byteLength(room), bytes.length - body.length - 1];
    if (bytes.length - (tagEnd - roomEnd) > plainMaxBytes) return this.#refuseEvent('FRAME_TOO_LARGE', event);
    const fault = replyFault(fields, inbox());
    if (fault !== undefined) return this.#refuseEvent('TAG_LINE_INVALID', event, fault);
    const refusal = intake.refusal(peer.principal, { room, bytes, bodyAt: tagEnd + 1 });
    if (refusal !== undefined) return this.#refuseEvent(refusal.code, event, refusal.detail);
    counts.take(kind, bytes.length);
    this.#unacked += 1;
    const outbound: OutboundEvent = { bytes, roomEnd, tagEnd, fields: '', source: source(), order: 0 };
    if (fields.to !== undefined) {
      outbound.fields = formatTagFields({ id, at: fields.at ?? Date.now(), ...(from.name === undefined ? {} : { from: from.name }), ...(fields.cid === undefined ? {} : { cid: fields.cid }) });
      replies.send(fields.to, outbound, (code) => (code === undefined ? this.#answer.published(id, { seq: 0, class: 'live' }) : this.#answer.refused(id, code, room)));
      return;
    }
    route(room, outbound, { id, from: from.name, atMs: fields.at, eventAtMs: fields.et, ttlMs: fields.ttl, traceparent: fields.tp, replyTo: fields.rt, delayMs: fields.delay, answer: this.#answer });
  }

  /** What the log or a later step refuses is noted there. */
  #refuseEvent(code: ErrorCode, { id, room, from }: { readonly id: string; readonly room: string; readonly from?: string | undefined }, detail?: string): void {
    this.#options.readerTrail?.note({ kind: 'refused', id, room, code, from });
    if (this.#isSentAgain(code)) this.#held.hold({ id, room }, code);
    this.#refuse(code, id, detail);
  }

  #refuse(code: ErrorCode, id: string | undefined, detail?: string): void {
    const { connection, counts } = this.#options;
    counts.refuse(code);
    if (id === undefined) connection.sendControl(formatControl({ op: 'error', code }));
    else this.#acks.refuse(code, { id, detail });
  }

  #isSentAgain(code: ErrorCode): boolean {
    return this.#options.kind === 'repeater' ? ERRORS[code].retryable : SENT_AGAIN.has(code);
  }

  /** A messenger's malformed frame ends it; a repeater speaks for others and is told. */
  #malformed(code: ErrorCode, detail: string): void {
    const { connection, counts, kind } = this.#options;
    if (kind === 'repeater') return this.#refuse(code, undefined, detail);
    counts.refuse(code);
    connection.refuse(code);
  }
}

/** A request has replies come to its publisher and nobody else; a reply is not kept, and so neither delayed nor asked for an answer. */
function replyFault({ rt, to, cid, delay }: TagFields, inbox: string | undefined): string | undefined {
  if (rt !== undefined && rt !== inbox) return 'rt is not the inbox of this connection';
  if (to === undefined) return undefined;
  if (cid === undefined) return 'a reply says in cid what it answers';
  return rt !== undefined || delay !== undefined ? 'a reply has neither rt nor delay' : undefined;
}
