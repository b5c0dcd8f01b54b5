import { parseJsonBody } from '@carillon/schemas';

import type { LetterState } from './dead-letter-marks.ts';
import { deleteLetter, findLetter, listLetters, redriveAll, redriveLetter, type DeadLettersDoor, type LetterQuery } from './dead-letters.ts';
import type { WorkspaceCall, WorkspaceRefusal, WorkspaceReply } from '../http/http-workspace-call.ts';
import { letterJson } from './letter-json.ts';
import { formatPlace, readPosition } from '../durable/log-position.ts';

/**
 * Dead letters over HTTP (`/dead-letters`). Whoever may receive what is in a letter sees it, whoever may send it too may redrive
 * or delete it; for everybody else it is not there.
 */
export const LETTERS_QUERY = ['consumer', 'after', 'limit', 'state'] as const;
const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 1_000;
/** Of one call. */
const REDRIVE_MAX = 1_000;
const STATES: readonly string[] = ['dead', 'redriven', 'deleted', 'all'] satisfies (LetterState | 'all')[];
const NAME = /^[0-9A-Za-z_-]{1,64}$/;
const LIMIT = /^[1-9][0-9]{0,3}$/;
const LOG_ABSENT: WorkspaceRefusal = { ok: false, code: 'LOG_ABSENT' };
const DONE: WorkspaceReply = { ok: true, json: undefined };

interface Door extends DeadLettersDoor {
  readonly epoch: string;
}

/** Letters, oldest first. Codes: LOG_ABSENT, REQUEST_MALFORMED, SINCE_INVALID. */
export async function getDeadLetters(call: WorkspaceCall): Promise<WorkspaceReply> {
  const door = doorOf(call);
  if (door === undefined) return LOG_ABSENT;
  const query = readQuery(call.query, door);
  if ('ok' in query) return query;
  const { letters, next } = await listLetters(query, door);
  return { ok: true, json: `{"items":[${letters.map(letterJson).join(',')}],"next":${JSON.stringify(placeOf(next, door))}}` };
}

/** Codes: LOG_ABSENT, DEAD_LETTER_UNKNOWN. */
export async function getDeadLetter(call: WorkspaceCall): Promise<WorkspaceReply> {
  const door = doorOf(call);
  if (door === undefined) return LOG_ABSENT;
  const found = await findLetter(call.args[0] ?? '', door);
  return found === undefined ? { ok: false, code: 'DEAD_LETTER_UNKNOWN' } : { ok: true, json: letterJson(found) };
}

/** Idempotent. Codes: LOG_ABSENT, DEAD_LETTER_UNKNOWN, CONSUMER_UNKNOWN, EVENT_TOO_LARGE. */
export async function postRedrive(call: WorkspaceCall): Promise<WorkspaceReply> {
  const door = doorOf(call);
  if (door === undefined) return LOG_ABSENT;
  const [id = ''] = call.args;
  const done = await redriveLetter(id, door);
  return done.ok ? { ok: true, json: JSON.stringify({ id, state: 'redriven' }) } : done;
}

/** Codes: LOG_ABSENT, those of JSON bodies, REQUEST_MALFORMED, SINCE_INVALID, CONSUMER_UNKNOWN. */
export async function postRedriveAll(call: WorkspaceCall): Promise<WorkspaceReply> {
  const door = doorOf(call);
  if (door === undefined) return LOG_ABSENT;
  const body = parseJsonBody(call.body);
  if (!body.ok) return body;
  const { consumer, after } = Object(body.value) as { readonly consumer?: unknown; readonly after?: unknown };
  if (typeof consumer !== 'string' || !NAME.test(consumer)) return malformed('consumer is the name of one');
  const place = after === undefined || typeof after === 'string' ? readAfter(after, door) : undefined;
  if (place === undefined) return sinceInvalid();
  const done = await redriveAll({ consumer, after: place, limit: REDRIVE_MAX }, door);
  return done.ok ? { ok: true, json: JSON.stringify({ redriven: done.redriven, next: placeOf(done.next, door) }) } : done;
}

/** Idempotent. Codes: LOG_ABSENT, DEAD_LETTER_UNKNOWN. */
export async function deleteDeadLetter(call: WorkspaceCall): Promise<WorkspaceReply> {
  const door = doorOf(call);
  if (door === undefined) return LOG_ABSENT;
  const done = await deleteLetter(call.args[0] ?? '', door);
  return done.ok ? DONE : done;
}

function doorOf({ workspace: { consumers, durable, turns }, principal }: WorkspaceCall): Door | undefined {
  return consumers === undefined || durable === undefined ? undefined : { consumers, turns, principal, epoch: durable.epoch };
}

function readQuery(values: ReadonlyMap<string, string>, door: Door): LetterQuery | WorkspaceRefusal {
  const { consumer, state = 'dead', limit = `${LIMIT_DEFAULT}` } = Object.fromEntries(values);
  if (consumer !== undefined && !NAME.test(consumer)) return malformed('consumer is the name of one');
  if (!STATES.includes(state)) return malformed(`state is one of ${STATES.join(', ')}`);
  if (!LIMIT.test(limit) || Number(limit) > LIMIT_MAX) return malformed(`limit is 1 to ${LIMIT_MAX}`);
  const after = readAfter(values.get('after'), door);
  return after === undefined ? sinceInvalid() : { consumer, state: state as LetterState | 'all', limit: Number(limit), after };
}

/** A place in a log that is no more is before all that is in this one. */
function readAfter(text: string | undefined, { epoch }: Door): number | undefined {
  if (text === undefined) return 0;
  const position = readPosition(text);
  return position?.epoch !== undefined && position.epoch !== epoch ? 0 : position?.seq;
}

function placeOf(next: number | undefined, { epoch }: Door): string | null {
  return next === undefined ? null : formatPlace(epoch, next);
}

function malformed(detail: string): WorkspaceRefusal {
  return { ok: false, code: 'REQUEST_MALFORMED', detail };
}

function sinceInvalid(): WorkspaceRefusal {
  return { ok: false, code: 'SINCE_INVALID', detail: 'after is a place (EPOCH-SEQ) or a sequence' };
}
