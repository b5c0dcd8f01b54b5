import { CarillonError, DEFAULT_LIMITS, encodeFrame, roomFault } from '@carillon/wire';
import type { RoomEvent } from './room-event.ts';

/**
 * Builds the frame of a publish. Codes (thrown): ROOM_NAME_INVALID; FRAME_TOO_LARGE, because a hub would answer a larger
 * frame with 1009, which ends the connection for good.
 */
export function outgoingFrame(room: string, body: Uint8Array | string): Uint8Array {
  const fault = roomFault(room);
  if (fault !== undefined) throw new CarillonError('ROOM_NAME_INVALID', fault);
  const frame = encodeFrame(room, body);
  if (frame.length > DEFAULT_LIMITS.frameMaxBytes) throw new CarillonError('FRAME_TOO_LARGE', `${frame.length} of ${DEFAULT_LIMITS.frameMaxBytes} bytes`);
  return frame;
}

/** The room that an event is routed by when its publisher names none; empty, which no room is, when it has none. */
export function roomOf(event: RoomEvent): string {
  // Plain JavaScript may leave out what the type demands.
  const affected = event['affected-room'] as RoomEvent['affected-room'] | undefined;
  return affected?.roomID ?? '';
}

/** Code (thrown): EVENT_INVALID. */
export function eventJson(event: RoomEvent): string {
  try {
    return JSON.stringify(event);
  } catch (cause) {
    throw new CarillonError('EVENT_INVALID', 'not expressible as JSON', { cause });
  }
}
