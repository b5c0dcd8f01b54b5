import type { Action, Resource } from '@carillon/schemas';
import type { Store } from '@carillon/store';

import type { Caller } from './caller.ts';
import type { Query } from './listing.ts';

/** One call that was let in. */
export interface EnsyncCall {
  readonly store: Store;
  readonly caller: Caller;
  /** Percent-decoded pieces of the path. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query;
  /** {} when there was none. */
  readonly body: unknown;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

export interface EnsyncReply {
  readonly status: 200 | 201 | 204;
  readonly body?: unknown;
}

/** What a route does to what: asked of the caller's rights wherever it reaches. */
export interface EnsyncAccess {
  readonly resource: Resource;
  readonly action: Action;
}

export interface EnsyncRoute {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Below the prefix, express style. */
  readonly path: string;
  readonly access: EnsyncAccess;
  readonly handle: (call: EnsyncCall) => Promise<EnsyncReply>;
}
