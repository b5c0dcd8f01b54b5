import type { ServerResponse } from 'node:http';

/** One fault of a request's body: an RFC 6901 JSON pointer to the place, and what is wrong there. */
export interface ProblemDetail {
  readonly pointer: string;
  readonly detail: string;
}

/** A refusal over HTTP as RFC 9457 has it; callers match `code`, the wording is for people. A 5xx `detail` must not show internals. */
export interface Problem {
  readonly code: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  /** Names this occurrence; the log says more under the same name. */
  readonly instance?: string;
  readonly errors?: readonly ProblemDetail[];
}

/** The media type of every problem body. */
export const PROBLEM_MEDIA_TYPE = 'application/problem+json';

/**
 * Answers with the problem as `application/problem+json`, its `type` being `urn:carillon:error:<code>`; headers set before are kept.
 * When an answer has already begun, the connection is cut instead: the peer must not take a torn answer for a whole one.
 */
export function sendProblem(res: ServerResponse, problem: Problem): void {
  if (res.headersSent) {
    res.destroy();
    return;
  }
  const { code, title, status, detail, instance, errors } = problem;
  const body = JSON.stringify({ type: `urn:carillon:error:${code}`, title, status, detail, instance, code, errors });
  res.writeHead(status, { 'content-type': PROBLEM_MEDIA_TYPE, 'content-length': Buffer.byteLength(body), 'cache-control': 'no-store' });
  res.end(body);
}
