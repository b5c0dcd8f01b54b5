/**
 * Addresses as people write them. `host`, `host:port` and `ws://…` name the same kind of thing; the original joined
 * them with strings and got it wrong for some.
 */

/** Where an original repeater listens. */
export const REPEATER_PORT = 7101;
/** Where a hub listens. */
export const HUB_PORT = 7100;

export type SocketAddress = { readonly ok: true; readonly url: string } | { readonly ok: false; readonly reason: string };

const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;
/** What may stand in `host:port`: anything that would start a path, a query or credentials is a slip. */
const AUTHORITY = /^[^\s/?#@]+$/;
const PORT_AT_END = /:\d+$/;

/** Reads `host`, `host:port` or a ws/wss URL as a URL; a text without scheme and port gets the default port. */
export function readSocketAddress(text: string, defaultPort: number): SocketAddress {
  if (!SCHEME.test(text)) {
    if (!AUTHORITY.test(text)) return { ok: false, reason: 'is not a host, host:port or ws:// URL' };
    return asUrl(PORT_AT_END.test(text) ? `ws://${text}` : `ws://${text}:${defaultPort}`);
  }
  return /^wss?:/i.test(text) ? asUrl(text) : { ok: false, reason: 'has a scheme other than ws:// or wss://' };
}

function asUrl(text: string): SocketAddress {
  if (!URL.canParse(text)) return { ok: false, reason: 'is not a host, host:port or ws:// URL' };
  const url = new URL(text);
  // WebSocket URLs have no fragment (RFC 6455 §3).
  if (url.hash !== '') return { ok: false, reason: 'has a fragment (#)' };
  return { ok: true, url: url.href };
}

/** Where a repeater joins a hub: the hub's URL, whose path and query may carry a key, with `/connect/repeater` behind its path. */
export function hubJoinUrl(hubUrl: string): string {
  return below(hubUrl, '/connect/repeater').href;
}

/** Where a hub tells its repeaters of keys, permissions and devices: the same address over http or https. */
export function hubFeedUrl(hubUrl: string): string {
  return below(hubUrl, '/access/feed').href.replace(/^ws/, 'http');
}

function below(hubUrl: string, path: string): URL {
  const url = new URL(hubUrl);
  url.pathname = url.pathname.replace(/\/+$/, '') + path;
  return url;
}

/** A path with nothing in it but a key. */
const KEY_PATH = /^(?:\/k\/[^/]+)?\/*$/;

/** Where this repeater joins a device or another repeater; an address that has a path, other than its key's, is dialled as it is. */
export function targetJoinUrl(address: string, room: string, ownId: string): string {
  const url = new URL(address);
  return KEY_PATH.test(url.pathname) ? below(address, `/connect/${encodeURIComponent(room)}/${encodeURIComponent(ownId)}`).href : url.href;
}

/** Whether an address carries a key, as `/k/<key>` or `?key=`. */
export function carriesKey(address: string): boolean {
  const { pathname, searchParams } = new URL(address);
  return /^\/k\/[^/]/.test(pathname) || searchParams.has('key');
}
