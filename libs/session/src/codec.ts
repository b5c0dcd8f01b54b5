import type { Lane } from './lane.ts';

/** One event on its way out: the bytes as they came, and where its tag line's pieces are. */
export interface OutboundEvent {
  readonly bytes: Buffer;
  /** Where the room ends within `bytes`. */
  readonly roomEnd: number;
  /** Where the tag line ends within `bytes` (its line feed). */
  readonly tagEnd: number;
  /** v2 fields as `formatTagFields` writes them; empty when nobody asked for an id yet. */
  fields: string;
  /** The lane it came from, which never gets it back. */
  readonly source: Lane | undefined;
  /** Position in its batch. */
  order: number;
  /** Where a reader of server-sent events goes on after it, when the log has it. */
  readonly place?: string | undefined;
  /** Its sequence, when the log has it. */
  readonly seq?: number | undefined;
}

/**
 * How events look to a kind of peer. `size` and `write` agree: an event takes exactly `size` bytes.
 * What a shared codec wrote for one peer serves every other; a private one (masking) is written for each.
 */
export interface Codec {
  readonly name: 'v1' | 'v2' | 'v1-masked' | 'v2-masked' | 'sse';
  /** The protocol that frames of this peer are in, both ways. */
  readonly version: 1 | 2;
  readonly shared: boolean;
  size(event: OutboundEvent): number;
  /** Writes at an offset and returns the offset after it. */
  write(event: OutboundEvent, target: Buffer, at: number): number;
}

const FIN_BINARY = 0x82;
const FIN_TEXT = 0x81;
const LENGTH_16 = 126;
const LENGTH_64 = 127;
const MASKED = 0x80;

const headerBytes = (length: number): number => (length < LENGTH_16 ? 2 : length < 65_536 ? 4 : 10);

/** A text frame as it goes to a peer that was accepted. It travels in the lane, so that it keeps its place among the events. */
export function textFrame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const target = Buffer.allocUnsafe(headerBytes(length) + length);
  const at = writeHeader(target, 0, length, 0);
  target[0] = FIN_TEXT;
  target.write(text, at);
  return target;
}

/** Writes the header of a final binary frame (RFC 6455 §5.2) without its mask key. */
function writeHeader(target: Buffer, start: number, length: number, maskBit: number): number {
  let at = start;
  target[at++] = FIN_BINARY;
  if (length < LENGTH_16) {
    target[at++] = length | maskBit;
  } else if (length < 65_536) {
    target[at++] = LENGTH_16 | maskBit;
    target[at++] = length >>> 8;
    target[at++] = length & 0xff;
  } else {
    target[at++] = LENGTH_64 | maskBit;
    at = target.writeBigUInt64BE(BigInt(length), at);
  }
  return at;
}

const payloadV1 = (event: OutboundEvent): number => event.bytes.length - (event.tagEnd - event.roomEnd);
const payloadV2 = (event: OutboundEvent): number => payloadV1(event) + event.fields.length;

function writePayload(event: OutboundEvent, fields: string, target: Buffer, start: number): number {
  const { bytes, roomEnd, tagEnd } = event;
  if (fields === '' && roomEnd === tagEnd) {
    target.set(bytes, start);
    return start + bytes.length;
  }
  let at = start + bytes.copy(target, start, 0, roomEnd);
  // Fields of ours are ASCII: ids, numbers, traceparents.
  at += target.write(fields, at, 'latin1');
  return at + bytes.copy(target, at, tagEnd);
}

/** What a peer that was accepted gets: v1, the frame as the original sends it. */
export const V1: Codec = {
  name: 'v1',
  version: 1,
  shared: true,
  size: (event) => headerBytes(payloadV1(event)) + payloadV1(event),
  write: (event, target, at) => writePayload(event, '', target, writeHeader(target, at, payloadV1(event), 0)),
};

export const V2: Codec = {
  name: 'v2',
  version: 2,
  shared: true,
  size: (event) => headerBytes(payloadV2(event)) + payloadV2(event),
  write: (event, target, at) => writePayload(event, event.fields, target, writeHeader(target, at, payloadV2(event), 0)),
};

/** What a dialled peer gets: RFC 6455 §5.3 wants every frame of a dialler masked with a key of its own. */
function masked(name: 'v1-masked' | 'v2-masked', random32: () => number): Codec {
  const fieldsOf = (event: OutboundEvent): string => (name === 'v2-masked' ? event.fields : '');
  const payloadOf = (event: OutboundEvent): number => payloadV1(event) + fieldsOf(event).length;
  return {
    name,
    version: name === 'v2-masked' ? 2 : 1,
    shared: false,
    size: (event) => headerBytes(payloadOf(event)) + 4 + payloadOf(event),
    write: (event, target, start) => {
      const keyAt = writeHeader(target, start, payloadOf(event), MASKED);
      target.writeUInt32BE(random32(), keyAt);
      const from = keyAt + 4;
      const end = writePayload(event, fieldsOf(event), target, from);
      for (let at = from; at < end; at += 1) target[at] = (target[at] as number) ^ (target[keyAt + ((at - from) & 3)] as number);
      return end;
    },
  };
}

export const maskedV1 = (random32: () => number): Codec => masked('v1-masked', random32);
export const maskedV2 = (random32: () => number): Codec => masked('v2-masked', random32);

const CARRIAGE_RETURN = 13;
const LINE_FEED = 10;
const DATA = Buffer.from('data: ');

/**
 * What a live tail gets: a server-sent event whose data is the v1 frame, `ROOMID` and the JSON on lines of their own,
 * with its place in the log, or else its id when it has one. Line ends of the body become the stream's own.
 */
export const SSE: Codec = {
  name: 'sse',
  version: 1,
  shared: true,
  size: (event) => encodeSse(event).length,
  write: (event, target, at) => at + encodeSse(event).copy(target, at),
};

function encodeSse(event: OutboundEvent): Buffer {
  const { bytes, roomEnd, tagEnd } = event;
  const pieces: Buffer[] = [DATA, bytes.subarray(0, roomEnd)];
  let lineStart = tagEnd + 1;
  for (let at = lineStart; at <= bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte !== undefined && byte !== LINE_FEED && byte !== CARRIAGE_RETURN) continue;
    if (at > lineStart) pieces.push(SSE_NEXT_LINE, bytes.subarray(lineStart, at));
    lineStart = at + 1;
  }
  const id = event.place ?? /\tid=([^\t]+)/.exec(event.fields)?.[1];
  if (id !== undefined) pieces.unshift(Buffer.from(`id: ${id}\n`));
  pieces.push(SSE_END);
  return Buffer.concat(pieces);
}

const SSE_NEXT_LINE = Buffer.from('\ndata: ');
const SSE_END = Buffer.from('\n\n');

/** Several events as one buffer, in the order given. */
export function compose(events: readonly OutboundEvent[], codec: Codec): Buffer {
  let size = 0;
  for (const event of events) size += codec.size(event);
  const target = Buffer.allocUnsafe(size);
  let at = 0;
  for (const event of events) at = codec.write(event, target, at);
  return target;
}
