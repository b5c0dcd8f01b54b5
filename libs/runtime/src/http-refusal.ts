import type { IncomingMessage, ServerResponse } from 'node:http';

import { ERRORS, type ErrorCode } from '@carillon/wire';

import { sendProblem, type ProblemDetail } from './problem.ts';

/** Answers a request with a code of the catalogue, its status and title, and what was wrong this time. */
export function sendRefusal(res: ServerResponse, code: ErrorCode, more: { readonly detail?: string; readonly errors?: readonly ProblemDetail[] } = {}): void {
  const { http: status, title } = ERRORS[code];
  sendProblem(res, { code, status, title, ...more });
}

export type Body = { readonly ok: true; readonly bytes: Buffer } | { readonly ok: false; readonly code: Extract<ErrorCode, 'BODY_TOO_LARGE' | 'REQUEST_MALFORMED'> };

/**
 * Reads a request's body of at most `maxBytes`. A longer one is refused as soon as that is known, and no more of it is
 * kept; the connection then ends with the answer. REQUEST_MALFORMED: the peer hung up halfway.
 */
export async function readBody(req: IncomingMessage, maxBytes: number): Promise<Body> {
  const announced = Number(req.headers['content-length'] ?? 0);
  if (announced > maxBytes) return { ok: false, code: 'BODY_TOO_LARGE' };
  const pieces: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of req as AsyncIterable<Buffer>) {
      size += piece.length;
      if (size > maxBytes) return { ok: false, code: 'BODY_TOO_LARGE' };
      pieces.push(piece);
    }
  } catch {
    return { ok: false, code: 'REQUEST_MALFORMED' };
  }
  return { ok: true, bytes: Buffer.concat(pieces, size) };
}
