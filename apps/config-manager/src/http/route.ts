import type { IncomingHttpHeaders } from 'node:http';

import type { AccessKey, Action, AuditRecord, Resource, Role, User, Workspace } from '@carillon/schemas';
import type { Repositories } from '@carillon/store';
import type { z } from 'zod';

/**
 * A route says everything about itself: what it takes, who may call it, what it answers. The server, the OpenAPI
 * document and the test that walks every route are made from this one list, so that none of them can drift.
 */
export type Access =
  /** No credential is asked for. */
  | 'public'
  /** Any valid credential. */
  | 'signed-in'
  /** A signed-in person; no key. */
  | 'person'
  /** A person who is an administrator. */
  | 'administrator'
  /** Whoever may do this in the workspace that `:workspaceId` names. */
  | { readonly resource: Resource; readonly action: Action };

/** Who calls. */
export type Actor =
  | { readonly kind: 'user'; readonly id: string; readonly name: string; readonly user: User; readonly roles: ReadonlyMap<string, Role>; readonly sessionId: string }
  | { readonly kind: 'key'; readonly id: string; readonly name: string; readonly key: AccessKey }
  | { readonly kind: 'anonymous'; readonly id: null; readonly name: 'anonymous' };

/** A change and how the audit log tells it; `after` and `resource` are made from what `run` gave. */
export interface Change<T> {
  /** As in `key.create`. */
  readonly action: string;
  /** null: it concerns no workspace. */
  readonly workspaceId: string | null;
  readonly resource: (result: T) => AuditRecord['resource'];
  readonly before?: unknown;
  readonly after?: (result: T) => unknown;
}

export interface Call<P, Q, B> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  /** What there is; of a request with an `Idempotency-Key` as its transaction sees it. */
  readonly store: Repositories;
  readonly actor: Actor;
  /** Of a `{resource, action}` route: read and authorised. Other routes have none: reading it throws. */
  readonly workspace: Workspace;
  /** The version that `If-Match` names; undefined: any. */
  readonly ifMatch: number | undefined;
  /** The address the call came from. */
  readonly source: string;
  /** Whether it came from this machine and through no proxy. */
  readonly isLocal: boolean;
  readonly headers: IncomingHttpHeaders;
  readonly requestId: string;
  /** Runs a change and its audit record as one transaction. `run` puts its feed entries itself, as its last step. */
  change<T>(what: Change<T>, run: (tx: Repositories) => Promise<T>): Promise<T>;
  /** Throws FORBIDDEN; the denial is audited. */
  deny(detail: string): never;
}

export interface Reply {
  readonly body?: unknown;
  /** Becomes the ETag. */
  readonly version?: number;
  /** Path below /api/v1 of what was made; of a 302, the whole address. */
  readonly location?: string;
  /** Of the answer, besides those every answer has. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly status: 200 | 201 | 202 | 204 | 302;
  readonly schema?: z.ZodType;
  readonly description: string;
}

type Parsed<S> = S extends z.ZodType ? z.output<S> : Record<string, never>;

export interface RouteSpec<P extends z.ZodType | undefined, Q extends z.ZodType | undefined, B extends z.ZodType | undefined> {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE';
  /** Below /api/v1: `/workspaces/:workspaceId/keys`. */
  readonly path: `/${string}`;
  /** The operation's id: `createKey`. */
  readonly name: string;
  readonly summary: string;
  readonly tag: string;
  readonly access: Access;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  readonly answer: Answer;
  /** Its resource has versions: `ETag` in answers; `If-Match`, when given, must name the current one. */
  readonly versioned?: boolean;
  /** Takes an `Idempotency-Key`. */
  readonly creates?: boolean;
  readonly handle: (call: Call<Parsed<P>, Parsed<Q>, Parsed<B>>) => Promise<Reply>;
}

/** A route without the types of its own input: what lists hold. */
export interface Route extends Omit<RouteSpec<z.ZodType | undefined, z.ZodType | undefined, z.ZodType | undefined>, 'handle'> {
  readonly handle: (call: Call<never, never, never>) => Promise<Reply>;
}

/** Declares a route; inside `handle` params, query and body have the types of their schemas. */
export function route<P extends z.ZodType | undefined = undefined, Q extends z.ZodType | undefined = undefined, B extends z.ZodType | undefined = undefined>(spec: RouteSpec<P, Q, B>): Route {
  return spec;
}
