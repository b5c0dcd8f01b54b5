import { DEFAULT_LIMITS } from './limits.ts';

/**
 * A room is the tag that events are routed by: 1 to `roomMaxBytes` bytes of UTF-8, no control characters
 * (U+0000-U+001F, U+007F), no `*` (which belongs to patterns). The original takes any string without a line feed;
 * tab is v2's field separator, and the rest has never been seen in a room name.
 */
export type RoomFault = 'empty' | 'too-long' | 'not-utf8' | 'control-character' | 'wildcard';

const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
 
const FORBIDDEN = /[\u0000-\u001f\u007f]/;
const ASCII_ONLY = /^[\u0020-\u007e]*$/;

/** Says what is wrong with a room name, or undefined when it may be used. */
export function roomFault(room: string, roomMaxBytes = DEFAULT_LIMITS.roomMaxBytes): RoomFault | undefined {
  if (room.length === 0) return 'empty';
  if (room.length > roomMaxBytes) return 'too-long';
  if (FORBIDDEN.test(room)) return 'control-character';
  if (room.includes('*')) return 'wildcard';
  if (ASCII_ONLY.test(room)) return undefined;
  if (!room.isWellFormed()) return 'not-utf8';
  return utf8.encode(room).length > roomMaxBytes ? 'too-long' : undefined;
}

export type DecodedRoom = { readonly ok: true; readonly room: string } | { readonly ok: false; readonly fault: RoomFault };

/** Reads a room name from the bytes before a tag's end. */
export function decodeRoom(bytes: Uint8Array, roomMaxBytes = DEFAULT_LIMITS.roomMaxBytes): DecodedRoom {
  if (bytes.length > roomMaxBytes) return { ok: false, fault: 'too-long' };
  let room: string;
  try {
    room = strictUtf8.decode(bytes);
  } catch {
    return { ok: false, fault: 'not-utf8' };
  }
  const fault = roomFault(room, roomMaxBytes);
  return fault === undefined ? { ok: true, room } : { ok: false, fault };
}
