import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

import { parseJsonBody, readCloudEvent, readRoomEvent, type FieldFault } from '@carillon/schemas';
import type { ErrorCode } from '@carillon/wire';

import { mediaType, structuredEvent } from './cloud-event-headers.ts';
import { splitJsonArray } from './json-array.ts';

/** What a body of `POST /events` holds: one event or a batch of them, by its content type (docs/http.md has the table). */
export interface PublishBody {
  readonly headers: IncomingHttpHeaders;
  /** Named by the query: the room of all of it, whatever the events say, which may then be any JSON. */
  readonly room: string | undefined;
  readonly body: Buffer;
}

export interface PublishRefusal {
  readonly ok: false;
  readonly code: ErrorCode;
  readonly detail: string;
  readonly errors?: readonly FieldFault[];
}

/** An event that is to be published; its room is not checked yet. */
export type ReadEvent = { readonly ok: true; readonly room: string; /** None: the hub makes one. */ readonly id: string | undefined; readonly body: Uint8Array } | PublishRefusal;

/** An event of a body, read when it is its turn: a long batch must not keep the hub from everything else. */
export interface PublishEntry {
  /** Of a batch, counted from 1, lines without anything included. */
  readonly line: number;
  readonly read: () => ReadEvent;
}

export type ReadBody = { readonly ok: true; readonly isBatch: boolean; readonly entries: readonly PublishEntry[] } | PublishRefusal;

export const BATCH_MAX_EVENTS = 10_000;
/** Where a caller names an event, or a batch whose events then have the name, `-` and their line. */
export const EVENT_ID_HEADER = 'carillon-event-id';

const EVENT_ID = /^[0-9A-Za-z_-]{1,64}$/;
/** The last two are what curl and `fetch` say of a body when they are told nothing. */
const JSON_TYPES: readonly string[] = ['', 'application/json', 'application/x-www-form-urlencoded', 'text/plain'];
const TAKEN = 'application/json, application/x-ndjson, application/cloudevents+json, application/cloudevents-batch+json, or a CloudEvent in ce- headers';

/** Codes: MEDIA_TYPE_UNSUPPORTED, REQUEST_MALFORMED (the id), BODY_TOO_LARGE (too many events), and of a CloudEvents batch those of `parseJsonBody` and EVENT_INVALID. */
export function readPublishBody({ headers, room, body }: PublishBody): ReadBody {
  const id = headers[EVENT_ID_HEADER];
  if (id !== undefined && !(typeof id === 'string' && EVENT_ID.test(id))) return refusal('REQUEST_MALFORMED', 'Carillon-Event-Id is 1 to 64 of A-Z a-z 0-9 _ -');
  const one = (read: () => ReadEvent): ReadBody => ({ ok: true, isBatch: false, entries: [{ line: 1, read }] });
  const type = mediaType(headers['content-type']);
  if (type === 'application/cloudevents+json') return one(() => readStructured(body, { room, id }));
  if (type === 'application/cloudevents-batch+json') return readCloudBatch(body, room);
  // Other formats of CloudEvents are no data of an event in headers either (HTTP protocol binding, §3).
  if (type.startsWith('application/cloudevents')) return refusal('MEDIA_TYPE_UNSUPPORTED', TAKEN);
  if (headers['ce-specversion'] !== undefined) return one(() => readBinary({ headers, room, body }, id));
  if (type === 'application/x-ndjson') return readLines(body, { room, id });
  return JSON_TYPES.includes(type) ? one(() => readPlain(body, { room, id })) : refusal('MEDIA_TYPE_UNSUPPORTED', TAKEN);
}

interface Named {
  readonly room: string | undefined;
  readonly id: string | undefined;
}

function readPlain(body: Uint8Array, { room, id }: Named): ReadEvent {
  if (room === undefined) {
    const event = readRoomEvent(body);
    return event.ok ? { ok: true, room: event.room, id, body } : event;
  }
  const json = parseJsonBody(body);
  return json.ok ? { ok: true, room, id, body } : json;
}

function readStructured(body: Uint8Array, named: Named): ReadEvent {
  const read = readCloudEvent(body);
  if (!read.ok) return read;
  const room = named.room ?? read.room;
  if (room === undefined) return refusal('ROOM_NAME_INVALID', 'the event has neither the attribute room nor a subject');
  return { ok: true, room, id: named.id ?? cloudEventId(read.event), body };
}

function readBinary({ headers, room, body }: PublishBody, id: string | undefined): ReadEvent {
  const structured = structuredEvent(headers, body);
  return structured.ok ? readStructured(structured.bytes, { room, id }) : structured;
}

/** By what makes a CloudEvent unique, so that it is the same when it is sent again and another's `1` is another event. */
function cloudEventId({ source, id }: { readonly source: string; readonly id: string }): string {
  return createHash('sha256').update(`${source}\n${id}`).digest('base64url');
}

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

function readLines(body: Buffer, { room, id }: Named): ReadBody {
  const entries: PublishEntry[] = [];
  let line = 0;
  for (let from = 0; from < body.length;) {
    const end = body.indexOf(LINE_FEED, from);
    const to = end === -1 ? body.length : end;
    const bytes = body.subarray(from, body[to - 1] === CARRIAGE_RETURN && to > from ? to - 1 : to);
    from = to + 1;
    line += 1;
    if (bytes.length === 0) continue;
    if (entries.length >= BATCH_MAX_EVENTS) return tooMany();
    const own = id === undefined ? undefined : `${id}-${line}`;
    if (own !== undefined && !EVENT_ID.test(own)) return refusal('REQUEST_MALFORMED', `Carillon-Event-Id is too long for ${own.slice(-6)} behind it`);
    entries.push({ line, read: () => readPlain(bytes, { room, id: own }) });
  }
  return { ok: true, isBatch: true, entries };
}

function readCloudBatch(body: Buffer, room: string | undefined): ReadBody {
  const json = parseJsonBody(body);
  if (!json.ok) return json;
  if (!Array.isArray(json.value)) return refusal('EVENT_INVALID', 'a CloudEvents batch is a list');
  if (json.value.length > BATCH_MAX_EVENTS) return tooMany();
  return { ok: true, isBatch: true, entries: splitJsonArray(body).map((bytes, at) => ({ line: at + 1, read: () => readStructured(bytes, { room, id: undefined }) })) };
}

function tooMany(): PublishRefusal {
  return refusal('BODY_TOO_LARGE', `at most ${BATCH_MAX_EVENTS} events`);
}

function refusal(code: ErrorCode, detail: string): PublishRefusal {
  return { ok: false, code, detail };
}
