import type { Principal } from '@carillon/access';
import type { LogPage, StoredEvent } from '@carillon/log';
import { parseJsonBody } from '@carillon/schemas';
import type { ErrorCode, GapReason } from '@carillon/wire';

import { eventAtOf, fromOf, type DurableLane } from '../durable/durable-lane.ts';
import { boundsFor, mayRead } from '../durable/event-reader.ts';
import { HISTORY_MAX, HISTORY_MAX_BYTES } from '../durable/history.ts';
import { formatPlace, readPosition } from '../durable/log-position.ts';
import type { PageTurns } from '../durable/page-turns.ts';

/** A page of what was (`GET /rooms/:room/history`): by default the newest, and within a page always oldest first. */
export interface HistoryDoor {
  /** A valid room or pattern. */
  readonly pattern: string;
  readonly principal: Principal;
  readonly durable: DurableLane | undefined;
  readonly turns: PageTurns;
}

export type HistoryReply = { readonly ok: true; readonly json: string } | HistoryRefusal;

interface HistoryRefusal {
  readonly ok: false;
  readonly code: ErrorCode;
  readonly detail: string;
}

/** The parameters of its query. */
export const HISTORY_QUERY = ['before', 'after', 'limit'] as const;
const LIMIT_DEFAULT = 100;

interface Gap {
  readonly from: number;
  readonly to: number;
  readonly reason: GapReason;
}

/** Codes: LOG_ABSENT, REQUEST_MALFORMED, SINCE_INVALID, RECEIVE_DENIED. Rejects with the log's error. */
export async function readHistory(query: ReadonlyMap<string, string>, { pattern, principal, durable, turns }: HistoryDoor): Promise<HistoryReply> {
  if (durable === undefined) return refusal('LOG_ABSENT');
  const asked = readAsked(query);
  if (!asked.ok) return asked;
  if (!principal.permissions.covers('receive', pattern)) return refusal('RECEIVE_DENIED');
  await turns.next();
  const { log } = durable;
  const { limit, direction, position } = asked;
  // The newest page lies before head + 1.
  const beyondHead = direction === 'after' ? 0 : 1;
  const { epoch, head } = position === undefined ? await log.bounds() : await boundsFor({ ...position, seq: position.seq - beyondHead }, log);
  const gaps: Gap[] = [];
  let seq = position?.seq;
  if (seq !== undefined && position?.epoch !== undefined && position.epoch !== epoch) {
    gaps.push({ from: seq + 1, to: seq + 1, reason: 'epoch' });
    seq = undefined;
  }
  const seqMax = head + beyondHead;
  if (seq !== undefined && seq > seqMax) return refusal('SINCE_INVALID', `${seq} is above ${seqMax}`);
  const ask = { workspaceId: principal.workspaceId, rooms: [pattern], maxBytes: HISTORY_MAX_BYTES };
  const page = direction === 'after'
    ? await log.read({ ...ask, after: seq ?? 0, maxEvents: limit })
    : await log.readLast({ ...ask, count: limit, ...(seq === undefined ? {} : { before: seq }) });
  const [first] = page.events;
  const next = direction === 'after' ? page.next : (first?.seq ?? 0);
  const isLast = direction === 'after' ? page.isLast : first === undefined || (await isOldest(durable, { ...ask, before: first.seq }));
  return { ok: true, json: pageJson(page, { principal, gaps, epoch, next: formatPlace(epoch, next), isLast }) };
}

type Asked = { readonly ok: true; readonly limit: number; readonly direction: 'before' | 'after'; readonly position: { readonly seq: number; readonly epoch?: string } | undefined } | HistoryRefusal;

function readAsked(query: ReadonlyMap<string, string>): Asked {
  const [before, after] = [query.get('before'), query.get('after')];
  if (before !== undefined && after !== undefined) return refusal('REQUEST_MALFORMED', 'before or after');
  const limit = query.get('limit') ?? `${LIMIT_DEFAULT}`;
  if (!/^[1-9][0-9]{0,3}$/.test(limit) || Number(limit) > HISTORY_MAX) return refusal('REQUEST_MALFORMED', `limit is 1 to ${HISTORY_MAX}`);
  const text = before ?? after;
  const position = text === undefined ? undefined : readPosition(text);
  const direction = after === undefined ? 'before' : 'after';
  if (text !== undefined && position === undefined) return refusal('SINCE_INVALID', `${direction} is a place (EPOCH-SEQ) or a sequence`);
  return { ok: true, limit: Number(limit), direction, position };
}

async function isOldest({ log }: DurableLane, ask: { readonly workspaceId: string; readonly rooms: readonly string[]; readonly before: number }): Promise<boolean> {
  return (await log.readLast({ ...ask, count: 1, maxBytes: 1 })).events.length === 0;
}

interface PageFacts {
  readonly principal: Principal;
  readonly gaps: readonly Gap[];
  readonly epoch: string;
  readonly next: string;
  readonly isLast: boolean;
}

/** Written by hand around the bodies: parsed and written anew they would not be what was sent. */
function pageJson({ events, gaps }: LogPage, { principal, gaps: more, epoch, next, isLast }: PageFacts): string {
  const due = events.filter((event) => mayRead(principal, event)).map(eventJson);
  const facts = JSON.stringify({ gaps: [...more, ...gaps], next, isLast, epoch });
  return `{"events":[${due.join(',')}],${facts.slice(1)}`;
}

const utf8 = new TextDecoder();

function eventJson({ id, seq, room, atMs, fields, body }: StoredEvent): string {
  const head = JSON.stringify({ id, seq, room, at: atMs, et: eventAtOf(fields), from: fromOf(fields) });
  const content = parseJsonBody(body).ok ? `"body":${utf8.decode(body)}` : `"base64":"${Buffer.from(body).toString('base64')}"`;
  return `${head.slice(0, -1)},${content}}`;
}

function refusal(code: ErrorCode, detail = ''): HistoryRefusal {
  return { ok: false, code, detail };
}
