import type { ServerResponse } from 'node:http';

import { ERRORS, type ErrorCode } from '@carillon/wire';

import { sendProblem, type ProblemDetail } from './problem.ts';

/** Answers a request with a code of the catalogue, its status and title, and what was wrong this time. */
export function sendRefusal(res: ServerResponse, code: ErrorCode, more: { readonly detail?: string; readonly errors?: readonly ProblemDetail[] } = {}): void {
  const { http: status, title } = ERRORS[code];
  sendProblem(res, { code, status, title, ...more });
}
