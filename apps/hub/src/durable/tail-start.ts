import type { Principal } from '@carillon/access';
import type { ErrorCode, Since } from '@carillon/wire';

import type { DurableLane } from './durable-lane.ts';
import { startOf } from './event-reader.ts';
import type { FollowStart } from './log-follower.ts';
import { readPlace, readSince, SINCE_FORMS } from './log-position.ts';
import type { PageTurns } from './page-turns.ts';

/** Where a live tail is asked to begin. */
export interface AskedStart {
  /** Of the query. */
  readonly since: string | undefined;
  /** Of an event source that comes back: what it was shown last counts before what it asked for first. */
  readonly lastEventId: string | undefined;
}

export interface TailStartOptions {
  /** A valid room or pattern. */
  readonly pattern: string;
  readonly principal: Principal;
  readonly durable: DurableLane | undefined;
  readonly turns: PageTurns;
}

export type TailStart = { readonly ok: true; readonly from: FollowStart } | { readonly ok: false; readonly code: ErrorCode; readonly detail: string };

/**
 * Finds where a tail begins. A `Last-Event-ID` that is no place means nothing: hubs without a log show ids of events.
 * Codes: LOG_ABSENT, SINCE_INVALID, RECEIVE_DENIED. Rejects with the log's error.
 */
export async function findTailStart({ since, lastEventId = '' }: AskedStart, { pattern, principal, durable, turns }: TailStartOptions): Promise<TailStart> {
  const place = durable === undefined ? undefined : readPlace(lastEventId);
  if (place === undefined && since === undefined) return { ok: true, from: 'now' };
  if (durable === undefined) return { ok: false, code: 'LOG_ABSENT', detail: '' };
  const asked: Since | undefined = place ?? readSince(since ?? '');
  if (asked === undefined) return { ok: false, code: 'SINCE_INVALID', detail: `since is ${SINCE_FORMS}` };
  // Before the log is asked: how far it is, is nobody's who may not read of it.
  if (!principal.permissions.covers('receive', pattern)) return { ok: false, code: 'RECEIVE_DENIED', detail: '' };
  // To find the last so many is to read them.
  await turns.next();
  const start = await startOf(asked, { log: durable.log, workspaceId: principal.workspaceId, rooms: [pattern] });
  if (!start.ok) return start;
  return { ok: true, from: { after: start.after, ...(start.isOtherEpoch && 'seq' in asked ? { lostSeq: asked.seq } : {}) } };
}
