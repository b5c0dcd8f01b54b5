import { parseAccessKey } from '@carillon/access';
import type { ProblemDetail } from '@carillon/runtime';
import { parseJsonBody } from '@carillon/schemas';
import type { ErrorCode } from '@carillon/wire';
import { z } from 'zod';

/** What POST /interconnect may say in a body: the key to present to the other hub. An empty body says nothing. */
export type LinkRequest =
  | { readonly ok: true; readonly accessKey: string | undefined }
  | { readonly ok: false; readonly code: ErrorCode; readonly detail?: string; readonly errors?: readonly ProblemDetail[] };

const linkRequest = z.strictObject({ accessKey: z.string().refine((key) => parseAccessKey(key) !== undefined, 'must be an access key (ck_…)').optional() });

/** Codes: BODY_INVALID_UTF8, JSON_INVALID, JSON_TOO_DEEP, JSON_KEY_FORBIDDEN, RESOURCE_INVALID. What was sent is never repeated. */
export function readLinkRequest(bytes: Uint8Array): LinkRequest {
  if (bytes.length === 0) return { ok: true, accessKey: undefined };
  const body = parseJsonBody(bytes);
  // The parser's own words may quote the text.
  if (!body.ok) return { ok: false, code: body.code };
  const read = linkRequest.safeParse(body.value);
  if (read.success) return { ok: true, accessKey: read.data.accessKey };
  const errors = read.error.issues.map(({ path, code }) => ({ pointer: path.map((piece) => `/${String(piece)}`).join(''), detail: code === 'unrecognized_keys' ? 'has fields that are not known' : 'must be an access key (ck_…)' }));
  return { ok: false, code: 'RESOURCE_INVALID', errors };
}
