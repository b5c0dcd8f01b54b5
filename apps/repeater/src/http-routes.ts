import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';

import { BodyReader, sendRefusal, type Logger, type ProblemDetail } from '@carillon/runtime';
import { readRoomEvent } from '@carillon/schemas';
import { encodeFrame, type ErrorCode } from '@carillon/wire';

import type { FramePaths } from './frame-paths.ts';
import { isJoinPath, pathOf } from './join-request.ts';
import type { RepeaterCounts } from './metrics.ts';
import type { UpstreamQueue } from './upstream-queue.ts';

/**
 *   POST /send     one v2 event, taken like a frame of a device
 *   GET  /status   the original's shape
 *   GET  /health   a JSON string
 */
export interface HttpRoutesOptions {
  readonly paths: FramePaths;
  readonly queue: UpstreamQueue;
  readonly frameMaxBytes: number;
  readonly isPageAllowed: (headers: IncomingHttpHeaders) => boolean;
  readonly draining: () => boolean;
  readonly status: () => object;
  readonly counts: RepeaterCounts;
  readonly log: Logger;
}

/** Bodies that are arriving may hold this together; a sender beyond it is asked to come back. */
const BODIES_TOTAL_MAX_BYTES = 67_108_864;

type Answer = (request: IncomingMessage, response: ServerResponse) => Promise<void> | void;

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
    sendRefusal(response, code, { ...(detail === undefined ? {} : { detail }), ...(errors === undefined || errors.length === 0 ? {} : { errors }) });
  };
  const routes: Readonly<Record<string, { readonly methods: readonly string[]; readonly answer: Answer }>> = {
    '/send': { methods: ['POST'], answer: async (request, response) => send(request, response, { options, bodies, refuse }) },
    '/status': { methods: ['GET', 'HEAD'], answer: (_request, response) => sendJson(response, options.status()) },
    '/health': { methods: ['GET', 'HEAD'], answer: (_request, response) => sendJson(response, 'healthy') },
  };
  return (request, response) => {
    const path = pathOf(request.url);
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    if (route === undefined) {
      if (isJoinPath(path)) response.setHeader('upgrade', 'websocket');
      refuse(response, { code: isJoinPath(path) ? 'UPGRADE_REQUIRED' : 'ROUTE_NOT_FOUND' });
    } else if (!route.methods.includes(request.method ?? '')) {
      response.setHeader('allow', route.methods.join(', '));
      refuse(response, { code: 'METHOD_NOT_ALLOWED', detail: route.methods.join(', ') });
    } else {
      Promise.resolve(route.answer(request, response)).catch((error: unknown) => {
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
}

async function send(request: IncomingMessage, response: ServerResponse, { options, bodies, refuse }: SendContext): Promise<void> {
  const { isPageAllowed, draining, frameMaxBytes, paths, queue } = options;
  if (!isPageAllowed(request.headers)) return refuse(response, { code: 'ORIGIN_REFUSED' });
  const body = await bodies.read(request);
  if (!body.ok) {
    if (body.why === 'gone') return; // a sender that went away hears nothing
    response.setHeader('connection', 'close');
    return refuse(response, body.why === 'too-large' ? { code: 'BODY_TOO_LARGE', detail: `more than ${frameMaxBytes} bytes` } : { code: 'OVERLOADED' });
  }
  if (draining()) return refuse(response, { code: 'DRAINING' });
  const event = readRoomEvent(body.bytes);
  if (!event.ok) return refuse(response, event);
  const frame = Buffer.from(encodeFrame(event.room, body.bytes).buffer);
  if (frame.length > frameMaxBytes) return refuse(response, { code: 'BODY_TOO_LARGE', detail: `more than ${frameMaxBytes} bytes with its room` });
  // A sender that hears the answer can try again, so nothing older is dropped for it.
  if (!queue.fits(frame.length)) return refuse(response, { code: 'UPSTREAM_QUEUE_FULL' });
  const code = paths.up(frame, 'http', undefined);
  if (code !== undefined) return refuse(response, { code });
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' });
  response.end('ok');
}

function sendJson(response: ServerResponse, value: unknown): void {
  const body = JSON.stringify(value);
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), 'cache-control': 'no-store' });
  response.end(body);
}
