import { parseAccessKey } from '@carillon/access';
import { CarillonError, ERRORS, type ErrorCode } from '@carillon/wire';
import { Router, type ErrorRequestHandler, type Request, type Response } from 'express';

import { credentialDigest } from '../auth/credentials.ts';
import { auditActor, type Exchange } from '../http/answer-route.ts';
import { exchangeOf, type AppParts } from '../http/app.ts';
import { hasBody, readJson } from '../http/body.ts';
import { checkPath, readQuery } from '../http/input.ts';
import { Denial, Refusal } from '../http/refusal.ts';
import type { Actor } from '../http/route.ts';
import { ACCESS_KEY_ROUTES } from './access-keys.ts';
import { Caller } from './caller.ts';
import type { EnsyncAccess, EnsyncCall, EnsyncReply, EnsyncRoute } from './ensync-route.ts';
import { EVENT_ROUTES } from './events.ts';
import { WORKSPACE_ROUTES } from './workspaces.ts';

/**
 * The management API that EnSync's command line and consoles speak, over the same configuration as our own, at the paths
 * where they look for it. Paths are matched as they came, so that `gms%2Freport` is one piece. A refusal has the shape
 * they know, `{message}`, with our code beside it.
 */
export interface EnsyncOptions extends Pick<AppParts, 'store' | 'credentials' | 'limits' | 'denials' | 'bodies' | 'log' | 'counts'> {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

interface Exchanged {
  readonly req: Request;
  readonly exchange: Exchange;
}

/** Of a server of one's own, and of the cloud's documents. */
const PREFIXES = ['/api/v1/ensync', '/v1'];
const ROUTES: readonly EnsyncRoute[] = [...EVENT_ROUTES, ...ACCESS_KEY_ROUTES, ...WORKSPACE_ROUTES];
/** The command line sends the first, documents name the second; the first that is not empty counts. */
const KEY_HEADERS = ['x-access-key', 'x-api-key'] as const;
/** Somebody coming between again and again is no accident. */
const ATTEMPTS_MAX = 5;

/** Makes the routes: everything below the two prefixes, and nothing else. */
export function ensyncRouter(options: EnsyncOptions): Router {
  const outer = Router({ caseSensitive: true });
  const router = Router({ caseSensitive: true });
  outer.use(PREFIXES, router);
  router.get('/ping', (_req, res) => void res.type('text/plain').set('cache-control', 'no-store').send('pong'));
  for (const path of new Set(ROUTES.map((route) => route.path))) {
    const here = ROUTES.filter((route) => route.path === path);
    router.all(path, async (req, res) => {
      const route = here.find(({ method }) => method === (req.method === 'HEAD' ? 'GET' : req.method));
      if (route === undefined) {
        res.set('allow', here.map(({ method }) => method).join(', '));
        throw new Refusal('METHOD_NOT_ALLOWED');
      }
      // What metrics call it.
      Object.assign(res.locals, { route: `ensync ${route.method} ${route.path}` });
      send(res, await answer(options, route, { req, exchange: exchangeOf(res) }));
    });
  }
  router.use(() => {
    throw new Refusal('ROUTE_NOT_FOUND');
  });
  router.use(refuse(options));
  return outer;
}

async function answer(options: EnsyncOptions, route: EnsyncRoute, { req, exchange }: Exchanged): Promise<EnsyncReply> {
  const { store, now } = options;
  const { access } = route;
  let actor: Actor = { kind: 'anonymous', id: null, name: 'anonymous' };
  try {
    actor = await whoCalls(options, { req, exchange });
    const own = await store.workspaces.get(actor.key.workspaceId);
    if (own === undefined) throw new Refusal('CREDENTIAL_INVALID');
    const params = req.params as Readonly<Record<string, string>>;
    checkPath(params);
    const call: EnsyncCall = { store, caller: new Caller({ store, actor, own, access, exchange }), params, query: readQuery(req.url), body: await readValue(options, req), nowMs: now() };
    return await onWhatIsThere(() => route.handle(call));
  } catch (error) {
    if (error instanceof Denial) await writeDenial(options, access, { denial: error, actor, exchange });
    throw error;
  }
}

async function writeDenial({ denials, log }: EnsyncOptions, { resource, action }: EnsyncAccess, { denial, actor, exchange }: { readonly denial: Denial; readonly actor: Actor; readonly exchange: Exchange }): Promise<void> {
  const kind = resource.replace(/s$/, '');
  const { workspaceId, code } = denial;
  const { address: source, requestId } = exchange;
  try {
    await denials.add({ workspaceId, actor: auditActor(actor), action: `${kind}.${action}`, resource: { kind, id: null, name: null }, source, code, requestId });
  } catch (error) {
    // It is refused all the same.
    log.error({ error, requestId }, 'a denial could not be written into the audit log');
  }
}

/**
 * What a call reads must be what it changes. These callers know no versions: one that somebody came between starts over,
 * from its reading and checking, before the caller hears of it.
 */
async function onWhatIsThere(handle: () => Promise<EnsyncReply>): Promise<EnsyncReply> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await handle();
    } catch (error) {
      if (!(error instanceof CarillonError && error.code === 'PRECONDITION_FAILED' && attempt < ATTEMPTS_MAX)) throw error;
    }
  }
}

/** Only access keys call here: a person's session is for our own API. */
async function whoCalls({ credentials, limits }: EnsyncOptions, { req, exchange }: Exchanged): Promise<Extract<Actor, { readonly kind: 'key' }>> {
  const text = KEY_HEADERS.map((name) => req.get(name) ?? '').find((value) => value !== '');
  const digest = text === undefined ? undefined : credentialDigest(text);
  limits.take(digest, exchange.address);
  if (text === undefined || digest === undefined) throw new Refusal('CREDENTIAL_REQUIRED');
  try {
    const actor = parseAccessKey(text) === undefined ? undefined : await credentials.authenticate(text);
    if (actor?.kind !== 'key') throw new Refusal('CREDENTIAL_INVALID');
    limits.learn(digest);
    return actor;
  } catch (error) {
    limits.forget(digest);
    throw error;
  }
}

/** Whatever it calls itself it is JSON: EnSync's documents show bodies without a media type, and curl has one of its own. */
async function readValue({ bodies }: EnsyncOptions, req: Request): Promise<unknown> {
  req.headers['content-type'] = 'application/json';
  return (await readJson(req, bodies)).value;
}

function send(res: Response, { status, body }: EnsyncReply): void {
  res.status(status).set('cache-control', 'no-store');
  if (body === undefined) res.end();
  else res.json(body);
}

function refuse({ counts, log }: EnsyncOptions): ErrorRequestHandler {
  return (error: unknown, req, res, next) => {
    if (res.headersSent) {
      next(error);
      return;
    }
    const code = codeOf(error);
    counts.refuse(code);
    const { http: status, title } = ERRORS[code];
    if (status >= 500) log.error({ error, code, requestId: exchangeOf(res).requestId }, 'request failed');
    // A body that is not going to be read must not keep the connection.
    if (hasBody(req) && !req.complete) res.set('connection', 'close');
    if (error instanceof Refusal && error.retryAfterMs !== undefined) res.set('retry-after', String(Math.ceil(error.retryAfterMs / 1_000)));
    res.status(status).set('cache-control', 'no-store').json({ message: error instanceof CarillonError && status < 500 ? error.message : title, code });
  };
}

/** What is not of the catalogue is express's refusal of a path that does not decode, or ours to answer for. */
function codeOf(error: unknown): ErrorCode {
  if (error instanceof CarillonError) return error.code;
  return error instanceof URIError ? 'REQUEST_MALFORMED' : 'INTERNAL';
}
