import { setImmediate as nextTurn } from 'node:timers/promises';

import { encodeFrame, roomFault, type ErrorCode, type WireLimits } from '@carillon/wire';

import type { HubCounts } from '../counts.ts';
import type { PublishAnswer } from '../durable/durable-lane.ts';
import type { Caller } from '../access/holders.ts';
import { readPublishBody, type PublishBody, type PublishEntry, type PublishRefusal, type ReadEvent } from './publish-body.ts';
import type { Workspace } from '../workspace.ts';

/**
 * Publishing over HTTP: every event is answered when it is stored (of a live room: when it was routed), with its place.
 * The events of a batch are taken in their order; one that is refused stops no other.
 */
export interface PublishDoor {
  readonly caller: Caller;
  /** Made on demand: one that was asked for before a wait may have been forgotten after it. */
  readonly workspace: () => Workspace;
  readonly counts: HubCounts;
  readonly limits: WireLimits;
  /** How long the events are kept before they take their place; 0: not at all. */
  readonly delayMs: number;
  /** Whether the caller's right has ended meanwhile. */
  readonly recheck: () => ErrorCode | undefined;
}

type Published = Parameters<PublishAnswer['published']>[1]['class'];

interface Stored {
  readonly ok: true;
  readonly id: string;
  readonly room: string;
  readonly class: Published;
  /** 0: it has no place, being of a live room, or none yet, being delayed. */
  readonly seq: number;
}

type Outcome = Stored | (PublishRefusal & { /** As far as it was known. */ readonly id?: string });

export type PublishReply =
  | { readonly kind: 'stored'; readonly event: Omit<Stored, 'ok'> }
  | { readonly kind: 'refused'; readonly refusal: PublishRefusal }
  /** NDJSON: a line for each event, in their order. */
  | { readonly kind: 'batch'; readonly lines: string; readonly failed: number };

/** Events that are taken in one turn of the event loop: a few milliseconds of it. */
const TURN_EVENTS = 256;

/** Publishes what a body holds. What is refused within a batch is counted here, a refusal of the whole by whoever answers with it. */
export async function publishBody(request: PublishBody, door: PublishDoor): Promise<PublishReply> {
  const body = readPublishBody(request);
  if (!body.ok) return { kind: 'refused', refusal: body };
  if (!body.isBatch) return replyToOne(await publish((body.entries[0] as PublishEntry).read(), door));
  const outcomes = await publishBatch(body.entries, door);
  const refused = outcomes.filter((outcome) => !outcome.ok);
  for (const { code } of refused) door.counts.refuse(code);
  return { kind: 'batch', lines: outcomes.map((outcome, at) => lineOf(outcome, (body.entries[at] as PublishEntry).line)).join(''), failed: refused.length };
}

function replyToOne(outcome: Outcome): PublishReply {
  if (!outcome.ok) return { kind: 'refused', refusal: outcome };
  const { id, room, class: published, seq } = outcome;
  return { kind: 'stored', event: { id, room, class: published, seq } };
}

function lineOf(outcome: Outcome, line: number): string {
  const { id } = outcome;
  return `${JSON.stringify(outcome.ok ? { line, id, class: outcome.class, seq: outcome.seq } : { line, id, code: outcome.code, detail: outcome.detail })}\n`;
}

/** All are given to the log before the first is waited for: it stores them together. */
async function publishBatch(entries: readonly PublishEntry[], door: PublishDoor): Promise<Outcome[]> {
  const outcomes: Promise<Outcome>[] = [];
  for (let at = 0; at < entries.length; at += TURN_EVENTS) {
    if (at > 0) await nextTurn();
    const ended = door.recheck();
    for (const { read } of entries.slice(at, at + TURN_EVENTS)) outcomes.push(ended === undefined ? publish(read(), door) : Promise.resolve(refused(ended)));
  }
  return Promise.all(outcomes);
}

/** Never rejects. */
function publish(read: ReadEvent, { caller, workspace, counts, limits, delayMs }: PublishDoor): Promise<Outcome> {
  if (!read.ok) return Promise.resolve(read);
  const { room, body } = read;
  const fault = roomFault(room, limits.roomMaxBytes);
  if (fault !== undefined) return Promise.resolve(refused('ROOM_NAME_INVALID', `the room is ${fault}`));
  const bytes = Buffer.from(encodeFrame(room, body).buffer);
  if (bytes.length > limits.frameMaxBytes) return Promise.resolve(refused('EVENT_TOO_LARGE', `${bytes.length} bytes`));
  const tagEnd = bytes.length - body.length - 1;
  const { intake, router, trail } = workspace();
  const refusal = intake.refusal(caller.principal, { room, bytes, bodyAt: tagEnd + 1 });
  if (refusal !== undefined) {
    trail.note(caller.principal.workspaceId, { kind: 'refused', id: read.id ?? router.nextId(), room, code: refusal.code });
    return Promise.resolve({ ok: false, ...refusal, ...(read.id === undefined ? {} : { id: read.id }) });
  }
  counts.take('http', bytes.length);
  return new Promise((resolve) => {
    router.fromMessenger(room, { bytes, roomEnd: tagEnd, tagEnd, fields: '', source: undefined, order: 0 }, {
      id: read.id ?? router.nextId(),
      delayMs,
      answer: {
        published: (id, { seq, class: published }) => resolve({ ok: true, id, room, class: published, seq }),
        refused: (id, code) => resolve({ ...refused(code), id }),
      },
    });
  });
}

function refused(code: ErrorCode, detail = ''): PublishRefusal {
  return { ok: false, code, detail };
}
