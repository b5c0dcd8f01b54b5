import type { IncomingMessage, ServerResponse } from 'node:http';

import { LOG_LEVELS, sendRefusal, type BodyReader, type Logger, type LogLevel } from '@carillon/runtime';
import { readRoomEvent } from '@carillon/schemas';
import { CarillonError, encodeFrame, patternFault, roomFault, type ErrorCode, type WireLimits } from '@carillon/wire';

import type { HubCounts } from './counts.ts';
import type { Links } from './links.ts';
import type { LiveTails } from './live-tails.ts';
import type { Router } from './router.ts';
import type { HubStatus } from './status.ts';

/**
 * The hub's calls over HTTP. A plain table on `node:http`: publishing must cost little more than the event itself, and
 * there is nothing here that a framework would do for us (docs/adr/0004).
 */
export interface HttpOptions {
  readonly router: Router;
  readonly counts: HubCounts;
  readonly limits: WireLimits;
  readonly links: Links;
  readonly tails: LiveTails;
  readonly bodies: BodyReader;
  readonly log: Logger;
  readonly status: () => HubStatus;
  readonly isDraining: () => boolean;
  /** Whether the hub has as many peers as it takes. */
  readonly isFull: () => boolean;
  /** Answers for paths that are not the hub's (the standalone's page); false when it does not know one either. */
  readonly pages?: (req: IncomingMessage, res: ServerResponse, path: string) => boolean;
}

interface Call {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** Percent-decoded pieces of the path that the route left open. */
  readonly args: readonly string[];
}

type Answer = (options: HttpOptions, call: Call) => void | Promise<void>;

const ROUTES: readonly { readonly path: RegExp; readonly methods: Readonly<Record<string, Answer>> }[] = [
  { path: /^\/event$/, methods: { POST: postEvent } },
  { path: /^\/rooms\/([^/]+)\/events$/, methods: { GET: getRoomEvents } },
  { path: /^\/interconnect$/, methods: { GET: (options, { res }) => sendJson(res, { links: options.links.list() }) } },
  { path: /^\/interconnect\/(.+)$/, methods: { POST: postInterconnect, DELETE: deleteInterconnect } },
  { path: /^\/status$/, methods: { GET: (options, { res }) => sendJson(res, options.status()) } },
  { path: /^\/health$/, methods: { GET: (options, { res }) => sendJson(res, options.isDraining() ? 'draining' : 'healthy') } },
  { path: /^\/log-level$/, methods: { GET: (options, { res }) => sendJson(res, { 'log-level': options.log.level }) } },
  { path: /^\/log-level\/([^/]+)$/, methods: { PUT: putLogLevel } },
  { path: /^\/connect\/[^/]+$/, methods: { GET: refuseWithoutUpgrade } },
];

/** Answers one request. */
export async function answerHttp(options: HttpOptions, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const path = (req.url ?? '/').split('?', 1)[0] as string;
  try {
    for (const route of ROUTES) {
      const match = route.path.exec(path);
      if (match === null) continue;
      const answer = route.methods[req.method ?? ''];
      if (answer === undefined) {
        res.setHeader('allow', Object.keys(route.methods).join(', '));
        refuse(options, res, 'METHOD_NOT_ALLOWED');
        return;
      }
      const args = match.slice(1).map(decodePiece);
      if (args.includes(undefined)) refuse(options, res, 'REQUEST_MALFORMED', 'the path is not percent-encoded UTF-8');
      else await answer(options, { req, res, args: args as string[] });
      return;
    }
    if (options.pages?.(req, res, path) !== true) refuse(options, res, 'ROUTE_NOT_FOUND');
  } catch (error) {
    if (error instanceof CarillonError) {
      refuse(options, res, error.code, error.detail);
      return;
    }
    options.log.error({ error, path: path.slice(0, 128) }, 'request failed');
    refuse(options, res, 'INTERNAL');
  }
}

function decodePiece(piece: string): string | undefined {
  try {
    return decodeURIComponent(piece);
  } catch {
    return undefined;
  }
}

function sendJson(res: ServerResponse, value: unknown, status = 200): void {
  const body = JSON.stringify(value);
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), 'cache-control': 'no-store' });
  res.end(body);
}

function refuse({ counts }: HttpOptions, res: ServerResponse, code: ErrorCode, detail?: string): void {
  counts.refuse(code);
  // A body that is not going to be read must not keep the connection.
  if (hasBody(res.req) && !res.req.complete) res.setHeader('connection', 'close');
  sendRefusal(res, code, detail === undefined || detail === '' ? {} : { detail });
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
}

const BODY_REFUSALS: Readonly<Record<'too-large' | 'too-many' | 'gone', ErrorCode>> = { 'too-large': 'BODY_TOO_LARGE', 'too-many': 'OVERLOADED', gone: 'REQUEST_MALFORMED' };

async function postEvent(options: HttpOptions, { req, res }: Call): Promise<void> {
  const body = await options.bodies.read(req);
  if (!body.ok) {
    res.setHeader('connection', 'close');
    refuse(options, res, BODY_REFUSALS[body.why]);
    return;
  }
  const read = readRoomEvent(body.bytes);
  if (!read.ok) {
    options.counts.refuse(read.code);
    sendRefusal(res, read.code, { detail: read.detail, ...(read.errors.length === 0 ? {} : { errors: read.errors }) });
    return;
  }
  const fault = roomFault(read.room, options.limits.roomMaxBytes);
  if (fault !== undefined) {
    refuse(options, res, 'ROOM_NAME_INVALID', `affected-room.roomID is ${fault}`);
    return;
  }
  const frame = Buffer.from(encodeFrame(read.room, body.bytes).buffer);
  const tagEnd = Buffer.byteLength(read.room);
  options.counts.take('http', frame.length);
  options.router.fromMessenger(read.room, { bytes: frame, roomEnd: tagEnd, tagEnd, fields: '', source: undefined, order: 0 });
  res.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
  res.end('Processing event');
}

function getRoomEvents(options: HttpOptions, { res, args: [pattern = ''] }: Call): void {
  const fault = patternFault(pattern, options.limits.roomMaxBytes);
  if (options.isDraining()) refuse(options, res, 'DRAINING');
  else if (options.isFull()) refuse(options, res, 'CONNECTIONS_EXCEEDED');
  else if (fault !== undefined) refuse(options, res, 'PATTERN_INVALID', fault);
  else options.tails.open(pattern, res);
}

async function postInterconnect(options: HttpOptions, { res, args: [address = ''] }: Call): Promise<void> {
  sendJson(res, await options.links.add(address));
}

async function deleteInterconnect(options: HttpOptions, { res, args: [address = ''] }: Call): Promise<void> {
  await options.links.remove(address);
  res.writeHead(204);
  res.end();
}

/** A 426 says what to upgrade to (RFC 9110 §15.5.22). */
function refuseWithoutUpgrade(options: HttpOptions, { res }: Call): void {
  res.setHeader('upgrade', 'websocket');
  res.setHeader('connection', 'upgrade');
  refuse(options, res, 'UPGRADE_REQUIRED');
}

function putLogLevel(options: HttpOptions, { res, args: [level = ''] }: Call): void {
  if (!(LOG_LEVELS as readonly string[]).includes(level)) {
    refuse(options, res, 'LOG_LEVEL_INVALID', `one of ${LOG_LEVELS.join(', ')}`);
    return;
  }
  options.log.level = level as LogLevel;
  sendJson(res, { 'log-level': level });
}
