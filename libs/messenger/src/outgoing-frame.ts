import { CarillonError, DEFAULT_LIMITS, encodeFrame, findTagEnd, formatTagFields, isUlid, parseTagFields, roomFault, type ErrorCode } from '@carillon/wire';
import type { RoomEvent } from './room-event.ts';
import type { Welcome } from './welcome.ts';

/** One event on its way out; which protocol it goes by is known only when it goes. */
export interface OutgoingEvent {
  /** The frame of v1. */
  readonly frame: Uint8Array;
  readonly id: string;
  /** What v2 puts behind the room. */
  readonly fields: string;
  /** A request: it also says where replies go, which is of the connection. */
  readonly wantsReply: boolean;
  /** Without its fields it would mean something else: why v1 cannot have it. */
  readonly plainRefusal: ErrorCode | undefined;
}

/** What the tag line of v2 says of an event. */
export interface OutgoingFields {
  readonly id: string;
  readonly ttlMs?: number | undefined;
  readonly traceparent?: string | undefined;
  readonly delayMs?: number | undefined;
  readonly wantsReply?: boolean;
  /** The inbox and the request that it is a reply to. */
  readonly replyTo?: { readonly inbox: string; readonly id: string };
}

const utf8 = new TextEncoder();

/**
 * Builds the frame of a publish, with a copy of the body. Codes (thrown): ROOM_NAME_INVALID; TAG_LINE_INVALID;
 * FRAME_TOO_LARGE, because a hub would answer a larger frame with 1009, which ends the connection for good.
 */
export function outgoingEvent(room: string, body: Uint8Array | string, options: OutgoingFields): OutgoingEvent {
  const { id, ttlMs, traceparent, delayMs, wantsReply = false, replyTo } = options;
  const fault = roomFault(room);
  if (fault !== undefined) throw new CarillonError('ROOM_NAME_INVALID', fault);
  const fields = formatTagFields({
    id,
    ...(ttlMs === undefined ? {} : { ttl: ttlMs }),
    ...(traceparent === undefined ? {} : { tp: traceparent }),
    ...(replyTo === undefined ? {} : { to: replyTo.inbox, cid: replyTo.id }),
    ...(delayMs === undefined ? {} : { delay: delayMs }),
  });
  // An id of our own and nothing else is as it should be; reading it again costs as much as all the rest.
  const parsed = isUlid(id) && fields.length === id.length + ID_OVERHEAD ? undefined : parseTagFields(fields.slice(1));
  if (parsed?.ok === false) throw new CarillonError('TAG_LINE_INVALID', parsed.fault);
  const frame = encodeFrame(room, body);
  if (frame.length > DEFAULT_LIMITS.frameMaxBytes) throw new CarillonError('FRAME_TOO_LARGE', `${frame.length} of ${DEFAULT_LIMITS.frameMaxBytes} bytes`);
  return { frame, id, fields, wantsReply, plainRefusal: plainRefusal(options) };
}

/** What `\tid=` adds to an id. */
const ID_OVERHEAD = 4;

function plainRefusal({ wantsReply, replyTo, delayMs }: OutgoingFields): ErrorCode | undefined {
  if (replyTo !== undefined) return 'REPLY_UNDELIVERABLE';
  if (wantsReply === true) return 'REPLIES_ABSENT';
  return delayMs === undefined ? undefined : 'DELAY_INVALID';
}

/** The frame for a hub, or why that cannot have it; `welcome` is what a hub of v2 said of itself. */
export function frameFor({ frame, fields, wantsReply, plainRefusal: refusal }: OutgoingEvent, welcome: Welcome | undefined): Uint8Array | CarillonError {
  if (welcome === undefined) return refusal === undefined ? frame : new CarillonError(refusal, 'the hub speaks the first protocol');
  const { inbox, limits: { frameMaxBytes } } = welcome;
  if (wantsReply && inbox === undefined) return new CarillonError('REPLIES_ABSENT');
  const tagged = tag(frame, wantsReply ? `${fields}${formatTagFields(inbox === undefined ? {} : { rt: inbox })}` : fields);
  return tagged.length > frameMaxBytes ? new CarillonError('FRAME_TOO_LARGE', `${tagged.length} of ${frameMaxBytes} bytes`) : tagged;
}

function tag(frame: Uint8Array, fields: string): Uint8Array {
  const roomEnd = findTagEnd(frame, DEFAULT_LIMITS.tagLineMaxBytes);
  const bytes = utf8.encode(fields);
  const tagged = new Uint8Array(frame.length + bytes.length);
  tagged.set(frame.subarray(0, roomEnd), 0);
  tagged.set(bytes, roomEnd);
  tagged.set(frame.subarray(roomEnd), roomEnd + bytes.length);
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
