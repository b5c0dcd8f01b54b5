import type { IncomingMessage, ServerResponse } from 'node:http';

import { sendRefusal, type BodyReader, type Logger, type ProblemDetail } from '@carillon/runtime';
import { CarillonError, ERRORS, patternFault, type ErrorCode, type WireLimits } from '@carillon/wire';

import type { AccessRelay } from '../access/access-relay.ts';
import type { Admission } from '../access/admission.ts';
import type { Caller } from '../access/holders.ts';
import type { HubCounts } from '../counts.ts';
import type { Workspace } from '../workspace.ts';
import type { Workspaces } from '../workspaces.ts';
import { readQuery } from './http-query.ts';
import type { AnswerWorkspaceCall } from './http-workspace-call.ts';
import type { HubStatus } from './status.ts';

/** What the hub's calls over HTTP are answered with, and from. */
export interface HttpOptions {
  readonly workspaces: Workspaces;
  readonly admission: Admission;
  readonly relay: AccessRelay;
  readonly counts: HubCounts;
  readonly limits: WireLimits;
  readonly bodies: BodyReader;
  readonly log: Logger;
  /** What is shown to callers of a workspace. */
  readonly status: (workspace: Workspace) => HubStatus;
  readonly isDraining: () => boolean;
  /** Whether the hub has as many peers as it takes. */
  readonly isFull: () => boolean;
  /** Answers for paths that are not the hub's (the standalone's page), whoever asks; false when it does not know one either. */
  readonly pages?: (req: IncomingMessage, res: ServerResponse, path: string) => boolean;
}

export interface Request {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** Percent-decoded pieces of the path that the route left open. */
  readonly args: readonly string[];
  /** Behind the question mark, as it came. */
  readonly query: string;
}

/** A request of somebody who was let in. */
export interface Call extends Request {
  readonly caller: Caller;
  /** Made on demand, and not before what the call waits for is over. */
  readonly workspace: () => Workspace;
}

export type Answer<R extends Request> = (options: HttpOptions, request: R) => void | Promise<void>;

export function sendJson(res: ServerResponse, value: unknown): void {
  send(res, JSON.stringify(value), 'application/json');
}

export function send(res: ServerResponse, body: string, contentType: string): void {
  res.writeHead(200, { 'content-type': contentType, 'content-length': Buffer.byteLength(body), 'cache-control': 'no-store' });
  res.end(body);
}

export interface Refusal {
  readonly code: ErrorCode;
  readonly detail?: string | undefined;
  readonly errors?: readonly ProblemDetail[];
}

export function refuse({ counts }: HttpOptions, res: ServerResponse, { code, detail, errors = [] }: Refusal): void {
  counts.refuse(code);
  // A body that is not going to be read must not keep the connection.
  if (hasBody(res.req) && !res.req.complete) res.setHeader('connection', 'close');
  const { http, retryable }: { readonly http: number; readonly retryable: boolean } = ERRORS[code];
  // RFC 9110 §11.6.1: who is to show credentials is told which.
  if (http === 401) res.setHeader('www-authenticate', 'Bearer');
  if (retryable && http !== 500) res.setHeader('retry-after', code === 'ACCESS_STALE' ? 1 + Math.floor(Math.random() * STALE_RETRY_MAX_S) : RATE_RETRY_S);
  sendRefusal(res, code, { ...(detail === undefined || detail === '' ? {} : { detail }), ...(errors.length === 0 ? {} : { errors }) });
}

/** Buckets of use are full again after a second. */
const RATE_RETRY_S = 1;
/** Whoever was refused while access was stale comes back spread over this. */
const STALE_RETRY_MAX_S = 5;

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
}

const BODY_REFUSALS: Readonly<Record<'too-large' | 'too-many' | 'gone', ErrorCode>> = { 'too-large': 'BODY_TOO_LARGE', 'too-many': 'OVERLOADED', gone: 'REQUEST_MALFORMED' };

/** Reads a body, or refuses; a caller whose right ended meanwhile is refused too. */
export async function readBody(options: HttpOptions, { req, res, caller }: Call): Promise<Buffer | undefined> {
  // By its slow bodies a workspace must not keep the others from sending.
  const body = await options.bodies.read(req, caller.principal.workspaceId);
  const ended = options.admission.recheck(caller);
  if (body.ok && ended === undefined) return body.bytes;
  if (!body.ok) res.setHeader('connection', 'close');
  refuse(options, res, { code: body.ok ? (ended as ErrorCode) : BODY_REFUSALS[body.why] });
  return undefined;
}

/** A call to the caller's workspace that is answered with JSON, or done without a word. */
export function answering(parameters: readonly string[], answer: AnswerWorkspaceCall): Answer<Call> {
  return async (options, call) => {
    const { req, res, args, caller, workspace } = call;
    const busy = busyCode(options);
    if (busy !== undefined) return refuse(options, res, { code: busy });
    const query = queryOf(call, parameters);
    const body = req.method === 'POST' ? await readBody(options, call) : Buffer.alloc(0);
    if (body === undefined) return;
    const reply = await answer({ workspace: workspace(), principal: caller.principal, args, query, body });
    const ended = options.admission.recheck(caller);
    if (ended !== undefined) return refuse(options, res, { code: ended });
    if (!reply.ok) return refuse(options, res, reply);
    if (reply.json !== undefined) return send(res, reply.json, 'application/json');
    res.writeHead(204);
    res.end();
  };
}

/** Throws what keeps everybody from reading a pattern now. */
export function requireReadable(options: HttpOptions, pattern: string): void {
  const busy = busyCode(options);
  if (busy !== undefined) throw new CarillonError(busy);
  const fault = patternFault(pattern, options.limits.roomMaxBytes);
  if (fault !== undefined) throw new CarillonError('PATTERN_INVALID', fault);
}

export function queryOf({ query }: Call, names: readonly string[]): ReadonlyMap<string, string> {
  const read = readQuery(query, names);
  if (read.ok) return read.values;
  throw new CarillonError(read.code, read.detail);
}

export function busyCode({ isDraining, isFull }: HttpOptions): ErrorCode | undefined {
  if (isDraining()) return 'DRAINING';
  return isFull() ? 'CONNECTIONS_EXCEEDED' : undefined;
}
