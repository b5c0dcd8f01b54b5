import type { IncomingHttpHeaders } from 'node:http';

import { openPrincipal, type AccessCopy, type PresentedKey, type Principal } from '@carillon/access';
import { isLocalRequest, pageOriginCheck, type RequestOrigin } from '@carillon/runtime';
import type { KeyKind } from '@carillon/schemas';
import type { ErrorCode } from '@carillon/wire';

import type { AccessMode } from './config.ts';

/**
 * Who is behind a request to join, to send or for the status.
 *
 *   key       | keys              | loopback                                    | open
 *   presented | whoever has the key, in every mode; or why it opens nothing
 *   none      | the workspace's   | everybody on this machine, by no proxy; the | everybody
 *             | anonymous key's   | anonymous key's, who comes from elsewhere   |
 */
export interface GateOptions {
  readonly mode: AccessMode;
  readonly copy: AccessCopy;
  readonly workspaceId: () => string;
  /** Origins whose pages may connect, whatever their key; besides them a workspace has its own. */
  readonly allowedOrigins: readonly string[];
  /** Whether the repeater listens on loopback only. */
  readonly onLoopback: boolean;
}

export type Admission =
  | {
      readonly ok: true;
      readonly principal: Principal;
      /** It presented no key and stands under the anonymous one. */
      readonly isAnonymous: boolean;
      /** The hash of the secret that it presented. */
      readonly secret: string | undefined;
    }
  | { readonly ok: false; readonly code: ErrorCode };

type PageCheck = (headers: IncomingHttpHeaders) => boolean;

/** Devices, programs, and other repeaters that dial this one; what opens a hub's links or the management API opens nothing here. */
const KINDS: readonly KeyKind[] = ['messenger', 'service', 'repeater'];

export class Gate {
  readonly #options: GateOptions;
  readonly #isPageAllowed: PageCheck;
  readonly #isPageOfHereAllowed: PageCheck;
  #everybody: Principal | undefined = undefined;

  constructor(options: GateOptions) {
    this.#options = options;
    const { allowedOrigins, onLoopback } = options;
    this.#isPageAllowed = pageOriginCheck({ allowedOrigins, onLoopback });
    this.#isPageOfHereAllowed = pageOriginCheck({ allowedOrigins, onLoopback: true });
  }

  /** Codes: ACCESS_KEY_AMBIGUOUS, ACCESS_KEY_INVALID, ACCESS_KEY_EXPIRED, ACCESS_KEY_REQUIRED, ACCESS_KIND_REFUSED, ORIGIN_REFUSED. */
  admit(presented: PresentedKey, request: RequestOrigin): Admission {
    if (!presented.ok) return presented;
    if (presented.key === undefined) return this.#withoutKey(request);
    const found = this.#options.copy.authenticate(presented.key);
    if (!found.ok) return found;
    if (!KINDS.includes(found.principal.kind)) return { ok: false, code: 'ACCESS_KIND_REFUSED' };
    return this.#fromPage(request, { ok: true, principal: found.principal, isAnonymous: false, secret: found.secret });
  }

  /** Why somebody who was admitted a while ago is no longer: ACCESS_KEY_REVOKED, ACCESS_KEY_EXPIRED, ACCESS_KEY_INVALID, ACCESS_KEY_REQUIRED. */
  recheck({ principal, secret, isAnonymous }: Extract<Admission, { ok: true }>): ErrorCode | undefined {
    return endOf(principal, secret) ?? (isAnonymous && !this.isAnonymous(principal) ? 'ACCESS_KEY_REQUIRED' : undefined);
  }

  /** Whether this is who the workspace lets in without a key at present. */
  isAnonymous(principal: Principal): boolean {
    return this.#options.copy.anonymous(this.#options.workspaceId()) === principal;
  }

  #withoutKey(request: RequestOrigin): Admission {
    const { copy, mode, workspaceId } = this.#options;
    if (mode === 'open' || (mode === 'loopback' && isLocalRequest(request))) {
      // Where being on this machine is what lets a peer in, its browser's Host tells a page of ours from one whose name points here.
      const isAllowed = mode === 'open' ? this.#isPageAllowed : this.#isPageOfHereAllowed;
      return isAllowed(request.headers) ? { ok: true, principal: this.#open(), isAnonymous: false, secret: undefined } : { ok: false, code: 'ORIGIN_REFUSED' };
    }
    const principal = copy.anonymous(workspaceId());
    if (principal === undefined || !KINDS.includes(principal.kind)) return { ok: false, code: 'ACCESS_KEY_REQUIRED' };
    return this.#fromPage(request, { ok: true, principal, isAnonymous: true, secret: undefined });
  }

  #fromPage({ headers }: RequestOrigin, admission: Extract<Admission, { ok: true }>): Admission {
    const { copy, onLoopback } = this.#options;
    if (this.#isPageAllowed(headers)) return admission;
    const allowedOrigins = copy.workspace(admission.principal.workspaceId)?.allowedOrigins ?? [];
    const isAllowed = allowedOrigins.length > 0 && pageOriginCheck({ allowedOrigins, onLoopback })(headers);
    return isAllowed ? admission : { ok: false, code: 'ORIGIN_REFUSED' };
  }

  #open(): Principal {
    const { copy, workspaceId } = this.#options;
    const id = workspaceId();
    if (this.#everybody?.workspaceId !== id) this.#everybody = undefined;
    return (this.#everybody ??= openPrincipal(id, 'messenger', copy));
  }
}

/** Why somebody who was let in, with this secret if by any, may no longer be here; undefined while they may. */
export function endOf(principal: Principal, secret?: string): 'ACCESS_KEY_REVOKED' | 'ACCESS_KEY_EXPIRED' | 'ACCESS_KEY_INVALID' | undefined {
  const { status } = principal;
  switch (status) {
    case 'valid':
      return secret === undefined || principal.accepts(secret) ? undefined : 'ACCESS_KEY_INVALID';
    case 'revoked':
      return 'ACCESS_KEY_REVOKED';
    case 'expired':
      return 'ACCESS_KEY_EXPIRED';
    default:
      return status satisfies never;
  }
}
