/**
 * What hubs of a cluster send each other in one NATS message: the v2 frames of one room and one turn.
 *
 *   01 · (length: 4 bytes, big endian · v2 frame)*
 *
 * The first byte is the version. A frame always fits: the largest (1,000,000 bytes by default) is smaller than what
 * nats-server takes (1 MiB by default); a hub whose NATS takes less says so at start.
 */
const VERSION = 1;
const VERSION_BYTES = 1;
const LENGTH_BYTES = 4;

/** Bytes of an envelope with no frames, and what each adds to its own. */
export const ENVELOPE_BYTES = VERSION_BYTES;
export const FRAME_OVERHEAD_BYTES = LENGTH_BYTES;

export function encodeEnvelope(frames: readonly Buffer[]): Buffer {
  const size = frames.reduce((sum, frame) => sum + LENGTH_BYTES + frame.length, VERSION_BYTES);
  const target = Buffer.allocUnsafe(size);
  let at = target.writeUInt8(VERSION, 0);
  for (const frame of frames) {
    at = target.writeUInt32BE(frame.length, at);
    at += frame.copy(target, at);
  }
  return target;
}

/** The frames of an envelope, as views of it; undefined when it is malformed or of another version. */
export function decodeEnvelope(payload: Buffer): readonly Buffer[] | undefined {
  if (payload[0] !== VERSION) return undefined;
  const frames: Buffer[] = [];
  let at = VERSION_BYTES;
  while (at < payload.length) {
    if (at + LENGTH_BYTES > payload.length) return undefined;
    const start = at + LENGTH_BYTES;
    const end = start + payload.readUInt32BE(at);
    if (end > payload.length) return undefined;
    frames.push(payload.subarray(start, end));
    at = end;
  }
  return frames;
}
