import type { IncomingMessage, ServerResponse } from 'node:http';

import { LOG_LEVELS, sendRefusal, type BodyReader, type Logger, type LogLevel, type ProblemDetail } from '@carillon/runtime';
import { DEFAULT_WORKSPACE_ID, KEY_KINDS, readRoomEvent, type KeyKind } from '@carillon/schemas';
import { CarillonError, encodeFrame, ERRORS, patternFault, roomFault, type ErrorCode, type WireLimits } from '@carillon/wire';

import type { AccessRelay } from './access-relay.ts';
import type { Admission, ReadRequest } from './admission.ts';
import type { HubCounts } from './counts.ts';
import { logErrorCode } from './durable-lane.ts';
import type { Caller } from './holders.ts';
import { CONSUMERS_QUERY, deleteConsumer, getConsumers } from './http-consumers.ts';
import { deleteDeadLetter, getDeadLetter, getDeadLetters, LETTERS_QUERY, postRedrive, postRedriveAll } from './http-dead-letters.ts';
import { HISTORY_QUERY, readHistory } from './http-history.ts';
import { readPresence } from './http-presence.ts';
import { publishBody } from './http-publish.ts';
import { readQuery } from './http-query.ts';
import { getEventTrail, TRAIL_QUERY } from './http-trail.ts';
import type { AnswerWorkspaceCall } from './http-workspace-call.ts';
import { readLinkRequest } from './link-request.ts';
import type { HubStatus } from './status.ts';
import { findTailStart } from './tail-start.ts';
import type { Workspace } from './workspace.ts';
import type { Workspaces } from './workspaces.ts';

/**
 * The hub's calls over HTTP. A plain table on `node:http`: publishing must cost little more than the event itself, and
 * there is nothing here that a framework would do for us (docs/adr/0004).
 */
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

interface Request {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** Percent-decoded pieces of the path that the route left open. */
  readonly args: readonly string[];
  /** Behind the question mark, as it came. */
  readonly query: string;
}

/** A request of somebody who was let in. */
interface Call extends Request {
  readonly caller: Caller;
  /** Made on demand, and not before what the call waits for is over. */
  readonly workspace: () => Workspace;
}

type Answer<R extends Request> = (options: HttpOptions, request: R) => void | Promise<void>;

interface PublicRoute {
  readonly path: RegExp;
  readonly kinds?: undefined;
  readonly methods: Readonly<Record<string, Answer<Request>>>;
}

interface KeyedRoute {
  readonly path: RegExp;
  /** Kinds of keys that open it; the first is what somebody without a key counts as. */
  readonly kinds: readonly [KeyKind, ...KeyKind[]];
  readonly methods: Readonly<Record<string, Answer<Call>>>;
}

const SENDERS = ['messenger', 'service'] as const;
const LINKS = ['hub-link'] as const;

const ROUTES: readonly (PublicRoute | KeyedRoute)[] = [
  { path: /^\/event$/, kinds: SENDERS, methods: { POST: postEvent } },
  { path: /^\/events$/, kinds: SENDERS, methods: { POST: postEvents } },
  { path: /^\/rooms\/([^/]+)\/events$/, kinds: SENDERS, methods: { GET: getRoomEvents } },
  { path: /^\/rooms\/([^/]+)\/history$/, kinds: SENDERS, methods: { GET: getRoomHistory } },
  { path: /^\/rooms\/([^/]+)\/presence$/, kinds: SENDERS, methods: { GET: getRoomPresence } },
  { path: /^\/events\/([^/]+)\/trail$/, kinds: SENDERS, methods: { GET: answering(TRAIL_QUERY, getEventTrail) } },
  { path: /^\/consumers$/, kinds: SENDERS, methods: { GET: answering(CONSUMERS_QUERY, getConsumers) } },
  { path: /^\/consumers\/([^/]+)$/, kinds: SENDERS, methods: { DELETE: answering([], deleteConsumer) } },
  { path: /^\/dead-letters$/, kinds: SENDERS, methods: { GET: answering(LETTERS_QUERY, getDeadLetters) } },
  { path: /^\/dead-letters\/redrive$/, kinds: SENDERS, methods: { POST: answering([], postRedriveAll) } },
  { path: /^\/dead-letters\/([^/]+)$/, kinds: SENDERS, methods: { GET: answering([], getDeadLetter), DELETE: answering([], deleteDeadLetter) } },
  { path: /^\/dead-letters\/([^/]+)\/redrive$/, kinds: SENDERS, methods: { POST: answering([], postRedrive) } },
  { path: /^\/access\/feed$/, kinds: ['repeater'], methods: { GET: getAccessFeed } },
  { path: /^\/interconnect$/, kinds: LINKS, methods: { GET: (_options, { res, workspace }) => sendJson(res, { links: workspace().links.list() }) } },
  { path: /^\/interconnect\/(.+)$/, kinds: LINKS, methods: { POST: postInterconnect, DELETE: deleteInterconnect } },
  { path: /^\/status$/, kinds: KEY_KINDS, methods: { GET: (options, { res, workspace }) => sendJson(res, options.status(workspace())) } },
  { path: /^\/log-level$/, kinds: LINKS, methods: { GET: getLogLevel } },
  { path: /^\/log-level\/([^/]+)$/, kinds: LINKS, methods: { PUT: putLogLevel } },
  { path: /^\/health$/, methods: { GET: (options, { res }) => sendJson(res, options.isDraining() ? 'draining' : 'healthy') } },
  { path: /^\/connect\/[^/]+$/, methods: { GET: refuseWithoutUpgrade } },
];

/** Answers one request. */
export async function answerHttp(options: HttpOptions, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const read = options.admission.read(req);
  // A key that cannot be read leaves the address as it came: what is public is answered all the same.
  const url = read.ok ? read.url : (req.url ?? '/');
  const path = url.split('?', 1)[0] as string;
  try {
    const route = ROUTES.find((each) => each.path.test(path));
    if (route === undefined) {
      if (!options.admission.isPageAllowed(req.headers)) refuse(options, res, { code: 'ORIGIN_REFUSED' });
      else if (options.pages?.(req, res, path) !== true) refuse(options, res, { code: read.ok ? 'ROUTE_NOT_FOUND' : read.code });
    } else {
      await answerRoute(options, route, { req, res, path, query: url.slice(path.length + 1), read });
    }
  } catch (error) {
    const { code, detail } = error instanceof CarillonError ? error : { code: logErrorCode(error), detail: undefined };
    if (code === 'INTERNAL') options.log.error({ error, path: read.ok ? path.slice(0, 128) : '' }, 'request failed');
    refuse(options, res, { code, detail });
  }
}

interface Matched {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly path: string;
  readonly query: string;
  readonly read: ReadRequest;
}

async function answerRoute(options: HttpOptions, route: PublicRoute | KeyedRoute, { req, res, path, query, read }: Matched): Promise<void> {
  if (!Object.hasOwn(route.methods, req.method ?? '')) {
    res.setHeader('allow', Object.keys(route.methods).join(', '));
    refuse(options, res, { code: 'METHOD_NOT_ALLOWED' });
    return;
  }
  const caller = admit(options, { req, read, kinds: route.kinds });
  if (!caller.ok) {
    refuse(options, res, caller);
    return;
  }
  const args = (route.path.exec(path) ?? []).slice(1).map(decodePiece);
  if (args.includes(undefined)) {
    refuse(options, res, { code: 'REQUEST_MALFORMED', detail: 'the path is not percent-encoded UTF-8' });
    return;
  }
  const request: Request = { req, res, args: args as string[], query };
  if (route.kinds === undefined || caller.caller === undefined) await (route as PublicRoute).methods[req.method ?? '']?.(options, request);
  else await route.methods[req.method ?? '']?.(options, { ...request, caller: caller.caller, workspace: workspaceOf(options, caller.caller) });
}

type Admittance = { readonly ok: true; readonly caller: Caller | undefined } | ({ readonly ok: false } & Refusal);

function admit({ admission }: HttpOptions, { req, read, kinds }: { readonly req: IncomingMessage; readonly read: ReadRequest; readonly kinds: KeyedRoute['kinds'] | undefined }): Admittance {
  if (kinds === undefined) return admission.isPageAllowed(req.headers) ? { ok: true, caller: undefined } : { ok: false, code: 'ORIGIN_REFUSED' };
  return read.ok ? admission.admit(req, read.key, kinds) : read;
}

function workspaceOf({ workspaces }: HttpOptions, { principal }: Caller): () => Workspace {
  return () => workspaces.of(principal.workspaceId);
}

function decodePiece(piece: string): string | undefined {
  try {
    return decodeURIComponent(piece);
  } catch {
    return undefined;
  }
}

function sendJson(res: ServerResponse, value: unknown): void {
  send(res, JSON.stringify(value), 'application/json');
}

function send(res: ServerResponse, body: string, contentType: string): void {
  res.writeHead(200, { 'content-type': contentType, 'content-length': Buffer.byteLength(body), 'cache-control': 'no-store' });
  res.end(body);
}

interface Refusal {
  readonly code: ErrorCode;
  readonly detail?: string | undefined;
  readonly errors?: readonly ProblemDetail[];
}

function refuse({ counts }: HttpOptions, res: ServerResponse, { code, detail, errors = [] }: Refusal): void {
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
async function readBody(options: HttpOptions, { req, res, caller }: Call): Promise<Buffer | undefined> {
  // By its slow bodies a workspace must not keep the others from sending.
  const body = await options.bodies.read(req, caller.principal.workspaceId);
  const ended = options.admission.recheck(caller);
  if (body.ok && ended === undefined) return body.bytes;
  if (!body.ok) res.setHeader('connection', 'close');
  refuse(options, res, { code: body.ok ? (ended as ErrorCode) : BODY_REFUSALS[body.why] });
  return undefined;
}

async function postEvent(options: HttpOptions, call: Call): Promise<void> {
  const { res, caller } = call;
  const body = await readBody(options, call);
  if (body === undefined) return;
  const read = readRoomEvent(body);
  if (!read.ok) {
    refuse(options, res, read);
    return;
  }
  const fault = roomFault(read.room, options.limits.roomMaxBytes);
  if (fault !== undefined) {
    refuse(options, res, { code: 'ROOM_NAME_INVALID', detail: `affected-room.roomID is ${fault}` });
    return;
  }
  const bytes = Buffer.from(encodeFrame(read.room, body).buffer);
  const tagEnd = Buffer.byteLength(read.room);
  const { intake, router, trail } = call.workspace();
  const refusal = intake.refusal(caller.principal, { room: read.room, bytes, bodyAt: tagEnd + 1 });
  if (refusal !== undefined) {
    const refused = { id: router.nextId(), room: read.room, code: refusal.code };
    trail.note(caller.principal.workspaceId, { kind: 'refused', ...refused });
    options.log.debug(refused, 'event refused');
    refuse(options, res, refusal);
    return;
  }
  options.counts.take('http', bytes.length);
  router.fromMessenger(read.room, { bytes, roomEnd: tagEnd, tagEnd, fields: '', source: undefined, order: 0 });
  res.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
  res.end('Processing event');
}

async function postEvents(options: HttpOptions, call: Call): Promise<void> {
  const { req, res, caller, workspace } = call;
  const { admission, counts, limits } = options;
  const query = queryOf(call, ['room', 'delay']);
  const room = query.get('room');
  const delayMs = readDelay(query.get('delay'));
  if (delayMs === undefined) {
    refuse(options, res, { code: 'DELAY_INVALID', detail: 'delay is a whole number of milliseconds' });
    return;
  }
  const body = await readBody(options, call);
  if (body === undefined) return;
  const reply = await publishBody({ headers: req.headers, room, body }, { caller, workspace, counts, limits, delayMs, recheck: () => admission.recheck(caller) });
  switch (reply.kind) {
    case 'refused':
      return refuse(options, res, reply.refusal);
    case 'stored':
      return sendJson(res, reply.event);
    case 'batch':
      // In the head: whoever has sent thousands need not look at each line.
      res.setHeader('carillon-failed', reply.failed);
      return send(res, reply.lines, 'application/x-ndjson');
    default:
      return reply satisfies never;
  }
}

function readDelay(text = '0'): number | undefined {
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

async function getRoomEvents(options: HttpOptions, call: Call): Promise<void> {
  const { req, res, args: [pattern = ''], caller, workspace } = call;
  requireReadable(options, pattern);
  const asked = { since: queryOf(call, ['since']).get('since'), lastEventId: req.headers['last-event-id']?.toString() };
  const { durable, turns } = workspace();
  const start = await findTailStart(asked, { pattern, principal: caller.principal, durable, turns });
  // Nobody would hear that it is closed.
  if (res.destroyed) return;
  const ended = options.admission.recheck(caller) ?? busyCode(options);
  if (ended !== undefined) return refuse(options, res, { code: ended });
  if (!start.ok) return refuse(options, res, start);
  const refused = workspace().tails.open({ pattern, caller, response: res, from: start.from });
  if (refused !== undefined) refuse(options, res, { code: refused });
}

async function getRoomHistory(options: HttpOptions, call: Call): Promise<void> {
  const { res, args: [pattern = ''], caller, workspace } = call;
  requireReadable(options, pattern);
  const { durable, turns } = workspace();
  const reply = await readHistory(queryOf(call, HISTORY_QUERY), { pattern, principal: caller.principal, durable, turns });
  const ended = options.admission.recheck(caller);
  if (ended !== undefined) refuse(options, res, { code: ended });
  else if (reply.ok) send(res, reply.json, 'application/json');
  else refuse(options, res, reply);
}

async function getRoomPresence(options: HttpOptions, call: Call): Promise<void> {
  const { res, args: [room = ''], caller, workspace } = call;
  const busy = busyCode(options);
  if (busy !== undefined) return refuse(options, res, { code: busy });
  const reply = await readPresence({ room, after: queryOf(call, ['after']).get('after') ?? '', principal: caller.principal, presence: workspace().presence, limits: options.limits });
  const ended = options.admission.recheck(caller);
  if (ended !== undefined) refuse(options, res, { code: ended });
  else if (reply.ok) send(res, reply.json, 'application/json');
  else refuse(options, res, reply);
}

/** A call to the caller's workspace that is answered with JSON, or done without a word. */
function answering(parameters: readonly string[], answer: AnswerWorkspaceCall): Answer<Call> {
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
function requireReadable(options: HttpOptions, pattern: string): void {
  const busy = busyCode(options);
  if (busy !== undefined) throw new CarillonError(busy);
  const fault = patternFault(pattern, options.limits.roomMaxBytes);
  if (fault !== undefined) throw new CarillonError('PATTERN_INVALID', fault);
}

function queryOf({ query }: Call, names: readonly string[]): ReadonlyMap<string, string> {
  const read = readQuery(query, names);
  if (read.ok) return read.values;
  throw new CarillonError(read.code, read.detail);
}

function getAccessFeed(options: HttpOptions, { res, caller }: Call): void {
  const busy = busyCode(options);
  const refused = busy ?? options.relay.open(res, caller);
  if (refused !== undefined) refuse(options, res, { code: refused });
}

function busyCode({ isDraining, isFull }: HttpOptions): ErrorCode | undefined {
  if (isDraining()) return 'DRAINING';
  return isFull() ? 'CONNECTIONS_EXCEEDED' : undefined;
}

async function postInterconnect(options: HttpOptions, call: Call): Promise<void> {
  const body = await readBody(options, call);
  if (body === undefined) return;
  const request = readLinkRequest(body);
  if (!request.ok) {
    refuse(options, call.res, request);
    return;
  }
  sendJson(call.res, await call.workspace().links.add(call.args[0] ?? '', { caller: call.caller, accessKey: request.accessKey }));
}

async function deleteInterconnect(_options: HttpOptions, { res, args: [address = ''], workspace }: Call): Promise<void> {
  await workspace().links.remove(address);
  res.writeHead(204);
  res.end();
}

/** A 426 says what to upgrade to (RFC 9110 §15.5.22). */
function refuseWithoutUpgrade(options: HttpOptions, { res }: Request): void {
  res.setHeader('upgrade', 'websocket');
  res.setHeader('connection', 'upgrade');
  refuse(options, res, { code: 'UPGRADE_REQUIRED' });
}

function getLogLevel(options: HttpOptions, { res, caller }: Call): void {
  if (mayTurnLog(options, res, caller)) sendJson(res, { 'log-level': options.log.level });
}

function putLogLevel(options: HttpOptions, { res, args: [level = ''], caller }: Call): void {
  if (!mayTurnLog(options, res, caller)) return;
  if (!(LOG_LEVELS as readonly string[]).includes(level)) {
    refuse(options, res, { code: 'LOG_LEVEL_INVALID', detail: `one of ${LOG_LEVELS.join(', ')}` });
    return;
  }
  options.log.level = level as LogLevel;
  sendJson(res, { 'log-level': level });
}

/** The log is the whole hub's: keys of other workspaces than `default` have nothing to do with it. */
function mayTurnLog(options: HttpOptions, res: ServerResponse, { principal }: Caller): boolean {
  if (principal.workspaceId === DEFAULT_WORKSPACE_ID) return true;
  refuse(options, res, { code: 'ACCESS_KIND_REFUSED', detail: 'only a key of workspace default' });
  return false;
}
