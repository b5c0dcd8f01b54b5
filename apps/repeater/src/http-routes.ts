import type { IncomingMessage, ServerResponse } from 'node:http';

import { presentedKey, type PresentedKey } from '@carillon/access';
import { BodyReader, sendRefusal, type Logger, type ProblemDetail } from '@carillon/runtime';
import { readRoomEvent } from '@carillon/schemas';
import { encodeFrame, ERRORS, type ErrorCode } from '@carillon/wire';

import { EVENT_TIME_FORMS, EVENT_TIME_HEADER, readEventTime } from './event-time.ts';
import type { FramePaths } from './frame-paths.ts';
import type { Admission, Gate } from './gate.ts';
import { isJoinPath, pathOf } from './join-request.ts';
import type { RepeaterCounts } from './metrics.ts';
import type { UpstreamQueue } from './upstream-queue.ts';

/**
 *   POST /send     a key    one v2 event, taken like a frame of a device; answered when it is kept;
 *                           `Carillon-Event-Time` says when it happened by the sender's clock
 *   GET  /status   a key    the original's shape
 *   GET  /health            a JSON string
 */
export interface HttpRoutesOptions {
  readonly paths: FramePaths;
  readonly queue: UpstreamQueue;
  readonly frameMaxBytes: number;
  readonly gate: Gate;
  readonly draining: () => boolean;
  readonly status: () => object;
  readonly counts: RepeaterCounts;
  readonly log: Logger;
}

/** Bodies that are arriving may hold this together; a sender beyond it is asked to come back. */
const BODIES_TOTAL_MAX_BYTES = 67_108_864;

interface Route {
  readonly methods: readonly string[];
  readonly answer: (request: IncomingMessage, response: ServerResponse, presented: PresentedKey) => Promise<void> | void;
}

type Sender = Extract<Admission, { readonly ok: true }>;

interface Refusal {
  readonly code: ErrorCode;
  readonly detail?: string;
  readonly errors?: readonly ProblemDetail[];
}

/** The request listener of the device port. */
export function createHttpRoutes(options: HttpRoutesOptions): (request: IncomingMessage, response: ServerResponse) => void {
  const { counts, log } = options;
  const bodies = new BodyReader({ maxBytes: options.frameMaxBytes, totalMaxBytes: BODIES_TOTAL_MAX_BYTES });
  const refuse = (response: ServerResponse, { code, detail, errors }: Refusal): void => {
    counts.refuse(code);
    // RFC 9110 §15.5.2: a 401 says how to do better.
    if (ERRORS[code].http === 401) response.setHeader('www-authenticate', 'Bearer');
    sendRefusal(response, code, { ...(detail === undefined ? {} : { detail }), ...(errors === undefined || errors.length === 0 ? {} : { errors }) });
  };
  const withKey = (answer: (request: IncomingMessage, response: ServerResponse, sender: Sender) => Promise<void> | void): Route['answer'] => (request, response, presented) => {
    const admission = options.gate.admit(presented, request);
    return admission.ok ? answer(request, response, admission) : refuse(response, admission);
  };
  const routes: Readonly<Record<string, Route>> = {
    '/send': { methods: ['POST'], answer: withKey((request, response, sender) => send(request, response, { options, bodies, refuse, sender })) },
    '/status': { methods: ['GET', 'HEAD'], answer: withKey((_request, response) => sendJson(response, options.status())) },
    '/health': { methods: ['GET', 'HEAD'], answer: (_request, response) => sendJson(response, 'healthy') },
  };
  return (request, response) => {
    const presented = presentedKey(request);
    const path = pathOf(presented.ok ? presented.url : request.url);
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    if (route === undefined) {
      const isJoin = isJoinPath(path);
      if (isJoin) response.setHeader('upgrade', 'websocket');
      refuse(response, presented.ok ? { code: isJoin ? 'UPGRADE_REQUIRED' : 'ROUTE_NOT_FOUND' } : presented);
    } else if (!route.methods.includes(request.method ?? '')) {
      response.setHeader('allow', route.methods.join(', '));
      refuse(response, { code: 'METHOD_NOT_ALLOWED', detail: route.methods.join(', ') });
    } else {
      Promise.resolve(route.answer(request, response, presented)).catch((error: unknown) => {
        log.error({ path, error }, 'a request failed');
        refuse(response, { code: 'INTERNAL' });
      });
    }
  };
}

interface SendContext {
  readonly options: HttpRoutesOptions;
  readonly bodies: BodyReader;
  readonly refuse: (response: ServerResponse, refusal: Refusal) => void;
  readonly sender: Sender;
}

async function send(request: IncomingMessage, response: ServerResponse, { options, bodies, refuse, sender }: SendContext): Promise<void> {
  const { draining, frameMaxBytes, gate, paths, queue } = options;
  const body = await bodies.read(request);
  if (!body.ok) {
    if (body.why === 'gone') return; // a sender that went away hears nothing
    response.setHeader('connection', 'close');
    return refuse(response, body.why === 'too-large' ? { code: 'BODY_TOO_LARGE', detail: `more than ${frameMaxBytes} bytes` } : { code: 'OVERLOADED' });
  }
  if (draining()) return refuse(response, { code: 'DRAINING' });
  // A body may take longer to arrive than its sender's right lasts.
  const ended = gate.recheck(sender);
  if (ended !== undefined) return refuse(response, { code: ended });
  const eventAtMs = readEventTime(request.headers[EVENT_TIME_HEADER]);
  if (eventAtMs === 'malformed') return refuse(response, { code: 'REQUEST_MALFORMED', detail: `${EVENT_TIME_HEADER} is ${EVENT_TIME_FORMS}` });
  const event = readRoomEvent(body.bytes);
  if (!event.ok) return refuse(response, event);
  const frame = Buffer.from(encodeFrame(event.room, body.bytes).buffer);
  if (frame.length > frameMaxBytes) return refuse(response, { code: 'BODY_TOO_LARGE', detail: `more than ${frameMaxBytes} bytes with its room` });
  // A sender that hears the answer can try again, so nothing older is dropped for it.
  if (!queue.fits(frame.length)) return refuse(response, { code: 'UPSTREAM_QUEUE_FULL' });
  const taken = paths.up(frame, { from: 'http', sender: sender.principal, lane: undefined }, { eventAtMs });
  if (!taken.ok) return refuse(response, { code: taken.code, ...(taken.detail === undefined ? {} : { detail: taken.detail }) });
  const failed = await taken.kept;
  if (failed !== undefined) return refuse(response, { code: failed });
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' });
  response.end('ok');
}

function sendJson(response: ServerResponse, value: unknown): void {
  const body = JSON.stringify(value);
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), 'cache-control': 'no-store' });
  response.end(body);
}
