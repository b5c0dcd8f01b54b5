import type { IncomingMessage } from 'node:http';

import type { BodyReader } from '@carillon/runtime';
import { parseJsonBody } from '@carillon/schemas';
import type { ErrorCode } from '@carillon/wire';

import { Refusal } from './refusal.ts';

const REFUSALS: Readonly<Record<'too-large' | 'too-many' | 'gone', ErrorCode>> = { 'too-large': 'BODY_TOO_LARGE', 'too-many': 'OVERLOADED', gone: 'REQUEST_MALFORMED' };

/** `application/json`, with no charset but UTF-8 (RFC 8259 §11 defines none). */
const JSON_MEDIA_TYPE = /^application\/json\s*(?:;\s*charset\s*=\s*"?utf-8"?\s*)?$/i;

export interface JsonRequest {
  readonly bytes: Uint8Array;
  readonly value: unknown;
}

/**
 * Reads a request's JSON; no body at all is `{}`, so that one whose fields all have defaults may be left out.
 * Throws MEDIA_TYPE_UNSUPPORTED, BODY_TOO_LARGE, OVERLOADED, REQUEST_MALFORMED and the codes of `parseJsonBody`.
 */
export async function readJson(req: IncomingMessage, bodies: BodyReader): Promise<JsonRequest> {
  if (!hasBody(req)) return { bytes: new Uint8Array(), value: {} };
  const { 'content-type': type, 'content-encoding': encoding = 'identity' } = req.headers;
  if (type === undefined || !JSON_MEDIA_TYPE.test(type.trim())) throw new Refusal('MEDIA_TYPE_UNSUPPORTED');
  if (encoding.toLowerCase() !== 'identity') throw new Refusal('MEDIA_TYPE_UNSUPPORTED', 'a body must not be compressed');
  const body = await bodies.read(req);
  if (!body.ok) throw new Refusal(REFUSALS[body.why]);
  const json = parseJsonBody(body.bytes);
  if (!json.ok) throw new Refusal(json.code, json.code === 'JSON_INVALID' ? undefined : json.detail);
  return { bytes: body.bytes, value: json.value };
}

/** Whether a request brings a body (RFC 9112 §6). */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
}
