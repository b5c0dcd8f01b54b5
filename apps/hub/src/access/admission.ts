import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';

import { openPrincipal, presentedKey, type AccessCopy, type Principal } from '@carillon/access';
import { isLocalRequest, pageOriginCheck } from '@carillon/runtime';
import { DEFAULT_WORKSPACE_ID, type KeyKind } from '@carillon/schemas';
import type { ErrorCode } from '@carillon/wire';

import type { Caller } from './holders.ts';

/**
 * Who comes. A key that is presented is always checked. Without one:
 *
 *   mode      │ from loopback, by no proxy           │ from elsewhere
 *   open      │ everything in workspace `default`    │ the same
 *   loopback  │ everything in workspace `default`    │ the anonymous key of workspace `default`, if it names one
 *   keys      │ the anonymous key of workspace `default`, if it names one
 */
export type AccessMode = 'keys' | 'loopback' | 'open';

export interface AdmissionOptions {
  readonly mode: AccessMode;
  readonly copy: AccessCopy;
  /** Whether the copy may be out of date without our knowing: then no key is trusted. */
  readonly isStale: () => boolean;
  /** Notes that a key was used. */
  readonly used: (keyId: string) => void;
  /** Origins whose pages may connect, whatever key they have. */
  readonly allowedOrigins: readonly string[];
  /** Whether the hub listens on loopback only. */
  readonly onLoopback: boolean;
}

/** What a request asks for without its key. A request whose key cannot be read has no address to go by but its own. */
export type ReadRequest =
  | { readonly ok: true; readonly key: string | undefined; readonly url: string }
  | { readonly ok: false; readonly code: ErrorCode };

export type Admitted = { readonly ok: true; readonly caller: Caller } | { readonly ok: false; readonly code: ErrorCode; readonly detail?: string };

export class Admission {
  readonly #options: AdmissionOptions;
  /** Who has no key, one for each door. */
  readonly #open = new Map<KeyKind, Principal>();
  readonly #isPageAllowed: (headers: IncomingHttpHeaders) => boolean;
  readonly #isLoopbackPageAllowed: (headers: IncomingHttpHeaders) => boolean;
  /** By the list of a workspace's origins. */
  readonly #origins = new WeakMap<readonly string[], (headers: IncomingHttpHeaders) => boolean>();

  constructor(options: AdmissionOptions) {
    this.#options = options;
    const { allowedOrigins, onLoopback } = options;
    this.#isPageAllowed = pageOriginCheck({ allowedOrigins, onLoopback });
    this.#isLoopbackPageAllowed = pageOriginCheck({ allowedOrigins, onLoopback: true });
  }

  /** Takes the key out of a request: what is left is routed. */
  read(request: IncomingMessage): ReadRequest {
    return presentedKey(request);
  }

  /** Whether the page a request is of may call what is public here. */
  isPageAllowed(headers: IncomingHttpHeaders): boolean {
    return this.#isPageAllowed(headers);
  }

  /**
   * Decides who calls, and whether they may come in at a door for these kinds.
   * Codes: ACCESS_KEY_REQUIRED, ACCESS_KEY_INVALID, ACCESS_KEY_EXPIRED, ACCESS_KIND_REFUSED, ACCESS_STALE, ORIGIN_REFUSED.
   */
  admit(request: IncomingMessage, key: string | undefined, kinds: readonly [KeyKind, ...KeyKind[]]): Admitted {
    return key === undefined ? this.#withoutKey(request, kinds) : this.#withKey(request, key, kinds);
  }

  /** Whether somebody who was admitted a while ago still is. */
  recheck({ principal, presented, secret }: Caller): ErrorCode | undefined {
    if (principal.status !== 'valid') return endCode(principal);
    if (!presented && principal.keyId !== undefined && this.#options.copy.anonymous(principal.workspaceId) !== principal) return 'ACCESS_KEY_REQUIRED';
    if (secret !== undefined && !principal.accepts(secret)) return 'ACCESS_KEY_INVALID';
    return principal.keyId !== undefined && this.#options.isStale() ? 'ACCESS_STALE' : undefined;
  }

  /**
   * Who goes on with another key on a connection that is open.
   * Codes: ACCESS_STALE, ACCESS_KEY_INVALID, ACCESS_KEY_EXPIRED, ACCESS_WORKSPACE_CHANGED.
   */
  refresh({ principal: before }: Caller, key: string): Admitted {
    const { copy, isStale, used } = this.#options;
    if (isStale()) return { ok: false, code: 'ACCESS_STALE' };
    const known = copy.authenticate(key);
    if (!known.ok) return known;
    const { principal, secret } = known;
    if (principal.workspaceId !== before.workspaceId || principal.kind !== before.kind) return { ok: false, code: 'ACCESS_WORKSPACE_CHANGED' };
    if (principal.keyId !== undefined) used(principal.keyId);
    return { ok: true, caller: { principal, presented: true, secret } };
  }

  /** What the hub itself does by its configuration: everything, in workspace `default`. */
  own(kind: KeyKind): Caller {
    let principal = this.#open.get(kind);
    if (principal === undefined) {
      principal = openPrincipal(DEFAULT_WORKSPACE_ID, kind, this.#options.copy);
      this.#open.set(kind, principal);
    }
    return { principal, presented: false };
  }

  #withKey(request: IncomingMessage, key: string, kinds: readonly KeyKind[]): Admitted {
    const { copy, isStale, used } = this.#options;
    if (isStale()) return { ok: false, code: 'ACCESS_STALE' };
    const known = copy.authenticate(key);
    if (!known.ok) return known;
    const { principal } = known;
    if (principal.keyId !== undefined) used(principal.keyId);
    if (!kinds.includes(principal.kind)) return { ok: false, code: 'ACCESS_KIND_REFUSED', detail: `a ${principal.kind} key` };
    return this.#fromPage(request, { principal, presented: true, secret: known.secret });
  }

  #withoutKey(request: IncomingMessage, kinds: readonly [KeyKind, ...KeyKind[]]): Admitted {
    const { mode, copy, isStale, used } = this.#options;
    if (mode === 'open' || (mode === 'loopback' && isLocalRequest(request))) {
      // On loopback without a key the Host header is all that tells a page of ours from one that made its name point here.
      const isAllowed = mode === 'loopback' ? this.#isLoopbackPageAllowed : this.#isPageAllowed;
      return isAllowed(request.headers) ? { ok: true, caller: this.own(kinds[0]) } : { ok: false, code: 'ORIGIN_REFUSED' };
    }
    const principal = copy.anonymous(DEFAULT_WORKSPACE_ID);
    if (principal === undefined || !kinds.includes(principal.kind)) return { ok: false, code: 'ACCESS_KEY_REQUIRED' };
    if (isStale()) return { ok: false, code: 'ACCESS_STALE' };
    if (principal.keyId !== undefined) used(principal.keyId);
    return this.#fromPage(request, { principal, presented: false });
  }

  #fromPage({ headers }: IncomingMessage, caller: Caller): Admitted {
    return this.#isPageAllowed(headers) || this.#originsOf(caller.principal)(headers) ? { ok: true, caller } : { ok: false, code: 'ORIGIN_REFUSED' };
  }

  #originsOf({ workspaceId }: Principal): (headers: IncomingHttpHeaders) => boolean {
    const allowedOrigins = this.#options.copy.workspace(workspaceId)?.allowedOrigins ?? [];
    if (allowedOrigins.length === 0) return () => false;
    let check = this.#origins.get(allowedOrigins);
    if (check === undefined) {
      check = pageOriginCheck({ allowedOrigins, onLoopback: this.#options.onLoopback });
      this.#origins.set(allowedOrigins, check);
    }
    return check;
  }
}

/** Why something that a principal holds ends. */
export function endCode({ status }: Principal): 'ACCESS_KEY_EXPIRED' | 'ACCESS_KEY_REVOKED' {
  return status === 'expired' ? 'ACCESS_KEY_EXPIRED' : 'ACCESS_KEY_REVOKED';
}
