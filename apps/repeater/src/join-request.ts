import { roomFault, type ErrorCode } from '@carillon/wire';

import { deviceIdFault } from './device-id.ts';

/** What a request to join says: its path is `/connect/:room/:id`, percent-encoded. */
export type JoinRequest =
  | { readonly ok: true; readonly room: string; readonly id: string }
  | { readonly ok: false; readonly code: Extract<ErrorCode, 'ROUTE_NOT_FOUND' | 'ROOM_NAME_INVALID' | 'DEVICE_ID_INVALID'>; readonly detail?: string };

const JOIN_PATH = /^\/connect\/([^/]*)\/([^/]*)$/;

/** Whether a path is one that devices join at, valid or not. */
export function isJoinPath(path: string): boolean {
  return JOIN_PATH.test(path);
}

/** Reads the path of a join. */
export function readJoinPath(path: string, roomMaxBytes: number): JoinRequest {
  const match = JOIN_PATH.exec(path);
  if (match === null) return { ok: false, code: 'ROUTE_NOT_FOUND' };
  const room = decode(match[1] ?? '');
  const wrongRoom = room === undefined ? 'not-utf8' : roomFault(room, roomMaxBytes);
  if (room === undefined || wrongRoom !== undefined) return { ok: false, code: 'ROOM_NAME_INVALID', detail: wrongRoom ?? 'empty' };
  const id = decode(match[2] ?? '');
  const wrongId = id === undefined ? 'not-utf8' : deviceIdFault(id);
  if (id === undefined || wrongId !== undefined) return { ok: false, code: 'DEVICE_ID_INVALID', detail: wrongId ?? 'empty' };
  return { ok: true, room, id };
}

function decode(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}

/** The path of a request line, without query. */
export function pathOf(requestUrl: string | undefined): string {
  return (requestUrl ?? '/').split('?', 1)[0] ?? '/';
}
