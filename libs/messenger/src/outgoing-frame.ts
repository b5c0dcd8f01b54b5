import { CarillonError, DEFAULT_LIMITS, encodeFrame, findTagEnd, formatTagFields, isUlid, parseTagFields, roomFault } from '@carillon/wire';
import type { RoomEvent } from './room-event.ts';

/** One event on its way out; which protocol it goes by is known only when it goes. */
export interface OutgoingEvent {
  /** The frame of v1. */
  readonly frame: Uint8Array;
  readonly id: string;
  /** What v2 puts behind the room. */
  readonly fields: string;
}

/** What the tag line of v2 says of an event. */
export interface OutgoingFields {
  readonly id: string;
  readonly ttlMs?: number | undefined;
  readonly traceparent?: string | undefined;
}

const utf8 = new TextEncoder();

/**
 * Builds the frame of a publish, with a copy of the body. Codes (thrown): ROOM_NAME_INVALID; TAG_LINE_INVALID;
 * FRAME_TOO_LARGE, because a hub would answer a larger frame with 1009, which ends the connection for good.
 */
export function outgoingEvent(room: string, body: Uint8Array | string, { id, ttlMs, traceparent }: OutgoingFields): OutgoingEvent {
  const fault = roomFault(room);
  if (fault !== undefined) throw new CarillonError('ROOM_NAME_INVALID', fault);
  const fields = formatTagFields({ id, ...(ttlMs === undefined ? {} : { ttl: ttlMs }), ...(traceparent === undefined ? {} : { tp: traceparent }) });
  // An id of our own and nothing else is as it should be; reading it again costs as much as all the rest.
  const parsed = isUlid(id) && ttlMs === undefined && traceparent === undefined ? undefined : parseTagFields(fields.slice(1));
  if (parsed?.ok === false) throw new CarillonError('TAG_LINE_INVALID', parsed.fault);
  const frame = encodeFrame(room, body);
  if (frame.length > DEFAULT_LIMITS.frameMaxBytes) throw new CarillonError('FRAME_TOO_LARGE', `${frame.length} of ${DEFAULT_LIMITS.frameMaxBytes} bytes`);
  return { frame, id, fields };
}

/** The frame of v2. */
export function taggedFrame({ frame, fields }: OutgoingEvent): Uint8Array {
  const roomEnd = findTagEnd(frame, DEFAULT_LIMITS.tagLineMaxBytes);
  const tag = utf8.encode(fields);
  const tagged = new Uint8Array(frame.length + tag.length);
  tagged.set(frame.subarray(0, roomEnd), 0);
  tagged.set(tag, roomEnd);
  tagged.set(frame.subarray(roomEnd), roomEnd + tag.length);
  return tagged;
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
