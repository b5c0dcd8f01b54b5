import type { IncomingMessage } from 'node:http';

import type { BodyReader, Logger } from '@carillon/runtime';
import type { AuditRecord, Workspace } from '@carillon/schemas';
import type { Repositories, Store } from '@carillon/store';
import { CarillonError } from '@carillon/wire';

import { authorize } from '../auth/authorize.ts';
import { credentialDigest, presentedCredential, type Credentials } from '../auth/credentials.ts';
import type { DenialLog } from '../auth/denial-log.ts';
import { readJson } from './body.ts';
import { entityTag, versionAskedFor } from './etag.ts';
import type { IdempotentAnswers, Rendered } from './idempotency.ts';
import { checkPath, parseInput, readQuery } from './input.ts';
import type { RateLimits } from './rate-limit.ts';
import { Denial } from './refusal.ts';
import type { Actor, Call, Change, Reply, Route } from './route.ts';
import type { Source } from './source.ts';

/**
 * How a call is answered, in this order: rate limit, who calls, may they, query and body, If-Match, Idempotency-Key, the
 * route's own work. Whoever may not call learns nothing of what they sent, and their body is not even read.
 */
export interface AnswerParts {
  readonly store: Store;
  readonly credentials: Credentials;
  readonly limits: RateLimits;
  readonly denials: DenialLog;
  readonly idempotent: IdempotentAnswers;
  readonly bodies: BodyReader;
  readonly log: Logger;
}

/** What is known of a request before its route is. */
export interface Exchange extends Source {
  readonly requestId: string;
}

/** A request that has found its route. */
export interface RoutedRequest {
  readonly req: IncomingMessage;
  /** Path and query as they came. */
  readonly target: string;
  /** Path parameters, decoded. */
  readonly params: Readonly<Record<string, unknown>>;
  readonly exchange: Exchange;
}

export const API_PATH = '/api/v1';

const ANONYMOUS: Actor = { kind: 'anonymous', id: null, name: 'anonymous' };

/** Answers a call of a route, or throws the refusal. */
export async function answerRoute(parts: AnswerParts, route: Route, request: RoutedRequest): Promise<Rendered> {
  const { exchange, params } = request;
  const id = params['workspaceId'];
  let actor = ANONYMOUS;
  checkPath(params);
  try {
    actor = await whoCalls(parts, route, request);
    const workspace = await authorize(route.access, { actor, workspaceId: typeof id === 'string' ? id : undefined, store: parts.store });
    return await answerAuthorised(parts, route, { request, actor, workspace });
  } catch (error) {
    if (error instanceof Denial) await writeDenial(parts, route, { denial: error, actor, exchange, named: typeof id === 'string' ? id : null });
    throw error;
  }
}

/** A good credential has a bucket of its own; on public routes a bad one counts as none. */
async function whoCalls({ credentials, limits }: AnswerParts, route: Route, { req, exchange }: RoutedRequest): Promise<Actor> {
  const isPublic = route.access === 'public';
  let presented: string | undefined;
  try {
    presented = presentedCredential(req.headers);
  } catch (error) {
    limits.take(undefined, exchange.address);
    if (isPublic) return ANONYMOUS;
    throw error;
  }
  const digest = presented === undefined ? undefined : credentialDigest(presented);
  limits.take(digest, exchange.address);
  if (presented === undefined || digest === undefined) return ANONYMOUS;
  try {
    const actor = await credentials.authenticate(presented);
    limits.learn(digest);
    return actor;
  } catch (error) {
    if (!(error instanceof CarillonError) || error.kind !== 'auth') throw error;
    limits.forget(digest);
    if (isPublic) return ANONYMOUS;
    throw error;
  }
}

interface Authorised {
  readonly request: RoutedRequest;
  readonly actor: Actor;
  readonly workspace: Workspace | undefined;
}

async function answerAuthorised(parts: AnswerParts, route: Route, { request, actor, workspace }: Authorised): Promise<Rendered> {
  const { req, target, exchange } = request;
  const params = route.params === undefined ? {} : parseInput(route.params, request.params, '/path');
  const query = parseInput(route.query, readQuery(target), '/query');
  const json = route.body === undefined ? undefined : await readJson(req, parts.bodies);
  const body = route.body === undefined ? {} : parseInput(route.body, json?.value);
  const answer = async (store: Repositories, change: Call<unknown, unknown, unknown>['change']): Promise<Rendered> => {
    const call: Call<unknown, unknown, unknown> = {
      params, query, body, actor, headers: req.headers, store, change,
      get workspace() {
        if (workspace === undefined) throw new Error(`the route ${route.name} is about no workspace`);
        return workspace;
      },
      ifMatch: route.versioned === true ? versionAskedFor(req.headers['if-match']) : undefined,
      source: exchange.address,
      isLocal: exchange.isLocal,
      requestId: exchange.requestId,
      deny: (detail) => {
        throw new Denial('FORBIDDEN', { detail, workspaceId: workspace?.id ?? null });
      },
    };
    return render(route, await route.handle(call as Call<never, never, never>));
  };
  const key = req.headers['idempotency-key'];
  if (route.creates !== true || key === undefined || actor.kind === 'anonymous') {
    return answer(parts.store, (what, run) => parts.store.change((tx) => changeAndAudit(tx, { what, run, actor, exchange })));
  }
  const sent = { key: String(key), actor, method: route.method, target, body: json?.bytes ?? new Uint8Array() };
  return parts.idempotent.once(sent, (tx) => answer(tx, (what, run) => changeAndAudit(tx, { what, run, actor, exchange })));
}

/** What the answer's schema does not name does not leave. */
function render(route: Route, { body, version, location, headers }: Reply): Rendered {
  const { status, schema } = route.answer;
  return {
    status,
    headers: {
      ...headers,
      ...(route.versioned === true && version !== undefined ? { etag: entityTag(version) } : {}),
      ...(location === undefined ? {} : { location: status === 302 ? location : `${API_PATH}${location}` }),
    },
    body: schema === undefined ? undefined : JSON.stringify(schema.parse(body)),
  };
}

interface ChangeRun<T> {
  readonly what: Change<T>;
  readonly run: (tx: Repositories) => Promise<T>;
  readonly actor: Actor;
  readonly exchange: Exchange;
}

async function changeAndAudit<T>(tx: Repositories, { what, run, actor, exchange }: ChangeRun<T>): Promise<T> {
  const result = await run(tx);
  await tx.audit.add({
    workspaceId: what.workspaceId, actor: auditActor(actor), action: what.action, outcome: 'done', resource: what.resource(result),
    before: what.before ?? null, after: what.after?.(result) ?? null, source: exchange.address, code: null, requestId: exchange.requestId,
  });
  return result;
}

/** The caller as the audit log names it. */
export function auditActor({ kind, id, name }: Actor): AuditRecord['actor'] {
  return { kind, id, name };
}

async function writeDenial({ denials, log }: AnswerParts, route: Route, { denial, actor, exchange, named }: { readonly denial: Denial; readonly actor: Actor; readonly exchange: Exchange; readonly named: string | null }): Promise<void> {
  const { address, requestId } = exchange;
  const { access } = route;
  const kind = typeof access === 'object' ? access.resource.replace(/s$/, '') : route.tag;
  try {
    await denials.add({
      workspaceId: denial.workspaceId, actor: auditActor(actor), action: typeof access === 'object' ? `${kind}.${access.action}` : route.name,
      resource: { kind, id: named?.slice(0, 64) ?? null, name: null }, source: address, code: denial.code, requestId,
    });
  } catch (error) {
    // It is refused all the same.
    log.error({ error, requestId }, 'a denial could not be written into the audit log');
  }
}
