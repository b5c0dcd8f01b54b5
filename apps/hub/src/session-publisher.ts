import type { Principal } from '@carillon/access';
import type { Connection, Lane, OutboundEvent } from '@carillon/session';
import { ERRORS, formatControl, parseFrame, type ErrorCode, type WireLimits } from '@carillon/wire';

import type { HubCounts } from './counts.ts';
import type { Publish, PublishAnswer } from './durable-lane.ts';
import type { Intake } from './intake.ts';
import { PublishAcks } from './publish-acks.ts';

/** Events of one connection that may wait for their ack; whoever publishes keeps as many to send again. */
export const PUBLISHES_MAX = 4_096;

/** What a messenger sends again by itself; a repeater does so with whatever is refused for now. What nobody sends again must hold nobody up. */
const SENT_AGAIN: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['LOG_UNAVAILABLE', 'LOG_BACKLOGGED', 'PUBLISHES_EXCEEDED']);
/** Who has not come again by then has given up. Longer than anybody's backoff. */
const HELD_MAX_MS = 60_000;

export interface SessionPublisherOptions {
  readonly kind: 'messenger' | 'repeater';
  readonly connection: Connection;
  readonly principal: Principal;
  readonly intake: Intake;
  readonly counts: HubCounts;
  /** Of frames with their tag line's fields. */
  readonly limits: WireLimits;
  /** Of room and body alone: what peers of the first protocol are sent. */
  readonly plainMaxBytes: number;
  readonly route: (room: string, event: OutboundEvent, publish: Publish) => void;
  /** The lane that must not hear its own events. */
  readonly source: () => Lane | undefined;
}

/**
 * The publishing side of a peer that speaks the second protocol: every event is answered, by its id. An event that is refused for
 * now would lose its place to those behind it: they are refused as well, until one of the refused comes again.
 */
export class SessionPublisher {
  readonly #options: SessionPublisherOptions;
  readonly #acks: PublishAcks;
  readonly #answer: PublishAnswer;
  #unacked = 0;
  /** Ids that were refused for now, and why. */
  readonly #refused = new Map<string, ErrorCode>();
  #heldSinceMs = 0;

  constructor(options: SessionPublisherOptions) {
    this.#options = options;
    const { connection } = options;
    this.#acks = new PublishAcks({ send: (text) => connection.sendControl(text), schedule: setImmediate });
    this.#answer = {
      published: (id, place) => {
        this.#unacked -= 1;
        this.#acks.add(place.class, id, place.seq);
      },
      refused: (id, code) => {
        this.#unacked -= 1;
        this.#refuse(code, id);
      },
    };
  }

  /** Takes an event; `from` is who publishes, or a refusal because nobody knows yet. */
  frame(bytes: Buffer, from: { readonly name: string | undefined } | { readonly code: ErrorCode }): void {
    const { counts, intake, kind, limits, plainMaxBytes, principal, route, source } = this.#options;
    const frame = parseFrame(bytes, 2, limits);
    if (!frame.ok) {
      this.#malformed(frame.code, frame.detail);
      return;
    }
    const { room, body, fields } = frame;
    const { id } = fields;
    if ('code' in from) return this.#refuse(from.code, id);
    if (id === undefined) return this.#refuse('EVENT_ID_MISSING', id);
    const [before] = this.#refused.values();
    if (this.#refused.has(id) || (before !== undefined && performance.now() - this.#heldSinceMs > HELD_MAX_MS)) this.#refused.clear();
    else if (before !== undefined) return this.#refuse(before, id);
    if (this.#unacked >= PUBLISHES_MAX) return this.#refuse('PUBLISHES_EXCEEDED', id);
    const [roomEnd, tagEnd] = [Buffer.byteLength(room), bytes.length - body.length - 1];
    if (bytes.length - (tagEnd - roomEnd) > plainMaxBytes) return this.#refuse('FRAME_TOO_LARGE', id);
    const refusal = intake.refusal(principal, { room, bytes, bodyAt: tagEnd + 1 });
    if (refusal !== undefined) return this.#refuse(refusal.code, id, refusal.detail);
    counts.take(kind, bytes.length);
    this.#unacked += 1;
    const event: OutboundEvent = { bytes, roomEnd, tagEnd, fields: '', source: source(), order: 0 };
    route(room, event, { id, from: from.name, atMs: fields.at, ttlMs: fields.ttl, traceparent: fields.tp, answer: this.#answer });
  }

  #refuse(code: ErrorCode, id: string | undefined, detail?: string): void {
    const { connection, counts } = this.#options;
    counts.refuse(code);
    if (id !== undefined && this.#isSentAgain(code)) this.#hold(id, code);
    if (id === undefined) connection.sendControl(formatControl({ op: 'error', code }));
    else this.#acks.refuse(code, { id, detail });
  }

  #isSentAgain(code: ErrorCode): boolean {
    return this.#options.kind === 'repeater' ? ERRORS[code].retryable : SENT_AGAIN.has(code);
  }

  #hold(id: string, code: ErrorCode): void {
    if (this.#refused.size === 0) this.#heldSinceMs = performance.now();
    if (this.#refused.size < PUBLISHES_MAX) this.#refused.set(id, code);
  }

  /** A messenger's malformed frame ends it; a repeater speaks for others and is told. */
  #malformed(code: ErrorCode, detail: string): void {
    const { connection, counts, kind } = this.#options;
    if (kind === 'repeater') return this.#refuse(code, undefined, detail);
    counts.refuse(code);
    connection.refuse(code);
  }
}
