import type { IncomingHttpHeaders } from 'node:http';

import { isLoopback } from './listen-address.ts';

/** By these proxies say that they stand between. An empty one says so too. */
const PROXY_HEADERS = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip'] as const;

/** The part of a request that says where it comes from. */
export interface RequestOrigin {
  readonly headers: IncomingHttpHeaders;
  readonly socket: { readonly remoteAddress?: string | undefined };
}

/** Whether a request is of this machine: its socket is on loopback, and no proxy has said that it brings it from elsewhere. */
export function isLocalRequest({ headers, socket }: RequestOrigin): boolean {
  return isLoopback(socket.remoteAddress ?? '') && PROXY_HEADERS.every((name) => headers[name] === undefined);
}
