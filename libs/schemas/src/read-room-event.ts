import { roomFault, type ErrorCode } from '@carillon/wire';

import { describeFaults, faultsOf, type FieldFault } from './field-fault.ts';
import { parseJsonBody } from './json-body.ts';
import { roomEvent, type RoomEvent } from './room-event.ts';

export type ReadRoomEvent =
  | { readonly ok: true; readonly event: RoomEvent; /** The routing tag: `affected-room.roomID`. */ readonly room: string }
  | { readonly ok: false; readonly code: ErrorCode; readonly detail: string; readonly errors: readonly FieldFault[] };

/**
 * Reads the body of `POST /event` and `POST /send`: one v2 event with a room to route it by.
 * Codes: those of `parseJsonBody`, EVENT_INVALID (with a pointer a field), ROOM_NAME_INVALID.
 */
export function readRoomEvent(bytes: Uint8Array): ReadRoomEvent {
  const body = parseJsonBody(bytes);
  if (!body.ok) return { ...body, errors: [] };
  const parsed = roomEvent.safeParse(body.value);
  if (!parsed.success) {
    const errors = faultsOf(parsed.error);
    return { ok: false, code: 'EVENT_INVALID', detail: describeFaults(errors), errors };
  }
  const room = parsed.data['affected-room'].roomID ?? '';
  const fault = roomFault(room);
  if (fault !== undefined) return { ok: false, code: 'ROOM_NAME_INVALID', detail: `affected-room.roomID is ${fault}`, errors: [{ pointer: '/affected-room/roomID', detail: fault }] };
  return { ok: true, event: parsed.data, room };
}
