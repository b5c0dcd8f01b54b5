import { setTimeout as sleep } from 'node:timers/promises';

import { eventNameOf, type Principal } from '@carillon/access';
import type { EventLog, LogBounds, LogPage, StoredEvent } from '@carillon/log';
import type { Since } from '@carillon/wire';

import type { LogPosition } from './log-position.ts';

/** What a reader of the log may have: asked for each event, since rights change while it reads. */
export function mayRead({ permissions }: Principal, { room, body }: Pick<StoredEvent, 'room' | 'body'>): boolean {
  const decision = permissions.decide('receive', room);
  return decision === 'allow' || (decision === 'by-event' && permissions.allows('receive', room, eventNameOf(body)));
}

/** Where a reader begins, as a sequence to read after. */
export type Start =
  | { readonly ok: true; readonly after: number; /** It came with a position of a log that is no more. */ readonly isOtherEpoch: boolean }
  | { readonly ok: false; readonly code: 'SINCE_INVALID'; readonly detail: string };

export interface StartOptions {
  readonly log: EventLog;
  readonly workspaceId: string;
  readonly rooms: readonly string[];
}

/** Of `last: n` no more than this many are looked for. */
export const LAST_MAX = 10_000;
const LAST_MAX_BYTES = 67_108_864;
/** Five seconds: a server that was a leader once knows better sooner. */
const STALE_TRIES = 50;
const STALE_RETRY_MS = 100;

/** Turns what a peer asked for into a position. Rejects with the log's error. */
export async function startOf(since: Since, { log, workspaceId, rooms }: StartOptions): Promise<Start> {
  if ('seq' in since) {
    const { epoch, head } = await boundsFor(since, log);
    if (since.epoch !== undefined && since.epoch !== epoch) return { ok: true, after: 0, isOtherEpoch: true };
    return since.seq > head ? { ok: false, code: 'SINCE_INVALID', detail: `${since.seq} is above ${head}` } : { ok: true, after: since.seq, isOtherEpoch: false };
  }
  if ('at' in since) return { ok: true, after: await log.sequenceAt(since.at), isOtherEpoch: false };
  if (since.last === 0) return { ok: true, after: (await log.bounds()).head, isOtherEpoch: false };
  if (since.last > LAST_MAX) return { ok: false, code: 'SINCE_INVALID', detail: `last is at most ${LAST_MAX}` };
  const page = await log.readLast({ workspaceId, rooms, count: since.last, maxBytes: LAST_MAX_BYTES });
  return { ok: true, after: beforeFirst(page), isOtherEpoch: false };
}

/** The bounds of the log for who has this position. One of this very log was given by it: if it says that it has not come so far, it is a server of it that lags, and asked again. */
export async function boundsFor({ seq, epoch }: LogPosition, log: Pick<EventLog, 'bounds'>): Promise<LogBounds> {
  let bounds = await log.bounds();
  for (let tries = 0; tries < STALE_TRIES && epoch === bounds.epoch && seq > bounds.head; tries += 1) {
    await sleep(STALE_RETRY_MS);
    bounds = await log.bounds();
  }
  return bounds;
}

function beforeFirst({ events, next }: LogPage): number {
  const [first] = events;
  return first === undefined ? next : first.seq - 1;
}
