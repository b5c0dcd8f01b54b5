import type { ErrorCode } from './errors.ts';
import { DEFAULT_LIMITS, type WireLimits } from './limits.ts';
import { decodeRoom } from './room.ts';
import { parseTagFields, type TagFields } from './tag-line.ts';

/**
 * An event frame is `TAGLINE \n BODY`. The first line feed ends the tag line; the room ends there or at the first
 * tab (v2). The body is never parsed to route, and what follows the tag line is forwarded byte for byte: frames
 * that passed N original hops carry N extra blank lines before their JSON, which is white space to whoever reads it.
 */
const LINE_FEED = 10;
const TAB = 9;

export interface FrameParts {
  readonly room: string;
  /** Where the room ends: the first tab or the line feed. */
  readonly roomEnd: number;
  /** Offset of the line feed that ends the tag line. */
  readonly tagEnd: number;
}

export type FrameRefusal = { readonly ok: false; readonly code: Extract<ErrorCode, 'FRAME_LINE_FEED_MISSING' | 'FRAME_TOO_LARGE' | 'ROOM_NAME_INVALID' | 'TAG_LINE_INVALID'>; readonly detail: string };
export type SplitFrame = ({ readonly ok: true } & FrameParts) | FrameRefusal;

/** Which protocol a frame came in: in v1 a tab is no separator but a forbidden character. */
export type WireVersion = 1 | 2;

/**
 * Finds the room of a frame and where its tag line ends, reading no further than `tagLineMaxBytes`.
 * Codes: FRAME_TOO_LARGE, FRAME_LINE_FEED_MISSING, ROOM_NAME_INVALID, TAG_LINE_INVALID.
 */
export function splitFrame(bytes: Uint8Array, version: WireVersion, limits: WireLimits = DEFAULT_LIMITS): SplitFrame {
  if (bytes.length > limits.frameMaxBytes) return refuse('FRAME_TOO_LARGE', `${bytes.length} bytes`);
  const tagEnd = findTagEnd(bytes, limits.tagLineMaxBytes);
  if (tagEnd === -1) {
    return bytes.length > limits.tagLineMaxBytes
      ? refuse(version === 1 ? 'ROOM_NAME_INVALID' : 'TAG_LINE_INVALID', `no line feed in the first ${limits.tagLineMaxBytes} bytes`)
      : refuse('FRAME_LINE_FEED_MISSING', `${bytes.length} bytes`);
  }
  const roomEnd = version === 2 ? findRoomEnd(bytes, tagEnd) : tagEnd;
  const decoded = decodeRoom(bytes.subarray(0, roomEnd), limits.roomMaxBytes);
  if (!decoded.ok) return refuse('ROOM_NAME_INVALID', decoded.fault);
  return { ok: true, room: decoded.room, roomEnd, tagEnd };
}

function refuse(code: FrameRefusal['code'], detail: string): FrameRefusal {
  return { ok: false, code, detail };
}

/** Offset of the line feed that ends a tag line, or -1. */
export function findTagEnd(bytes: Uint8Array, tagLineMaxBytes: number): number {
  const end = Math.min(bytes.length, tagLineMaxBytes + 1);
  for (let at = 0; at < end; at += 1) if (bytes[at] === LINE_FEED) return at;
  return -1;
}

/** Offset at which the room ends within a v2 tag line. */
export function findRoomEnd(bytes: Uint8Array, tagEnd: number): number {
  for (let at = 0; at < tagEnd; at += 1) if (bytes[at] === TAB) return at;
  return tagEnd;
}

const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export type ParsedFrame =
  | { readonly ok: true; readonly room: string; readonly fields: TagFields; readonly body: Uint8Array }
  | FrameRefusal;

/** Reads a whole frame: room, v2 fields, and the body as it came (white space included). */
export function parseFrame(bytes: Uint8Array, version: WireVersion, limits: WireLimits = DEFAULT_LIMITS): ParsedFrame {
  const parts = splitFrame(bytes, version, limits);
  if (!parts.ok) return parts;
  const body = bytes.subarray(parts.tagEnd + 1);
  if (parts.roomEnd === parts.tagEnd) return { ok: true, room: parts.room, fields: {}, body };
  let text: string;
  try {
    text = strictUtf8.decode(bytes.subarray(parts.roomEnd + 1, parts.tagEnd));
  } catch {
    return refuse('TAG_LINE_INVALID', 'not UTF-8');
  }
  const parsed = parseTagFields(text);
  return parsed.ok ? { ok: true, room: parts.room, fields: parsed.fields, body } : refuse('TAG_LINE_INVALID', parsed.fault);
}

/** Builds a frame from a valid room, fields as `formatTagFields` writes them, and a body. */
export function encodeFrame(room: string, body: Uint8Array | string, fields = ''): Uint8Array {
  const tag = utf8.encode(`${room}${fields}\n`);
  const payload = typeof body === 'string' ? utf8.encode(body) : body;
  const frame = new Uint8Array(tag.length + payload.length);
  frame.set(tag, 0);
  frame.set(payload, tag.length);
  return frame;
}
