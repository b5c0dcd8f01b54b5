import type { IncomingMessage, ServerResponse } from 'node:http';

import { pageOriginCheck, type PageOriginOptions } from '@carillon/runtime';

import { Refusal } from './refusal.ts';

const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE';
const REQUEST_HEADERS = 'authorization, content-type, idempotency-key, if-match, x-access-key, x-api-key';
const ANSWER_HEADERS = 'etag, idempotency-replayed, location, retry-after, x-request-id';
const PREFLIGHT_KEPT_S = 600;

/**
 * Which pages may call. Credentials travel in headers that only a page's own script can set, never in cookies, so that
 * `access-control-allow-credentials` is never said; a page of an origin that is not listed is refused before anything is done.
 */
export class Pages {
  readonly #isAllowed: ReturnType<typeof pageOriginCheck>;
  readonly #origins: ReadonlySet<string>;

  constructor(options: PageOriginOptions) {
    this.#isAllowed = pageOriginCheck(options);
    this.#origins = new Set(options.allowedOrigins.map((origin) => origin.replace(/\/$/, '')));
  }

  /** Sets what the page's browser has to know; true when it was a preflight, which is answered now. Throws ORIGIN_REFUSED. */
  admit(req: IncomingMessage, res: ServerResponse): boolean {
    const { origin, 'access-control-request-method': asked } = req.headers;
    res.setHeader('vary', 'Origin');
    if (!this.#isAllowed(req.headers)) throw new Refusal('ORIGIN_REFUSED');
    const allowed = this.#allowed(origin);
    if (allowed === undefined) return false;
    res.setHeader('access-control-allow-origin', allowed);
    res.setHeader('access-control-expose-headers', ANSWER_HEADERS);
    if (req.method !== 'OPTIONS' || asked === undefined) return false;
    res.writeHead(204, { 'access-control-allow-methods': METHODS, 'access-control-allow-headers': REQUEST_HEADERS, 'access-control-max-age': String(PREFLIGHT_KEPT_S) });
    res.end();
    return true;
  }

  #allowed(origin: string | undefined): string | undefined {
    if (origin === undefined) return undefined;
    if (this.#origins.has('*')) return '*';
    return this.#origins.has(origin) ? origin : undefined;
  }
}
