import type { StoredClass, StoredEvent } from '@carillon/log';
import type { ErrorCode } from '@carillon/wire';

import { fromOf, originOf } from '../durable/durable-lane.ts';
import type { WorkspaceCall, WorkspaceReply } from '../http/http-workspace-call.ts';
import { outcomesOf, type ReaderOutcome, type TrailEvent } from './trail-outcomes.ts';
import { ALIVE_MS, ENTRIES_MAX, TrailSearch, type EventLine } from './trail-search.ts';
import type { TrailLine } from './trail.ts';

/** The parameters of its query. */
export const TRAIL_QUERY = ['cursor', 'limit'] as const;
const EVENT_ID = /^[0-9A-Za-z_-]{1,64}$/;
/** Of one workspace at a time: each may hold some tens of megabytes. */
const CALLS_MAX = 8;
/** What was due so long ago and is not stored is not going to be. */
const DUE_SLACK_MS = 60_000;
const UNKNOWN = 'not stored, past retention, of a live room, or not yours to see';

/** `unknown`: nothing was found yet, and there is more to search (`next`). */
type TrailState = 'refused' | 'delayed' | 'stored' | 'expired' | 'gone' | 'unknown';

interface EventTrail {
  readonly id: string;
  readonly room?: string;
  readonly seq?: number;
  readonly state: TrailState;
  readonly class?: StoredClass;
  /** Times are ms since 1970. */
  readonly acceptedAt?: number;
  readonly storedAt?: number;
  readonly expiresAt?: number;
  readonly dueAt?: number;
  readonly from?: string | undefined;
  readonly refusals: readonly { readonly code: string; readonly from?: string | undefined; readonly hub: string; readonly at: number }[];
  readonly readers: readonly ReaderOutcome[];
  readonly attempts: readonly { readonly consumer: string; readonly member?: string | undefined; readonly attempt: number; readonly outcome: string; readonly reason?: string | undefined; readonly at: number }[];
  /** Facts that hubs could not keep around it. */
  readonly missed?: number;
  /** Some of the journal is past retention, or more than one call reads. */
  readonly truncated?: true;
  readonly next?: string;
}

/**
 * Where an event went, and why it did not: worked out when somebody asks (docs/adr/0014).
 * Codes: LOG_ABSENT, REQUEST_MALFORMED, CURSOR_INVALID, EVENT_UNKNOWN, REQUESTS_EXCEEDED. Rejects with the log's error.
 */
export async function getEventTrail(call: WorkspaceCall): Promise<WorkspaceReply> {
  const { trailReads } = call.workspace;
  if (trailReads.underWay >= CALLS_MAX) return refusal('REQUESTS_EXCEEDED', `at most ${CALLS_MAX} trails at a time`);
  trailReads.underWay += 1;
  try {
    return await readEventTrail(call);
  } finally {
    trailReads.underWay -= 1;
  }
}

async function readEventTrail({ workspace: { durable, turns }, principal, args: [id = ''], query }: WorkspaceCall): Promise<WorkspaceReply> {
  const nowMs = Date.now();
  if (durable === undefined) return refusal('LOG_ABSENT');
  if (!EVENT_ID.test(id)) return refusal('REQUEST_MALFORMED', 'an id is 1 to 64 of A-Z a-z 0-9 _ -');
  const limit = query.get('limit') ?? `${ENTRIES_MAX}`;
  if (!/^[1-9][0-9]{0,3}$/.test(limit) || Number(limit) > ENTRIES_MAX) return refusal('REQUEST_MALFORMED', `limit is 1 to ${ENTRIES_MAX}`);
  const { log } = durable;
  const { epoch } = await log.bounds();
  const cursor = readCursor(query.get('cursor'), epoch);
  if (cursor === 'invalid') return refusal('CURSOR_INVALID');
  const search = new TrailSearch({ log, workspaceId: principal.workspaceId, turns, maxEntries: Number(limit) });
  const stored = await log.find(principal.workspaceId, id);
  const searched = stored === undefined ? await searchFor(id, search, cursor) : undefined;
  const subject = stored === undefined ? subjectOfFacts(searched?.facts ?? []) : subjectOfStored(stored);
  if (subject === undefined) {
    if (searched?.isLast !== false) return refusal('EVENT_UNKNOWN', UNKNOWN);
    return reply({ id, state: 'unknown', refusals: [], readers: [], attempts: [], next: formatCursor({ way: 'back', seq: searched.at, entry: 0 }, epoch) });
  }
  if (!principal.permissions.covers('receive', subject.room)) return refusal('EVENT_UNKNOWN', UNKNOWN);
  const { seq } = subject;
  const head = { id, room: subject.room, ...(seq === undefined ? {} : { seq }), state: stateOf(subject, { isStored: stored !== undefined, nowMs }), ...(stored === undefined ? {} : { class: log.storedClass }), ...subject.times, from: subject.from };
  const known = searched?.facts ?? [];
  if (seq === undefined) return reply({ ...head, ...ofFacts(known), readers: [] });
  const event: TrailEvent = { id, room: subject.room, seq, from: subject.from, origin: subject.origin, expiresAtMs: subject.times.expiresAt };
  const around = await readAround({ event, storedAtMs: subject.times.storedAt ?? 0, from: cursor?.way === 'on' ? cursor.seq : undefined }, { search, nowMs });
  const next = around.next === undefined ? {} : { next: formatCursor({ way: 'on', seq: around.next, entry: searched?.facts[0]?.entry ?? 0 }, epoch) };
  return reply({ ...head, ...ofFacts([...known, ...around.facts]), readers: around.readers, ...around.notes, ...next });
}

/** What is known of an event itself. */
interface Subject {
  readonly room: string;
  readonly seq?: number;
  readonly from?: string | undefined;
  readonly origin: TrailEvent['origin'];
  readonly kind: 'stored' | 'delayed' | 'refused' | 'attempt';
  readonly times: { readonly acceptedAt?: number; readonly storedAt?: number; readonly expiresAt?: number; readonly dueAt?: number };
}

function subjectOfStored({ room, seq, fields, atMs, storedAtMs, expiresAtMs }: StoredEvent): Subject {
  const origin = originOf(fields);
  const times = { acceptedAt: atMs, storedAt: storedAtMs, ...(expiresAtMs === undefined ? {} : { expiresAt: expiresAtMs }) };
  return { room, seq, from: fromOf(fields), origin: origin === 'messenger-owed' ? 'messenger' : origin, kind: 'stored', times };
}

const SAYS_MOST = ['stored', 'delayed', 'refused', 'attempt'] as const;

function subjectOfFacts(facts: readonly EventLine[]): Subject | undefined {
  const fact = SAYS_MOST.flatMap((kind) => facts.filter((each) => each.kind === kind)).at(0);
  if (fact === undefined) return undefined;
  const about = { room: fact.room, origin: 'messenger', kind: fact.kind } as const;
  if (fact.kind === 'stored') return { ...about, seq: fact.seq, from: fact.from, times: { acceptedAt: fact.atMs, storedAt: fact.at, expiresAt: fact.expiresAtMs } };
  return { ...about, ...(fact.kind === 'refused' ? { from: fact.from } : {}), times: fact.kind === 'delayed' ? { dueAt: fact.dueMs } : {} };
}

function stateOf({ kind, times }: Subject, { isStored, nowMs }: { readonly isStored: boolean; readonly nowMs: number }): TrailState {
  if (isStored) return 'stored';
  if (kind === 'refused') return kind;
  if (kind === 'delayed' && (times.dueAt ?? 0) + DUE_SLACK_MS > nowMs) return kind;
  return times.expiresAt !== undefined && times.expiresAt <= nowMs ? 'expired' : 'gone';
}

interface Searched {
  readonly facts: readonly EventLine[];
  readonly at: number;
  readonly isLast: boolean;
}

/** Where the id says that it was made, then from now backwards. */
async function searchFor(id: string, search: TrailSearch, cursor: Cursor | undefined): Promise<Searched> {
  if (cursor?.way === 'on') return { facts: await search.entry(id, cursor.entry), at: 0, isLast: true };
  const facts = cursor === undefined ? await search.byTime(id) : [];
  return facts.length > 0 ? { facts, at: 0, isLast: true } : search.backwards(id, cursor?.seq);
}

interface Around {
  readonly facts: readonly TrailLine[];
  readonly readers: readonly ReaderOutcome[];
  readonly notes: Pick<EventTrail, 'missed' | 'truncated'>;
  /** There is more after this. */
  readonly next: number | undefined;
}

async function readAround({ event, storedAtMs, from }: { readonly event: TrailEvent; readonly storedAtMs: number; readonly from: number | undefined }, { search, nowMs }: { readonly search: TrailSearch; readonly nowMs: number }): Promise<Around> {
  const before = await search.before(from ?? event.seq);
  const after = await search.after(from ?? event.seq, event.id);
  const moment = await search.moment(event.seq, storedAtMs);
  const earlier = from === undefined ? await search.shortlyBefore(event.seq, event.id) : [];
  const signs = await search.signs();
  const there = new Set([...(await search.hubsBefore(event.seq, storedAtMs)), ...[...moment.facts, ...after.facts].map(({ hub }) => hub)]);
  const facts = [...before.facts, ...after.facts, ...moment.facts].sort((left, right) => left.at - right.at);
  const readers = outcomesOf({ event, facts, isAlive: (hub) => nowMs - (signs.get(hub) ?? 0) <= ALIVE_MS, wasAlive: (hub) => there.has(hub), ...(from === undefined ? {} : { about: new Set(after.facts) }) });
  const missed = [...before.facts, ...after.facts].reduce((sum, fact) => (fact.kind === 'missed' ? sum + fact.facts : sum), 0);
  const isCut = [before, after, moment].some((found) => found.isCut === true);
  return { facts: [...earlier, ...after.facts], readers, notes: { ...(missed === 0 ? {} : { missed }), ...(isCut ? { truncated: true } : {}) }, next: after.isLast ? undefined : after.at };
}

/** What is said of the event by its id, each once. */
function ofFacts(facts: readonly TrailLine[]): Pick<EventTrail, 'refusals' | 'attempts'> {
  return {
    refusals: facts.flatMap((fact) => (fact.kind === 'refused' ? [{ code: fact.code, from: fact.from, hub: fact.hub, at: fact.at }] : [])),
    attempts: facts.flatMap((fact) => (fact.kind === 'attempt' ? [{ consumer: fact.consumer, member: fact.member, attempt: fact.attempt, outcome: fact.outcome, reason: fact.reason, at: fact.at }] : [])),
  };
}

/** Where the next call goes on: with what came after, or further back in search of the event; `entry` has what was found of it. */
interface Cursor {
  readonly way: 'on' | 'back';
  readonly seq: number;
  readonly entry: number;
}

const CURSOR = /^(on|back)\.(\d{1,15})\.(\d{1,15})\.(.+)$/;

function formatCursor({ way, seq, entry }: Cursor, epoch: string): string {
  return `${way}.${seq}.${entry}.${epoch}`;
}

function readCursor(text: string | undefined, epoch: string): Cursor | undefined | 'invalid' {
  if (text === undefined) return undefined;
  const [, way, seq, entry, of] = CURSOR.exec(text) ?? [];
  return way === undefined || of !== epoch ? 'invalid' : { way: way as Cursor['way'], seq: Number(seq), entry: Number(entry) };
}

/** What it is first, then what came of it, then how much that is. */
function reply({ refusals, readers, attempts, missed, truncated, next, ...event }: EventTrail): WorkspaceReply {
  return { ok: true, json: JSON.stringify({ ...event, refusals, readers, attempts, missed, truncated, next }) };
}

function refusal(code: ErrorCode, detail = ''): WorkspaceReply {
  return { ok: false, code, detail };
}
