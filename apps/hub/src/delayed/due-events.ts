import type { EventLog } from '@carillon/log';
import { CarillonError, parseTagFields } from '@carillon/wire';

import type { HubCounts } from '../counts.ts';
import type { FireOutcome } from './delayed-scheduler.ts';
import { fieldsOf, logErrorCode, ORIGIN_FIELDS, originOf } from '../durable/durable-lane.ts';
import type { DelayedEvents } from './delayed-events.ts';
import type { HeldEvent } from './held-event.ts';
import { returnTo } from '../consumers/returned-events.ts';
import type { DelayedPublish, Origin } from '../routing/router.ts';
import { DELAY_MAX_MS } from '../durable/system-log.ts';
import type { Trail } from '../trail/trail.ts';
import type { Workspace } from '../workspace.ts';

/*
 * A publish on its way through the time that it waits: its right to be sent was decided when it came, its `at` is when it is due,
 * which `ttl` counts from, and whom it goes to is decided then.
 */

/** Keeps a publish of a durable room until it is due, and tells the publisher. */
export function holdPublish(place: { readonly workspaceId: string; readonly room: string; readonly origin: Origin }, { event, publish, delayMs }: DelayedPublish, { delayed, now }: { readonly delayed: DelayedEvents; readonly now: () => number }): void {
  const { answer, atMs = now(), id = '', ttlMs } = publish;
  const { origin, room, workspaceId } = place;
  if (delayMs > DELAY_MAX_MS) {
    answer?.refused(id, 'DELAY_INVALID', room);
    return;
  }
  const dueMs = now() + delayMs;
  const body = event.bytes.subarray(event.tagEnd + 1);
  delayed.add({ workspaceId, room, id, atMs, dueMs, fields: fieldsOf(publish) + ORIGIN_FIELDS[origin], body, expiresAtMs: ttlMs === undefined ? undefined : dueMs + ttlMs }).then(
    (stored) => answer?.published(id, { seq: 0, class: stored }),
    (error: unknown) => answer?.refused(id, logErrorCode(error), room),
  );
}

/** What becomes of an event that waited, now that it is due. */
export interface DueEventOptions {
  readonly log: EventLog;
  readonly workspace: (id: string) => Workspace;
  /** Whether a workspace was there and is not any more. */
  readonly isDeleted: (workspaceId: string) => boolean;
  readonly counts: HubCounts;
  readonly trail: Trail;
  readonly now: () => number;
}

/**
 * Gives a due event its place: its room's, as if it had been published now by whoever did, or that of the one consumer that it is
 * for. `entryId` names it in both. Rejects with the code of whatever did not take it.
 */
export async function fireDue(held: HeldEvent, entryId: string, options: DueEventOptions): Promise<FireOutcome> {
  const { consumer, expiresAtMs, id, room, workspaceId } = held;
  const { counts, isDeleted, log, now, trail } = options;
  if (isDeleted(workspaceId)) {
    trail.note(workspaceId, { kind: 'refused', id, room, code: 'RESOURCE_NOT_FOUND' });
    return 'dropped';
  }
  if (expiresAtMs !== undefined && expiresAtMs <= now()) {
    counts.drop('expired', 1);
    return 'expired';
  }
  if (consumer !== undefined) {
    await returnTo(log, { ...held, consumer }, entryId);
    return 'returned';
  }
  await publishDue(held, options);
  return 'fired';
}

/** Routed as the room is now: its policy may have changed while it waited. */
function publishDue({ body, dueMs, fields, id, room, workspaceId }: HeldEvent, { trail, workspace }: DueEventOptions): Promise<void> {
  const { router } = workspace(workspaceId);
  const parsed = parseTagFields(fields.slice(1));
  const { et, from, rt, tp, ttl } = parsed.ok ? parsed.fields : {};
  const tagEnd = Buffer.byteLength(room);
  const event = { bytes: Buffer.concat([Buffer.from(`${room}\n`), body]), roomEnd: tagEnd, tagEnd, fields: '', source: undefined, order: 0 };
  return new Promise((resolve, reject) => {
    const publish = {
      id, from, atMs: dueMs, eventAtMs: et, ttlMs: ttl, traceparent: tp, replyTo: rt,
      answer: {
        published: () => resolve(),
        refused: (_: string, code: ConstructorParameters<typeof CarillonError>[0]) => {
          trail.note(workspaceId, { kind: 'refused', id, room, code });
          reject(new CarillonError(code));
        },
      },
    };
    if (originOf(fields) === 'repeater') router.fromRepeater(room, event, publish);
    else router.fromMessenger(room, event, publish);
  });
}
