import { randomBytes } from 'node:crypto';

import type { EventLog } from '@carillon/log';

import type { DeadLetter } from './dead-letter.ts';
import type { PageTurns } from '../durable/page-turns.ts';
import { SYSTEM_WORKSPACES } from '../durable/system-log.ts';

/**
 * What became of dead letters stands beside them, in the room of their workspace: a mark names letters and what they are from
 * then on. Marks may come in any order and more than once: what was deleted stays so, and what was redriven is not dead.
 */
export type LetterState = 'dead' | 'redriven' | 'deleted';

interface Mark {
  readonly state: Exclude<LetterState, 'dead'>;
  readonly ids: readonly string[];
}

/** A page of marks is read in one turn. */
const PAGE_MAX_EVENTS = 1_000;
const PAGE_MAX_BYTES = 1_048_576;
const ID_BYTES = 12;

/** Marks letters of one workspace. Rejects with the log's error. */
export async function markLetters(log: EventLog, workspaceId: string, mark: Mark): Promise<void> {
  const [first = ''] = mark.ids;
  // One letter has one mark of a kind, however often it is asked for.
  const id = mark.ids.length === 1 ? `${first}-${mark.state}` : randomBytes(ID_BYTES).toString('base64url');
  await log.append({ workspaceId: SYSTEM_WORKSPACES.dead, room: workspaceId, id, atMs: Date.now(), fields: '', body: Buffer.from(JSON.stringify(mark)) });
}

/** What letters of a workspace are now. Reads the marks behind the first of them, which costs memory for one page. */
export async function statesOf(letters: readonly DeadLetter[], { log, workspaceId, turns }: { readonly log: EventLog; readonly workspaceId: string; readonly turns: PageTurns }): Promise<ReadonlyMap<string, LetterState>> {
  const states = new Map<string, LetterState>(letters.map(({ id }) => [id, 'dead']));
  if (letters.length === 0) return states;
  for (let after = Math.min(...letters.map(({ place }) => place)); ; ) {
    await turns.next();
    const page = await log.read({ workspaceId: SYSTEM_WORKSPACES.dead, rooms: [workspaceId], after, maxEvents: PAGE_MAX_EVENTS, maxBytes: PAGE_MAX_BYTES });
    for (const { body } of page.events) applyMark(states, readMark(body));
    if (page.isLast) return states;
    after = page.next;
  }
}

function applyMark(states: Map<string, LetterState>, mark: Mark | undefined): void {
  for (const id of mark?.ids ?? []) if (states.has(id) && states.get(id) !== 'deleted') states.set(id, mark?.state ?? 'dead');
}

/** Undefined for what this version did not write. */
function readMark(body: Uint8Array): Mark | undefined {
  try {
    const { state, ids } = JSON.parse(Buffer.from(body).toString('utf8')) as Partial<Mark>;
    return (state === 'redriven' || state === 'deleted') && Array.isArray(ids) ? { state, ids } : undefined;
  } catch {
    return undefined;
  }
}
