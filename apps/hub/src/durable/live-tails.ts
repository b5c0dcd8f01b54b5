import type { ServerResponse } from 'node:http';

import type { Principal } from '@carillon/access';
import type { Logger } from '@carillon/runtime';
import { LiveTail, type Lane, type LaneCut, type LaneGroup, type Subscriptions } from '@carillon/session';
import { ERRORS, type DropReason, type ErrorCode } from '@carillon/wire';

import type { HubCounts } from '../counts.ts';
import type { DurableLane } from './durable-lane.ts';
import type { Caller, Holders } from '../access/holders.ts';
import { LogFollower, PLACES_ONLY_SSE, type FollowStart } from './log-follower.ts';
import type { PageTurns } from './page-turns.ts';
import type { Router } from '../routing/router.ts';
import type { WorkspaceTrail } from '../trail/trail-workspace.ts';

/** How often an idle tail shows that it lives; proxies close what is silent for a minute. */
const KEEP_ALIVE_MS = 15_000;
/** What a tail that was ended has not taken by then it never will. */
const END_GRACE_MS = 2_000;
/** Where there is a log a tail that was cut comes back for the rest: soon, and not all at once. */
const CUT_RETRY_MIN_MS = 500;
const CUT_RETRY_MAX_MS = 2_500;

export interface LiveTailsOptions {
  readonly subscriptions: Subscriptions;
  /** Who gets what of durable rooms, where there is a log. */
  readonly durable: { readonly lane: DurableLane; readonly subscriptions: Subscriptions } | undefined;
  readonly router: Router;
  readonly counts: HubCounts;
  readonly holders: Holders;
  /** Who is at the other end of a lane; kept by those who make lanes. */
  readonly principals: Map<Lane, Principal>;
  readonly group: LaneGroup;
  readonly laneMaxBytes: number;
  readonly turns: PageTurns;
  /** Writes what waits in batches. */
  readonly flush: () => void;
  readonly log: Logger;
  /** Where it is noted who reads what. */
  readonly readerTrail: WorkspaceTrail | undefined;
}

export interface TailRequest {
  /** A valid room or pattern. */
  readonly pattern: string;
  readonly caller: Caller;
  readonly response: ServerResponse;
  /** Where it begins in durable rooms; default: with what comes from now on. */
  readonly from?: FollowStart;
}

/** The live tails of a workspace: subscribers over HTTP. */
export class LiveTails {
  readonly #options: LiveTailsOptions;
  readonly #tails = new Set<LiveTail>();
  #timer: NodeJS.Timeout | undefined = undefined;

  constructor(options: LiveTailsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#tails.size;
  }

  /**
   * Streams a room or pattern until the response closes, or answers why not.
   * Codes: RECEIVE_DENIED, CONNECTION_LIMIT_REACHED, ROOM_LIMIT_REACHED.
   */
  open({ pattern, caller, response, from = 'now' }: TailRequest): ErrorCode | undefined {
    const { subscriptions, durable, counts, holders, principals, group, laneMaxBytes, readerTrail, router, turns, flush, log } = this.#options;
    const { principal } = caller;
    const refusal = admitTail(principal, pattern);
    if (refusal !== undefined) return refusal;
    let ended: ErrorCode | undefined;
    const tail = new LiveTail(response, {
      group,
      laneMaxBytes,
      ...(durable === undefined ? {} : { codec: PLACES_ONLY_SSE, retryMs: () => CUT_RETRY_MIN_MS + Math.random() * (CUT_RETRY_MAX_MS - CUT_RETRY_MIN_MS) }),
      closed: (droppedEvents, cut) => {
        this.#forget(tail);
        release();
        readerTrail?.left(tail.lane, { droppedEvents, reason: ended ?? cut ?? 'peer-gone' });
        subscriptions.remove(pattern, tail.lane);
        follower?.end();
        principal.meter.unsubscribe(1);
        principal.meter.disconnect();
        counts.closed.add(ended ?? cut ?? 'tail-closed');
        counts.drop(dropReason(cut), droppedEvents);
      },
    });
    const trail = readerTrail?.open({ how: 'tail', session: router.nextId(), keyId: principal.keyId, rooms: [pattern], lane: tail.lane });
    const follower = durable === undefined ? undefined : new LogFollower({ trail, pattern, lane: tail.lane, principal, durable: durable.lane, subscriptions: durable.subscriptions, turns, flush, log });
    const release = holders.hold({
      caller,
      end: (code, retryAfterMs) => {
        ended = code;
        const droppedEvents = tail.lane.close();
        readerTrail?.left(tail.lane, { droppedEvents, reason: code });
        follower?.end();
        counts.drop('peer-gone', droppedEvents);
        endResponse(response, code, retryAfterMs);
      },
    });
    this.#tails.add(tail);
    principals.set(tail.lane, principal);
    this.#show();
    subscriptions.add(pattern, tail.lane);
    follower?.start(from);
    this.#timer ??= setInterval(() => this.#look(), KEEP_ALIVE_MS).unref();
    return undefined;
  }

  /** Ends every tail with a hint when to come back. */
  drain(comeBackMs: () => number): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const tail of this.#tails) tail.drain(comeBackMs());
  }

  #forget(tail: LiveTail): void {
    this.#tails.delete(tail);
    this.#options.principals.delete(tail.lane);
    this.#show();
    if (this.#tails.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Ids and places are made while somebody is shown them. */
  #show(): void {
    const { router, durable } = this.#options;
    router.tails = this.#tails.size;
    if (durable !== undefined) durable.lane.showsPlaces = this.#tails.size > 0;
  }

  /** A tail that took nothing since the last look does not read. */
  #look(): void {
    for (const tail of this.#tails) {
      if (tail.lane.isStalled()) tail.lane.cut('PEER_STALLED');
      else tail.keepAlive();
    }
  }
}

function admitTail({ permissions, meter }: Principal, pattern: string): ErrorCode | undefined {
  if (!permissions.covers('receive', pattern)) return 'RECEIVE_DENIED';
  const full = meter.connect();
  if (full !== undefined) return full;
  const exceeded = meter.subscribe();
  if (exceeded !== undefined) meter.disconnect();
  return exceeded;
}

function dropReason(cut: LaneCut | undefined): DropReason {
  return cut === undefined ? 'peer-gone' : cut === 'MEMORY_PRESSURE' ? 'memory-pressure' : 'peer-slow';
}

/** Ends a stream of server-sent events with its reason. */
export function endResponse(response: ServerResponse, code: ErrorCode, retryAfterMs?: number): void {
  const retry = retryAfterMs === undefined ? '' : `retry: ${Math.round(retryAfterMs)}\n`;
  if (!response.writableEnded) response.end(`${retry}event: error\ndata: ${JSON.stringify({ code, title: ERRORS[code].title })}\n\n`);
  setTimeout(() => response.destroy(), END_GRACE_MS).unref();
}
