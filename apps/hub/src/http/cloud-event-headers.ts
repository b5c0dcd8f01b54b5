import type { IncomingHttpHeaders } from 'node:http';

import { parseJsonBody } from '@carillon/schemas';
import type { ErrorCode } from '@carillon/wire';

/**
 * CloudEvents in binary mode (HTTP protocol binding, §3.1): attributes are `ce-` headers, the body is the data alone and
 * `content-type` says what it is. Made into the JSON format, so that an event looks the same however it came.
 */
export type StructuredEvent =
  | { readonly ok: true; readonly bytes: Buffer }
  | { readonly ok: false; readonly code: ErrorCode; readonly detail: string };

const PREFIX = 'ce-';
/** Attribute names have lower-case letters and digits only (core specification); two are made here from the body and its type. */
const ATTRIBUTE = /^[a-z0-9]+$/;
const NOT_BY_HEADER: readonly string[] = ['data', 'datacontenttype'];
const JSON_TYPE = /^(?:application|text)\/json$|\+json$/;

const strictUtf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * Gives the event in structured form: JSON data as it came, other text as a string, everything else in base64.
 * Codes: EVENT_INVALID (a header), and of JSON data those of `parseJsonBody`.
 */
export function structuredEvent(headers: IncomingHttpHeaders, body: Buffer): StructuredEvent {
  const attributes: [string, string][] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (!name.startsWith(PREFIX) || value === undefined) continue;
    const attribute = name.slice(PREFIX.length);
    const text = decodeHeader(String(value));
    if (!ATTRIBUTE.test(attribute) || NOT_BY_HEADER.includes(attribute)) return invalid(`${name} is not an attribute`);
    if (text === undefined) return invalid(`${name} is not percent-encoded UTF-8`);
    attributes.push([attribute, text]);
  }
  const contentType = headers['content-type'];
  if (contentType !== undefined) attributes.push(['datacontenttype', contentType]);
  const head = JSON.stringify(Object.fromEntries(attributes));
  if (body.length === 0) return { ok: true, bytes: Buffer.from(head) };
  const data = dataMember(body, contentType);
  return data.ok ? { ok: true, bytes: Buffer.concat([Buffer.from(`${head.slice(0, -1)},`), data.bytes, Buffer.from('}')]) } : data;
}

/** The lower-case type without its parameters; '' for none. */
export function mediaType(contentType: string | undefined): string {
  return (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

function dataMember(body: Buffer, contentType: string | undefined): StructuredEvent {
  const type = mediaType(contentType);
  // No type stands for JSON in the JSON format (§3.1), so it does here.
  if (type === '' || JSON_TYPE.test(type)) {
    // Alone: what is put between braces unread could add attributes of its own.
    const json = parseJsonBody(body);
    return json.ok ? { ok: true, bytes: Buffer.concat([Buffer.from('"data":'), withoutMark(body)]) } : json;
  }
  const text = type.startsWith('text/') ? decodeUtf8(body) : undefined;
  return { ok: true, bytes: Buffer.from(text === undefined ? `"data_base64":"${body.toString('base64')}"` : `"data":${JSON.stringify(text)}`) };
}

/** A byte order mark may stand before a text and not inside one. */
function withoutMark(body: Buffer): Buffer {
  return body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf ? body.subarray(3) : body;
}

/** Undoes quotes and percent-encoding (§3.1.3.2); raw UTF-8, which many senders write, arrives from Node as Latin-1. */
function decodeHeader(value: string): string | undefined {
  const unquoted = /^".*"$/.test(value) && value.length > 1 ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value;
  return decodeUtf8(Buffer.from(unquoted.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))), 'latin1'));
}

function decodeUtf8(bytes: Buffer): string | undefined {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return undefined;
  }
}

function invalid(detail: string): StructuredEvent {
  return { ok: false, code: 'EVENT_INVALID', detail };
}
