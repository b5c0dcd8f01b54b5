import { randomUUID } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';

import express, { type NextFunction, type Request, type Response, type Router } from 'express';

import type { ManagerCounts } from '../counts.ts';
import { answerRoute, API_PATH, type AnswerParts, type Exchange } from './answer-route.ts';
import type { Rendered } from './idempotency.ts';
import type { Pages } from './pages.ts';
import { sendError } from './problems.ts';
import { Refusal } from './refusal.ts';
import type { Route } from './route.ts';
import { sourceOf } from './source.ts';

export interface AppParts extends AnswerParts {
  readonly routes: readonly Route[];
  readonly counts: ManagerCounts;
  readonly pages: Pages;
  readonly trustedHops: number;
  /** Answers what is no route of the API: the OpenAPI document, the docs page. */
  readonly documents: Router;
  /** Other APIs, at paths of their own, behind the same headers and page check. */
  readonly routers: readonly Router[];
}

const SECURITY_HEADERS = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cache-control': 'no-store',
} as const;

interface Locals extends Exchange {
  /** What metrics call it: one of a fixed list. */
  route: string;
  /** Methods that the path has, once it was found not to have this one. */
  readonly methods: Set<string>;
}

/** The whole of HTTP, made from the list of routes. */
export function createApp(parts: AppParts): RequestListener {
  const app = express();
  for (const off of ['x-powered-by', 'etag', 'query parser', 'trust proxy']) app.set(off, false);
  // One address a resource: `/API/V1/users/` is nothing.
  app.enable('case sensitive routing');
  app.enable('strict routing');
  app.use((req, res, next) => begin(parts, { req, res, next }));
  for (const [path, methods] of byPath(parts.routes)) app.all(`${API_PATH}${path}`, (req, res, next) => dispatch(parts, methods, { req, res, next }));
  app.use(parts.documents);
  for (const router of parts.routers) app.use(router);
  return (req, res) => {
    const [request, response] = [req as Request, res as Response];
    // What nobody answered, or threw, comes out here.
    app(request, response, (error?: unknown) => sendError(res, { error: error ?? unanswered(response), requestId: localsOf(response).requestId, parts }));
  };
}

function unanswered(res: Response): Refusal {
  const { methods } = localsOf(res);
  if (methods.size === 0) return new Refusal('ROUTE_NOT_FOUND');
  res.setHeader('allow', [...methods].join(', '));
  return new Refusal('METHOD_NOT_ALLOWED');
}

/** What is known of a request from its start: for the routers beside the API. */
export function exchangeOf(res: Response): Exchange {
  return localsOf(res);
}

interface Step {
  readonly req: Request;
  readonly res: Response;
  readonly next: NextFunction;
}

function begin({ trustedHops, pages, counts, log }: AppParts, { req, res, next }: Step): void {
  const startedMs = performance.now();
  const requestId = randomUUID();
  const locals: Locals = Object.assign(res.locals, { ...sourceOf(req, trustedHops), requestId, route: 'none', methods: new Set<string>() });
  res.setHeaders(new Map(Object.entries({ ...SECURITY_HEADERS, 'x-request-id': requestId })));
  res.once('close', () => {
    counts.answered(locals.route, res.statusCode);
    log.debug({ requestId, method: req.method, route: locals.route, status: res.statusCode, durationMs: Math.round(performance.now() - startedMs), source: locals.address }, 'request');
  });
  if (!pages.admit(req, res)) next();
}

async function dispatch(parts: AppParts, methods: ReadonlyMap<string, Route>, { req, res, next }: Step): Promise<void> {
  const locals = localsOf(res);
  const route = methods.get(req.method === 'HEAD' ? 'GET' : req.method);
  if (route === undefined) {
    // Another path may select this address too (`/things/:id` beside `/things/mine`).
    for (const method of methods.keys()) locals.methods.add(method);
    if (methods.has('GET')) locals.methods.add('HEAD');
    next();
    return;
  }
  locals.route = route.name;
  send(req, res, await answerRoute(parts, route, { req, target: req.originalUrl, params: req.params, exchange: locals }));
}

function send(req: IncomingMessage, res: ServerResponse, { status, headers, body }: Rendered): void {
  const type = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) };
  // A body that no route asked for was not read.
  if (!req.complete) res.setHeader('connection', 'close');
  res.writeHead(status, { ...headers, ...type });
  res.end(body);
}

function byPath(routes: readonly Route[]): ReadonlyMap<string, ReadonlyMap<string, Route>> {
  const paths = new Map<string, Map<string, Route>>();
  for (const route of routes) {
    const methods = paths.get(route.path) ?? new Map<string, Route>();
    if (methods.has(route.method)) throw new Error(`there are two routes ${route.method} ${route.path}`);
    paths.set(route.path, methods.set(route.method, route));
  }
  return paths;
}

function localsOf(res: Response): Locals {
  return res.locals as Locals;
}
