/**
 * The address of a hub to link with: `host`, `host:port`, or a full ws/wss URL. The original appends its port and
 * path; ours does where they are missing. Credentials and queries have no place in it: it shows in status and logs.
 */
export type LinkAddress = { readonly ok: true; readonly url: string } | { readonly ok: false; readonly fault: string };

const DEFAULT_PORT = '7100';
const LINK_PATH = '/connect/hub';
const ADDRESS_MAX_CHARACTERS = 512;
const HAS_SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;

export function parseLinkAddress(address: string): LinkAddress {
  if (address === '' || address.length > ADDRESS_MAX_CHARACTERS) return { ok: false, fault: 'empty or too long' };
  if (/[\s\\]/.test(address) || hasControlCharacter(address)) return { ok: false, fault: 'white space, a backslash or a control character' };
  const bare = !HAS_SCHEME.test(address);
  if (bare && /[/?#@]/.test(address)) return { ok: false, fault: 'not a host or host:port' };
  let url: URL;
  try {
    url = new URL(bare ? `ws://${address}` : address);
  } catch {
    return { ok: false, fault: 'not a host, host:port or URL' };
  }
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') return { ok: false, fault: 'only ws: and wss: URLs' };
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') return { ok: false, fault: 'credentials, query or fragment' };
  if (url.hostname === '' || /(^|:)0$/.test(address)) return { ok: false, fault: 'no host or port 0' };
  if (url.port === '' && bare && !/:80$/.test(address)) url.port = DEFAULT_PORT;
  if (url.pathname === '/') url.pathname = LINK_PATH;
  return { ok: true, url: url.href };
}

function hasControlCharacter(text: string): boolean {
  return [...text].some((character) => character < ' ' || character === '\u007f');
}
