import { crc32 } from 'node:zlib';

/*
 * An outbox's record, big-endian:
 *
 *   0 length u32 │ 4 CRC-32 of all behind it u32 │ 8 key u48 │ 14 recordedAtMs u48 │ 20 eventAtMs f64 (NaN: none)
 *   28 clockOffsetMs f64 (NaN: none) │ 36 tagEnd u16 │ 38 id length u8 │ 39 digest length u8 │ 40 id │ digest │ frame
 *
 * The digest is that of room and key where only the latest of a key is kept. LMDB has no checksums of its own; the key is in the
 * record too, so that a record in another's place is found out.
 */
const HEADER_BYTES = 40;
const LENGTH_MAX = 0xff;
// Rooms are keys of a table, of which LMDB takes 1,978 bytes.
const ROOM_MAX_BYTES = 1_024;
/** What a record has besides its frame: its header, a ULID and a digest of 16 bytes. */
export const RECORD_HEAD_BYTES = HEADER_BYTES + 26 + 16;

/** What is to be sent, as it enters. */
export interface OutboxEvent {
  /** Given at entry; the same however often it is sent. */
  readonly id: string;
  /** The event's frame of the first protocol: room, line feed, body. */
  readonly frame: Uint8Array;
  /** Where the room ends within `frame`. */
  readonly tagEnd: number;
  /** When it entered, ms since 1970 on this machine's clock. */
  readonly recordedAtMs: number;
  /** When it happened, ms since 1970, if it says so. */
  readonly eventAtMs?: number | undefined;
  /** What the hub's clock was ahead of this machine's, ms, as measured when it entered. */
  readonly clockOffsetMs?: number | undefined;
}

/** An event as it is kept. Keys grow in the order in which events were appended. */
export interface OutboxRecord extends OutboxEvent {
  readonly key: number;
  readonly frame: Buffer;
}

/** Whether the id fits its length of one byte, and the room is one that a table takes. */
export function fitsOutboxRecord({ id, tagEnd, frame }: OutboxEvent): boolean {
  return id.length <= LENGTH_MAX && tagEnd > 0 && tagEnd <= ROOM_MAX_BYTES && tagEnd <= frame.length;
}

/** A record without its place: `seal` gives it one. Copies the frame. */
export function writeOutboxRecord(event: OutboxEvent, digest: Uint8Array | undefined): Buffer {
  const frameAt = HEADER_BYTES + event.id.length + (digest?.length ?? 0);
  const record = Buffer.allocUnsafe(frameAt + event.frame.length);
  record.writeUInt32BE(record.length, 0);
  record.writeUIntBE(event.recordedAtMs, 14, 6);
  record.writeDoubleBE(event.eventAtMs ?? NaN, 20);
  record.writeDoubleBE(event.clockOffsetMs ?? NaN, 28);
  record.writeUInt16BE(event.tagEnd, 36);
  record[38] = event.id.length;
  record[39] = digest?.length ?? 0;
  record.write(event.id, HEADER_BYTES, 'latin1');
  if (digest !== undefined) record.set(digest, HEADER_BYTES + event.id.length);
  record.set(event.frame, frameAt);
  return record;
}

/** Gives a record its key and its checksum. */
export function seal(record: Buffer, key: number): void {
  record.writeUIntBE(key, 8, 6);
  record.writeUInt32BE(crc32(record.subarray(8)), 4);
}

/** Reads a record, whose frame is a view of it; 'damaged' when it is not what was written. */
export function readOutboxRecord(record: Buffer, key: number): OutboxRecord | 'damaged' {
  if (!isSound(record, key)) return 'damaged';
  const idEnd = HEADER_BYTES + (record[38] ?? 0);
  const eventAtMs = record.readDoubleBE(20);
  const clockOffsetMs = record.readDoubleBE(28);
  return {
    key,
    id: record.toString('latin1', HEADER_BYTES, idEnd),
    frame: record.subarray(idEnd + (record[39] ?? 0)),
    tagEnd: record.readUInt16BE(36),
    recordedAtMs: record.readUIntBE(14, 6),
    eventAtMs: Number.isNaN(eventAtMs) ? undefined : eventAtMs,
    clockOffsetMs: Number.isNaN(clockOffsetMs) ? undefined : clockOffsetMs,
  };
}

/** What the outbox's books need of a record: its room's bytes and its digest, as views; 'damaged' as above. */
export function readOutboxPlace(record: Buffer, key: number): { readonly room: Buffer; readonly digest: Buffer | undefined } | 'damaged' {
  if (!isSound(record, key)) return 'damaged';
  const idEnd = HEADER_BYTES + (record[38] ?? 0);
  const frameAt = idEnd + (record[39] ?? 0);
  return { room: record.subarray(frameAt, frameAt + record.readUInt16BE(36)), digest: frameAt === idEnd ? undefined : record.subarray(idEnd, frameAt) };
}

function isSound(record: Buffer, key: number): boolean {
  return record.length >= HEADER_BYTES && record.readUInt32BE(0) === record.length && crc32(record.subarray(8)) === record.readUInt32BE(4) && record.readUIntBE(8, 6) === key;
}
