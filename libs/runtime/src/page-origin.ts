import type { IncomingHttpHeaders } from 'node:http';

import { isLoopback } from './listen-address.ts';

/**
 * Any page that somebody opens may reach servers on their machine and network that the page's author cannot. Browsers
 * say in `Origin` which site a page is of; programs send none. A page may talk to the server that it came from, and to
 * servers that list its origin; `*` in the list lets every page in.
 *
 * A name that its owner points at 127.0.0.1 makes any page "come from" a loopback server (DNS rebinding), and browsers
 * send no `Origin` with simple requests to where the page came from. So on loopback a browser must also have asked for a
 * loopback name.
 */
export interface PageOriginOptions {
  readonly allowedOrigins: readonly string[];
  /** Whether the server is reached on loopback only. */
  readonly onLoopback: boolean;
}

export function pageOriginCheck({ allowedOrigins, onLoopback }: PageOriginOptions): (headers: IncomingHttpHeaders) => boolean {
  const origins = new Set(allowedOrigins.map((origin) => origin.replace(/\/$/, '')));
  const hosts = new Set([...origins].flatMap((origin) => (URL.canParse(origin) ? [new URL(origin).host] : [])));
  if (origins.has('*')) return () => true;
  return (headers) => {
    const { origin, host = '' } = headers;
    if (onLoopback && isBrowser(headers) && !hosts.has(host) && !isLoopbackName(host)) return false;
    if (origin === undefined || origins.has(origin)) return true;
    if (!URL.canParse(origin)) return false;
    const page = new URL(origin);
    // The same default port on both sides, as the page's scheme has it.
    return URL.canParse(`${page.protocol}//${host}`) && page.host !== '' && page.host === new URL(`${page.protocol}//${host}`).host;
  };
}

/** Every browser's User-Agent begins so, and no script of a page can change that. */
function isBrowser(headers: IncomingHttpHeaders): boolean {
  return headers['user-agent']?.startsWith('Mozilla/') === true;
}

function isLoopbackName(host: string): boolean {
  if (!URL.canParse(`http://${host}`)) return false;
  const { hostname } = new URL(`http://${host}`);
  return hostname === 'localhost' || hostname.endsWith('.localhost') || isLoopback(hostname.replace(/^\[|\]$/g, ''));
}
