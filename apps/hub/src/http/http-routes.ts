import type { IncomingMessage, ServerResponse } from 'node:http';

import { KEY_KINDS, type KeyKind } from '@carillon/schemas';
import { CarillonError } from '@carillon/wire';

import type { ReadRequest } from '../access/admission.ts';
import type { Caller } from '../access/holders.ts';
import { CONSUMERS_QUERY, deleteConsumer, getConsumers } from '../consumers/http-consumers.ts';
import { deleteDeadLetter, getDeadLetter, getDeadLetters, LETTERS_QUERY, postRedrive, postRedriveAll } from '../consumers/http-dead-letters.ts';
import { logErrorCode } from '../durable/durable-lane.ts';
import { getEventTrail, TRAIL_QUERY } from '../trail/http-trail.ts';
import type { Workspace } from '../workspace.ts';
import { answering, refuse, sendJson, type Answer, type Call, type HttpOptions, type Refusal, type Request } from './http-call.ts';
import { getRoomEvents, getRoomHistory, getRoomPresence, postEvent, postEvents } from './http-events.ts';
import { deleteInterconnect, getAccessFeed, getLogLevel, postInterconnect, putLogLevel, refuseWithoutUpgrade } from './http-operations.ts';

/**
 * The hub's calls over HTTP. A plain table on `node:http`: publishing must cost little more than the event itself, and
 * there is nothing here that a framework would do for us (docs/adr/0004).
 */
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
