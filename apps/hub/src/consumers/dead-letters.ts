import { eventNameOf, type Direction, type Principal } from '@carillon/access';
import { isUlid, type ErrorCode } from '@carillon/wire';

import type { Consumers } from './consumers.ts';
import { markLetters, statesOf, type LetterState } from './dead-letter-marks.ts';
import { deadRoom, deadRooms, readLetter, type DeadLetter } from './dead-letter.ts';
import type { PageTurns } from '../durable/page-turns.ts';
import { returnTo } from './returned-events.ts';
import { SYSTEM_WORKSPACES } from '../durable/system-log.ts';

/** The dead letters of one workspace, for those who may receive what is in them, and to be redriven or deleted by those who may send it. */
export interface DeadLettersDoor {
  readonly consumers: Consumers;
  readonly turns: PageTurns;
  readonly principal: Principal;
}

export interface ListedLetter {
  readonly letter: DeadLetter;
  readonly state: LetterState;
}

export interface LetterPage {
  readonly letters: readonly ListedLetter[];
  /** What comes next lies behind this place of the log; undefined: nothing does. */
  readonly next: number | undefined;
}

export interface LetterQuery {
  /** By default those of all. */
  readonly consumer: string | undefined;
  /** Behind this place of the log. */
  readonly after: number;
  readonly limit: number;
  /** By default the dead. */
  readonly state: LetterState | 'all';
}

type Done = { readonly ok: true } | { readonly ok: false; readonly code: ErrorCode };

/** An answer holds about so many bytes of letters, and looks at so many pages of the log: past letters of others it goes on at the next call. */
const PAGE_MAX_BYTES = 1_048_576;
const PAGES_MAX = 16;
const UNKNOWN: Done = { ok: false, code: 'DEAD_LETTER_UNKNOWN' };

/** Letters, oldest first. Rejects with the log's error, as all of these do. */
export async function listLetters(query: LetterQuery, door: DeadLettersDoor): Promise<LetterPage> {
  const letters: ListedLetter[] = [];
  let bytes = 0;
  let { after } = query;
  for (let pages = 0; pages < PAGES_MAX; pages += 1) {
    const page = await readLetters(query, after, door);
    for (const listed of page.letters) {
      if (listed.state !== query.state && query.state !== 'all') continue;
      letters.push(listed);
      bytes += listed.letter.held.body.length;
      if (letters.length === query.limit || bytes >= PAGE_MAX_BYTES) return { letters, next: listed.letter.place };
    }
    if (page.next === undefined) return { letters, next: undefined };
    after = page.next;
  }
  return { letters, next: after };
}

/** Undefined: there is none, or it is not this one's to see. */
export async function findLetter(id: string, { consumers: { parts: { log, workspaceId } }, turns, principal }: DeadLettersDoor): Promise<ListedLetter | undefined> {
  // What no letter is called is not looked for: a cluster's log may have to be read to its end for it.
  if (!isUlid(id)) return undefined;
  await turns.next();
  const event = await log.find(SYSTEM_WORKSPACES.dead, id);
  const letter = event === undefined ? undefined : readLetter(event);
  if (letter?.held.workspaceId !== workspaceId || !may(principal, 'receive', letter)) return undefined;
  return { letter, state: (await statesOf([letter], { log, workspaceId, turns })).get(id) ?? 'dead' };
}

/**
 * Gives an event to its consumer once more, its attempts beginning anew; done once, however often it is asked for.
 * Codes: DEAD_LETTER_UNKNOWN (also of one that was deleted), CONSUMER_UNKNOWN, EVENT_TOO_LARGE.
 */
export async function redriveLetter(id: string, door: DeadLettersDoor): Promise<Done> {
  const found = await findLetter(id, door);
  if (found === undefined || found.state === 'deleted' || !may(door.principal, 'send', found.letter)) return UNKNOWN;
  if (found.state === 'redriven') return { ok: true };
  if (found.letter.isCut) return { ok: false, code: 'EVENT_TOO_LARGE' };
  if (!(await hasConsumer(found.letter.held.consumer, door))) return { ok: false, code: 'CONSUMER_UNKNOWN' };
  await redrive([found.letter], door);
  return { ok: true };
}

export type RedrivenAll = { readonly ok: true; readonly redriven: number; readonly next: number | undefined } | { readonly ok: false; readonly code: ErrorCode };

/** The same for all letters of a consumer behind a place, up to a bound a call; `next` is where the next call goes on. Code: CONSUMER_UNKNOWN. */
export async function redriveAll({ consumer, after, limit }: { readonly consumer: string; readonly after: number; readonly limit: number }, door: DeadLettersDoor): Promise<RedrivenAll> {
  if (!(await hasConsumer(consumer, door))) return { ok: false, code: 'CONSUMER_UNKNOWN' };
  let redriven = 0;
  let next: number | undefined = after;
  for (let pages = 0; pages < PAGES_MAX && next !== undefined && redriven < limit; pages += 1) {
    const page: LetterPage = await readLetters({ consumer, limit: limit - redriven }, next, door);
    const due = page.letters.filter(({ letter, state }) => state === 'dead' && !letter.isCut && may(door.principal, 'send', letter)).map(({ letter }) => letter);
    if (due.length > 0) await redrive(due, door);
    redriven += due.length;
    next = page.next;
  }
  return { ok: true, redriven, next };
}

/** Takes a letter out of the listing; it goes with the log's retention. Idempotent. Code: DEAD_LETTER_UNKNOWN. */
export async function deleteLetter(id: string, door: DeadLettersDoor): Promise<Done> {
  const found = await findLetter(id, door);
  if (found === undefined || !may(door.principal, 'send', found.letter)) return UNKNOWN;
  const { log, workspaceId } = door.consumers.parts;
  if (found.state !== 'deleted') await markLetters(log, workspaceId, { state: 'deleted', ids: [id] });
  return { ok: true };
}

/** First the copies, by names of their own: between those and the mark a crash costs nothing. */
async function redrive(letters: readonly DeadLetter[], { consumers: { parts: { log, workspaceId, counts, trail } } }: DeadLettersDoor): Promise<void> {
  // It was asked for: that it has expired meanwhile does not matter.
  await Promise.all(letters.map(({ id, held }) => returnTo(log, { ...held, attempts: 0, reason: undefined, expiresAtMs: undefined }, `redrive-${id}`)));
  await markLetters(log, workspaceId, { state: 'redriven', ids: letters.map(({ id }) => id) });
  counts.consumers.outcomes.redriven += letters.length;
  for (const { held: { id, room, consumer, attempts = 0 } } of letters) trail.note(workspaceId, { kind: 'attempt', id, room, consumer, attempt: attempts, outcome: 'redriven' });
}

async function readLetters({ consumer, limit }: Pick<LetterQuery, 'consumer' | 'limit'>, after: number, { consumers: { parts: { log, workspaceId } }, turns, principal }: DeadLettersDoor): Promise<LetterPage> {
  await turns.next();
  const rooms = [consumer === undefined ? deadRooms(workspaceId) : deadRoom(workspaceId, consumer)];
  const page = await log.read({ workspaceId: SYSTEM_WORKSPACES.dead, rooms, after, maxEvents: limit, maxBytes: PAGE_MAX_BYTES });
  const letters = page.events.flatMap((event) => readLetter(event) ?? []).filter((letter) => may(principal, 'receive', letter));
  const states = await statesOf(letters, { log, workspaceId, turns });
  return { letters: letters.map((letter) => ({ letter, state: states.get(letter.id) ?? 'dead' })), next: page.isLast ? undefined : page.next };
}

async function hasConsumer(name: string, { consumers }: DeadLettersDoor): Promise<boolean> {
  return (await consumers.specs()).some((spec) => spec.name === name);
}

function may({ permissions }: Principal, direction: Direction, { held: { room, body } }: DeadLetter): boolean {
  const decision = permissions.decide(direction, room);
  return decision === 'allow' || (decision === 'by-event' && permissions.allows(direction, room, eventNameOf(body)));
}
