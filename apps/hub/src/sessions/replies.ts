import { randomBytes } from 'node:crypto';

import type { Bus, BusSubscription } from '@carillon/bus';
import { compose, type Lane, type OutboundEvent } from '@carillon/session';
import { formatTagFields, parseFrame, type DropReason, type ErrorCode, type WireLimits } from '@carillon/wire';

import { frameOf } from '../cluster/cluster.ts';
import type { HubCounts } from '../counts.ts';

/*
 * Replies of one workspace. An inbox is a connection's and ends with it; its name says at which hub it is, and is not to be guessed:
 *
 *   responder ──to=<inbox>──▶ hub ──its own──▶ lane of the requester
 *                              └──another's──▶ carillon.1.<workspace>.inbox.<hub> ──▶ lane; says back whether
 *
 * Nothing is kept: what finds no inbox is refused to whoever replied. A hub that does not answer in time counts as gone, though
 * it may have handed the reply over.
 */
const INBOX_RANDOM_BYTES = 16;
/** Hubs of a cluster answer in milliseconds; a bus that reconnects loses what was said meanwhile. */
const ANSWER_TIMEOUT_MS = 2_000;
/** Replies that wait for another hub's word, of one workspace. */
const WAITING_MAX = 16_384;
const HUB_OF_INBOX = /^([0-9A-Za-z_]+)-/;
const LINE_FEED = 10;
const DROPS: Readonly<Record<'away' | 'too-large' | 'backlogged', DropReason>> = { away: 'bus-away', 'too-large': 'bus-too-large', backlogged: 'bus-backlogged' };

export interface RepliesOptions {
  readonly workspaceId: string;
  readonly hubId: string;
  readonly bus: Bus | undefined;
  readonly counts: HubCounts;
  /** Of frames between hubs. */
  readonly limits: WireLimits;
}

/** Hears once what became of a reply: undefined, it is in the lane of whoever waits for it. */
type Heard = (refusal: ErrorCode | undefined) => void;

/** What hubs say to each other before a line feed; behind that of a reply is its frame. */
type Head = { readonly op: 'reply'; readonly hub: string; readonly n: number } | { readonly op: 'answer'; readonly n: number; readonly isThere: boolean };

interface Waiting {
  readonly heard: Heard;
  readonly timer: NodeJS.Timeout;
}

export class Replies {
  readonly #options: RepliesOptions;
  readonly #inboxes = new Map<string, Lane>();
  readonly #waiting = new Map<number, Waiting>();
  #subscription: BusSubscription | undefined;
  #sent = 0;

  constructor(options: RepliesOptions) {
    this.#options = options;
  }

  /** Makes an inbox for whoever is at the end of a lane. */
  open(lane: Lane): string {
    const { hubId } = this.#options;
    const inbox = `${hubId}-${randomBytes(INBOX_RANDOM_BYTES).toString('base64url')}`;
    this.#inboxes.set(inbox, lane);
    this.#listen();
    return inbox;
  }

  close(inbox: string): void {
    this.#inboxes.delete(inbox);
  }

  /** Gives a reply to an inbox; its fields are those that the requester is to see. Codes: REPLY_UNDELIVERABLE, OVERLOADED. */
  send(inbox: string, event: OutboundEvent, heard: Heard): void {
    const hub = HUB_OF_INBOX.exec(inbox)?.[1];
    if (hub === undefined || hub === this.#options.hubId || this.#options.bus === undefined) heard(this.#deliver(inbox, event) ? undefined : 'REPLY_UNDELIVERABLE');
    else this.#pass(hub, inbox, { event, heard });
  }

  /** The workspace is forgotten, or the hub stops. */
  stop(): void {
    void this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    for (const n of [...this.#waiting.keys()]) this.#settle(n, 'REPLY_UNDELIVERABLE');
  }

  #deliver(inbox: string, event: OutboundEvent): boolean {
    const lane = this.#inboxes.get(inbox);
    if (lane === undefined || lane.closed) {
      this.#options.counts.drop('reply-gone', 1);
      return false;
    }
    lane.write(compose([event], lane.codec), 1);
    return !lane.closed;
  }

  #pass(hub: string, inbox: string, { event, heard }: { readonly event: OutboundEvent; readonly heard: Heard }): void {
    const { bus, counts, hubId } = this.#options;
    if (bus === undefined) return;
    if (this.#waiting.size >= WAITING_MAX) return heard('OVERLOADED');
    this.#listen();
    const n = (this.#sent += 1);
    const frame = frameOf({ ...event, fields: `${event.fields}${formatTagFields({ to: inbox })}` });
    const outcome = bus.publish(this.#subject(hub), message({ op: 'reply', hub: hubId, n }, frame));
    if (outcome !== 'sent') {
      counts.drop(DROPS[outcome], 1);
      return heard('REPLY_UNDELIVERABLE');
    }
    counts.clusterMessages += 1;
    this.#waiting.set(n, { heard, timer: setTimeout(() => this.#settle(n, 'REPLY_UNDELIVERABLE'), ANSWER_TIMEOUT_MS).unref() });
  }

  #settle(n: number, refusal: ErrorCode | undefined): void {
    const waiting = this.#waiting.get(n);
    if (waiting === undefined) return;
    this.#waiting.delete(n);
    clearTimeout(waiting.timer);
    waiting.heard(refusal);
  }

  #listen(): void {
    const { bus, hubId } = this.#options;
    this.#subscription ??= bus?.subscribe(this.#subject(hubId), { deliver: ({ payload }) => this.#arrived(Buffer.from(payload)) });
  }

  #arrived(payload: Buffer): void {
    const end = payload.indexOf(LINE_FEED);
    const head = readHead(payload.toString('utf8', 0, Math.max(end, 0)));
    if (head === undefined) return this.#options.counts.refuse('FRAME_MALFORMED');
    if (head.op === 'answer') return this.#settle(head.n, head.isThere ? undefined : 'REPLY_UNDELIVERABLE');
    const outcome = this.#options.bus?.publish(this.#subject(head.hub), message({ op: 'answer', n: head.n, isThere: this.#take(payload.subarray(end + 1)) }));
    if (outcome !== undefined && outcome !== 'sent') this.#options.counts.drop(DROPS[outcome], 1);
  }

  #take(bytes: Buffer): boolean {
    const { counts, limits } = this.#options;
    const frame = parseFrame(bytes, 2, limits);
    const to = frame.ok ? frame.fields.to : undefined;
    if (!frame.ok || to === undefined) {
      counts.refuse(frame.ok ? 'TAG_LINE_INVALID' : frame.code);
      return false;
    }
    counts.take('cluster', bytes.length);
    const { id, at, from, cid } = frame.fields;
    const fields = formatTagFields({ ...(id === undefined ? {} : { id }), ...(at === undefined ? {} : { at }), ...(from === undefined ? {} : { from }), ...(cid === undefined ? {} : { cid }) });
    return this.#deliver(to, { bytes, roomEnd: Buffer.byteLength(frame.room), tagEnd: bytes.length - frame.body.length - 1, fields, source: undefined, order: 0 });
  }

  /** Ids of workspaces and hubs are single tokens, and so is what an inbox may name. */
  #subject(hub: string): string {
    return `carillon.1.${this.#options.workspaceId}.inbox.${hub}`;
  }
}

function message(head: Head, frame: Uint8Array = Buffer.alloc(0)): Buffer {
  return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), frame]);
}

function readHead(text: string): Head | undefined {
  try {
    const { op, hub, n, isThere } = JSON.parse(text) as Record<string, unknown>;
    if (typeof n !== 'number') return undefined;
    if (op === 'answer' && typeof isThere === 'boolean') return { op, n, isThere };
    return op === 'reply' && typeof hub === 'string' && /^[0-9A-Za-z_]+$/.test(hub) ? { op, n, hub } : undefined;
  } catch {
    return undefined;
  }
}
