import type { LogEvent, StoredEvent } from './event-log.ts';
import { parseLogSubject } from './jetstream-subjects.ts';

/*
 * What the body of a stored message is: what a header would say too, but a header costs 1 µs to write and more to read.
 *
 *   1 form | 1 length of the id | 4 length of the fields | 8 atMs | 8 expiresAtMs, 0 for none | id | fields | the event's body
 *
 * Room and workspace are the subject. The id is in `Nats-Msg-Id` as well, for the server's deduplication.
 */
const FORM = 1;
const HEAD_BYTES = 22;

export function encodeRecord(event: LogEvent): Uint8Array {
  const { id, fields, body } = event;
  const fieldsBytes = fields === '' ? 0 : Buffer.byteLength(fields);
  const record = Buffer.allocUnsafe(HEAD_BYTES + id.length + fieldsBytes + body.length);
  record[0] = FORM;
  record[1] = id.length;
  record.writeUInt32BE(fieldsBytes, 2);
  record.writeDoubleBE(event.atMs, 6);
  record.writeDoubleBE(event.expiresAtMs ?? 0, 14);
  record.write(id, HEAD_BYTES, 'latin1');
  if (fieldsBytes > 0) record.write(fields, HEAD_BYTES + id.length, 'utf8');
  record.set(body, HEAD_BYTES + id.length + fieldsBytes);
  return record;
}

export interface StoredPlace {
  readonly seq: number;
  readonly prevSeq: number;
  readonly storedAtMs: number;
}

/** The event of a stored message, with memory of its own; undefined: nothing that this log wrote. */
export function decodeRecord(subject: string, data: Uint8Array, { seq, prevSeq, storedAtMs }: StoredPlace): StoredEvent | undefined {
  const place = parseLogSubject(subject);
  const record = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (place === undefined || record.length < HEAD_BYTES || record[0] !== FORM) return undefined;
  const fieldsAt = HEAD_BYTES + (record[1] ?? 0);
  const bodyAt = fieldsAt + record.readUInt32BE(2);
  if (bodyAt > record.length) return undefined;
  const expiresAtMs = record.readDoubleBE(14);
  return {
    workspaceId: place.workspaceId,
    room: place.room,
    id: record.toString('latin1', HEAD_BYTES, fieldsAt),
    atMs: record.readDoubleBE(6),
    fields: fieldsAt === bodyAt ? '' : record.toString('utf8', fieldsAt, bodyAt),
    // A copy: a few bytes would otherwise hold on to a whole read of the socket.
    body: new Uint8Array(data.subarray(bodyAt)),
    ...(expiresAtMs === 0 ? {} : { expiresAtMs }),
    seq,
    prevSeq,
    storedAtMs,
  };
}
