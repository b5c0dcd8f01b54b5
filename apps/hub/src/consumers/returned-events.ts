import { randomBytes } from 'node:crypto';

import type { EventLog, StoredClass } from '@carillon/log';

import { encodeHeld, type HeldEvent } from '../delayed/held-event.ts';
import { SYSTEM_WORKSPACES } from '../durable/system-log.ts';

/** An event that goes to one consumer again. */
export type ReturnedEvent = HeldEvent & { readonly consumer: string };

/** Of each id that is made here. */
const ID_BYTES = 12;

/** Where the events that go to one consumer again, and to nobody else, wait for it. */
export const returnedRoom = ({ workspaceId, consumer }: Pick<ReturnedEvent, 'workspaceId' | 'consumer'>): string => `${workspaceId}/${consumer}`;

/**
 * Gives an event to one consumer again. `id` names this return: the same id twice is one; by default each call is another.
 * Rejects with the log's error.
 */
export async function returnTo(log: EventLog, held: ReturnedEvent, id = randomBytes(ID_BYTES).toString('base64url')): Promise<StoredClass> {
  const { class: stored } = await log.append({
    workspaceId: SYSTEM_WORKSPACES.returned, room: returnedRoom(held), id, atMs: Date.now(), fields: '', body: encodeHeld(held), expiresAtMs: held.expiresAtMs,
  });
  return stored;
}
