import type { ServerResponse } from 'node:http';

import { sendProblem, type Logger, type ProblemDetail } from '@carillon/runtime';
import { CarillonError, ERRORS } from '@carillon/wire';

import type { ManagerCounts } from '../counts.ts';
import { hasBody } from './body.ts';
import { Refusal } from './refusal.ts';

export interface ProblemParts {
  readonly counts: ManagerCounts;
  readonly log: Logger;
}

/**
 * Answers with whatever was thrown. A failure of ours (5xx) says nothing but a name under which the log says more; what a
 * library throws about the request itself (a path that does not decode) is REQUEST_MALFORMED.
 */
export function sendError(res: ServerResponse, { error, requestId, parts: { counts, log } }: { readonly error: unknown; readonly requestId: string; readonly parts: ProblemParts }): void {
  const refusal = asRefusal(error);
  const { code } = refusal;
  const { http: status, title } = ERRORS[code];
  counts.refuse(code);
  const isOurs = status >= 500;
  const instance = `urn:carillon:request:${requestId}`;
  if (isOurs) log[code === 'INTERNAL' ? 'error' : 'warn']({ error, requestId, code }, 'a request failed');
  // A body that is not going to be read must not keep the connection.
  if (hasBody(res.req) && !res.req.complete) res.setHeader('connection', 'close');
  if (refusal instanceof Refusal && refusal.retryAfterMs !== undefined) res.setHeader('retry-after', String(Math.max(1, Math.ceil(refusal.retryAfterMs / 1_000))));
  // RFC 9110 §11.6.1.
  if (status === 401) res.setHeader('www-authenticate', 'Bearer');
  const errors = faultsOf(refusal);
  const detail = isOurs || refusal.detail === undefined || refusal.detail === '' ? {} : { detail: refusal.detail };
  sendProblem(res, { code, status, title, instance, ...detail, ...errors });
}

/** What the store finds invalid has no place of its own: the whole (RFC 6901: the empty pointer) is what it is about. */
function faultsOf(refusal: CarillonError): { readonly errors?: readonly ProblemDetail[] } {
  if (refusal instanceof Refusal && refusal.errors.length > 0) return { errors: refusal.errors };
  return refusal.code === 'RESOURCE_INVALID' ? { errors: [{ pointer: '', detail: refusal.detail ?? ERRORS.RESOURCE_INVALID.title }] } : {};
}

function asRefusal(error: unknown): CarillonError {
  if (error instanceof CarillonError) return error;
  // Express's router: the path is not percent-encoded UTF-8.
  if (error instanceof URIError || (error instanceof Error && 'status' in error && error.status === 400)) return new Refusal('REQUEST_MALFORMED', 'the path is not percent-encoded UTF-8');
  return new CarillonError('INTERNAL', undefined, { cause: error });
}
