import { crc32 } from 'node:zlib';

import type { LogEvent, StoredEvent } from './event-log.ts';

/*
 * An event's record, big-endian:
 *
 *   0 length u32 │ 4 CRC-32 of all behind it u32 │ 8 workspace u32 │ 12 room u32 │ 16 prevSeq u48 │ 22 seq u48 │ 28 storedAtMs u48
 *   34 atMs f64 │ 42 expiresAtMs u48 (0: none) │ 48 id length u8 │ 49 fields length u16 │ 51 id │ fields │ body
 *
 * LMDB has no checksums of its own. The sequence is in the record too, so that a record in another's place is found out.
 */
const HEADER_BYTES = 51;
const ID_MAX_BYTES = 64;
const FIELDS_MAX_BYTES = 0xffff;

/** Whether an event fits into a record at all, whatever the configured size: ids and fields have lengths of one and two bytes. */
export function fitsRecord(event: LogEvent): boolean {
  return event.id.length <= ID_MAX_BYTES && event.fields.length * 3 <= FIELDS_MAX_BYTES;
}

/** An upper bound of a record's size, bytes. */
export function recordMaxBytes(event: LogEvent): number {
  return HEADER_BYTES + event.id.length + event.fields.length * 3 + event.body.length;
}

// What six bytes hold: the year 10889.
const EXPIRES_MAX_MS = 2 ** 48 - 1;

/** When an event expires as a record has it: a whole number; 0 for never. A time beyond all calendars is the last one there is. */
export function expiryOf({ expiresAtMs }: Pick<LogEvent, 'expiresAtMs'>): number {
  if (expiresAtMs === undefined || Number.isNaN(expiresAtMs)) return 0;
  return Math.min(Math.max(1, Math.trunc(expiresAtMs)), EXPIRES_MAX_MS);
}

/** Where a record belongs; rooms and workspaces by the numbers that the book gave them. */
export interface RecordPlace {
  readonly workspace: number;
  readonly room: number;
  readonly seq: number;
  readonly prevSeq: number;
  readonly storedAtMs: number;
}

/** Writes a record at `start` and gives its end. */
export function writeRecord(target: Buffer, start: number, event: LogEvent, place: RecordPlace): number {
  target.writeUInt32BE(place.workspace, start + 8);
  target.writeUInt32BE(place.room, start + 12);
  target.writeUIntBE(place.prevSeq, start + 16, 6);
  target.writeUIntBE(place.seq, start + 22, 6);
  target.writeUIntBE(place.storedAtMs, start + 28, 6);
  target.writeDoubleBE(event.atMs, start + 34);
  target.writeUIntBE(expiryOf(event), start + 42, 6);
  let end = start + HEADER_BYTES;
  target[start + 48] = event.id.length;
  end += target.write(event.id, end, 'latin1');
  const fieldsBytes = event.fields === '' ? 0 : target.write(event.fields, end);
  target.writeUInt16BE(fieldsBytes, start + 49);
  end += fieldsBytes;
  target.set(event.body, end);
  end += event.body.length;
  target.writeUInt32BE(end - start, start);
  target.writeUInt32BE(crc32(target.subarray(start + 8, end)), start + 4);
  return end;
}

/** The names behind the numbers in records. */
export interface RecordNames {
  roomOf(room: number): { readonly workspaceId: string; readonly name: string } | undefined;
}

/** What is at a record's beginning, unchecked: enough to see whether a reader wants it at all. */
export const roomNumberOf = (record: Buffer): number => (record.length < HEADER_BYTES ? -1 : record.readUInt32BE(12));

/**
 * Reads a record; 'damaged' when it is not what was written. `record` may be longer than its content (the store reuses buffers)
 * and is copied from.
 */
export function readRecord(record: Buffer, length: number, seq: number, names: RecordNames): StoredEvent | 'damaged' {
  if (length < HEADER_BYTES || record.readUInt32BE(0) !== length) return 'damaged';
  if (crc32(record.subarray(8, length)) !== record.readUInt32BE(4)) return 'damaged';
  const room = names.roomOf(record.readUInt32BE(12));
  const idEnd = HEADER_BYTES + (record[48] ?? 0);
  const fieldsEnd = idEnd + record.readUInt16BE(49);
  if (room === undefined || record.readUIntBE(22, 6) !== seq || fieldsEnd > length) return 'damaged';
  const expiresAtMs = record.readUIntBE(42, 6);
  return {
    workspaceId: room.workspaceId,
    room: room.name,
    id: record.toString('latin1', HEADER_BYTES, idEnd),
    atMs: record.readDoubleBE(34),
    fields: fieldsEnd === idEnd ? '' : record.toString('utf8', idEnd, fieldsEnd),
    body: copyOf(record, fieldsEnd, length),
    expiresAtMs: expiresAtMs === 0 ? undefined : expiresAtMs,
    seq,
    prevSeq: record.readUIntBE(16, 6),
    storedAtMs: record.readUIntBE(28, 6),
  };
}

function copyOf(record: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafe(end - start);
  record.copy(copy, 0, start, end);
  return copy;
}

/** Bytes of a number of an index entry. */
export const SEQ_BYTES = 6;

/** What is known of an id: where its event is, and enough to tell it from another. */
export interface IdEntry {
  readonly seq: number;
  readonly room: number;
  readonly bodyBytes: number;
  readonly bodyCrc: number;
}

export const ID_ENTRY_BYTES = 18;

export function writeIdEntry(target: Buffer, start: number, entry: IdEntry): number {
  target.writeUIntBE(entry.seq, start, 6);
  target.writeUInt32BE(entry.room, start + 6);
  target.writeUInt32BE(entry.bodyBytes, start + 10);
  target.writeUInt32BE(entry.bodyCrc, start + 14);
  return start + ID_ENTRY_BYTES;
}

export function readIdEntry(bytes: Buffer): IdEntry | undefined {
  if (bytes.length !== ID_ENTRY_BYTES) return undefined;
  return { seq: bytes.readUIntBE(0, 6), room: bytes.readUInt32BE(6), bodyBytes: bytes.readUInt32BE(10), bodyCrc: bytes.readUInt32BE(14) };
}

/** A small record of any kind as JSON behind its checksum. */
export function writeNote(value: unknown): Buffer {
  const json = Buffer.from(JSON.stringify(value), 'utf8');
  const note = Buffer.allocUnsafe(json.length + 4);
  note.writeUInt32BE(crc32(json), 0);
  json.copy(note, 4);
  return note;
}

/** Gives what `writeNote` was given, or undefined when it is damaged. */
export function readNote(note: Buffer): unknown {
  if (note.length < 4 || crc32(note.subarray(4)) !== note.readUInt32BE(0)) return undefined;
  return JSON.parse(note.toString('utf8', 4)) as unknown;
}
