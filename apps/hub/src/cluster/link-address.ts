/**
 * The address of a hub to link with: `host`, `host:port`, or a full ws/wss URL. The original appends its port and
 * path; ours does where they are missing. Credentials and queries have no place in it: it shows in status and logs.
 */
export type LinkAddress = { readonly ok: true; readonly url: string } | { readonly ok: false; readonly fault: string };

const DEFAULT_PORT = '7100';
const LINK_PATH = '/connect/hub';
const ADDRESS_MAX_CHARACTERS = 512;
const HAS_SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;
/** As the first segments of a path, or by its look in any place; hubs present keys to each other in a header. */
const KEY_PATH = /^\/+k\//;
const KEY = /ck_[0-9a-z]+_[0-9a-z]+/i;
/** A URL hides a port that is its scheme's default. */
const NAMES_PORT = /:\d+$/;

export function parseLinkAddress(address: string): LinkAddress {
  if (address === '' || address.length > ADDRESS_MAX_CHARACTERS) return { ok: false, fault: 'empty or too long' };
  if (/[\s\\]/.test(address) || hasControlCharacter(address)) return { ok: false, fault: 'white space, a backslash or a control character' };
  const bare = !HAS_SCHEME.test(address);
  if (bare && address.includes('/')) return { ok: false, fault: 'not a host or host:port' };
  const authority = address.replace(HAS_SCHEME, '').split('/', 1)[0] ?? '';
  // By the text, not by the URL: an empty query or an empty user would be an address of its own for the same hub.
  if (authority.includes('@') || /[?#]/.test(address)) return { ok: false, fault: 'credentials, query or fragment' };
  let url: URL;
  try {
    url = new URL(bare ? `ws://${address}` : address);
  } catch {
    return { ok: false, fault: 'not a host, host:port or URL' };
  }
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') return { ok: false, fault: 'only ws: and wss: URLs' };
  if (url.hostname === '' || url.port === '0') return { ok: false, fault: 'no host or port 0' };
  if (bare && !NAMES_PORT.test(authority)) url.port = DEFAULT_PORT;
  if (KEY_PATH.test(decode(url.pathname)) || KEY.test(decode(address))) return { ok: false, fault: 'an access key' };
  if (url.pathname === '/') url.pathname = LINK_PATH;
  return { ok: true, url: url.href };
}

/** Byte by byte: what is no UTF-8 must not hide a key. */
function decode(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function hasControlCharacter(text: string): boolean {
  return [...text].some((character) => character < ' ' || character === '\u007f');
}
