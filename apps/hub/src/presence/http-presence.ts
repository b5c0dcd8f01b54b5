import type { Principal } from '@carillon/access';
import { roomFault, type ErrorCode, type WireLimits } from '@carillon/wire';

import type { Present } from './presence-fold.ts';
import type { Presence } from './presence.ts';

/** Who is in a room (`GET /rooms/:room/presence`), in the order of their names, and who was there lately. */
export interface PresenceDoor {
  /** Names behind this one; '' from the first, and with them who was there lately. */
  readonly after: string;
  readonly room: string;
  readonly principal: Principal;
  readonly presence: Presence | undefined;
  readonly limits: WireLimits;
}

/** A page ends earlier when those on it show more of themselves than this. */
const PAGE_MAX = 1_000;
const PAGE_MAX_CHARACTERS = 524_288;

export type PresenceReply = { readonly ok: true; readonly json: string } | { readonly ok: false; readonly code: ErrorCode; readonly detail: string };

/** Codes: LOG_ABSENT, ROOM_NAME_INVALID, RECEIVE_DENIED; thrown: LOG_UNAVAILABLE, DRAINING. */
export async function readPresence({ room, after, principal, presence, limits }: PresenceDoor): Promise<PresenceReply> {
  const fault = roomFault(room, limits.roomMaxBytes);
  if (fault !== undefined) return { ok: false, code: 'ROOM_NAME_INVALID', detail: fault };
  if (presence === undefined) return { ok: false, code: 'LOG_ABSENT', detail: '' };
  if (!principal.permissions.covers('receive', room)) return { ok: false, code: 'RECEIVE_DENIED', detail: room };
  const { people, lastSeen } = await presence.look(room);
  const members: Present[] = [];
  let characters = 0;
  const behind = people.filter(({ name }) => name > after).sort((one, other) => (one.name < other.name ? -1 : 1));
  for (const { name, at, data } of behind) {
    if (members.length === PAGE_MAX || characters > PAGE_MAX_CHARACTERS) break;
    members.push({ name, at, ...(data === undefined ? {} : { data }) });
    characters += data?.length ?? 0;
  }
  const next = members.length < behind.length ? { next: members.at(-1)?.name } : {};
  return { ok: true, json: JSON.stringify({ room, members, lastSeen: after === '' ? lastSeen.map(([name, at]) => ({ name, at })) : [], ...next }) };
}
