import { CarillonError } from '@carillon/wire';

/** Where to connect, what may be shown of it, and whether whoever listens there takes subscription changes. */
export interface HubUrl {
  readonly url: string;
  /** The address without user, password, query and access key. */
  readonly shown: string;
  /**
   * False for a repeater's device door (`/connect/ROOM/ID`) and for the doors of other kinds: those take binary frames
   * only, and send down what their send list says.
   */
  readonly registersRooms: boolean;
  /** False for a device door: an original repeater pings no devices, so silence there says nothing until one was seen. */
  readonly promisesPings: boolean;
}

const MESSENGER_DOOR = '/connect/messenger';
/** No path, or only the access key that an address may begin with. */
const BARE_PATH = /^(\/k\/[^/]+)?\/?$/;
const KEY_IN_PATH = /^\/k\/[^/]+/;
const DEVICE_DOOR = /\/connect\/[^/]+\/[^/]+\/?$/;
const OTHER_DOOR = /\/connect\/(?:repeater|hub)\/?$/;

/**
 * Reads a hub's address: `ws(s)://host[:port]` (http and https mean the same) gets the messenger's door; with a path it
 * is used as it is. `keyInPath` is put before the path. Code: HUB_URL_INVALID.
 */
export function resolveHubUrl(address: string, keyInPath?: string): HubUrl {
  if (!URL.canParse(address)) throw new CarillonError('HUB_URL_INVALID', 'not a URL');
  const url = new URL(address);
  if (url.protocol === 'http:') url.protocol = 'ws:';
  if (url.protocol === 'https:') url.protocol = 'wss:';
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') throw new CarillonError('HUB_URL_INVALID', `the scheme ${url.protocol} is not ws or wss`);
  if (url.hash !== '') throw new CarillonError('HUB_URL_INVALID', 'a WebSocket address has no fragment');
  const bare = BARE_PATH.exec(url.pathname);
  if (bare !== null) url.pathname = `${bare[1] ?? ''}${MESSENGER_DOOR}`;
  if (keyInPath !== undefined) url.pathname = `/k/${encodeURIComponent(keyInPath)}${url.pathname}`;
  const path = url.pathname.replace(KEY_IN_PATH, '/k/[redacted]');
  const promisesPings = !DEVICE_DOOR.test(url.pathname);
  return { url: url.href, shown: `${url.protocol}//${url.host}${path}`, registersRooms: promisesPings && !OTHER_DOOR.test(url.pathname), promisesPings };
}

/** The same address with another access key before its path; without one, when a header carries it. */
export function withKey(url: string, keyInPath?: string): string {
  const keyed = new URL(url);
  if (keyed.searchParams.has('key')) keyed.searchParams.delete('key');
  keyed.pathname = `${keyInPath === undefined ? '' : `/k/${encodeURIComponent(keyInPath)}`}${keyed.pathname.replace(KEY_IN_PATH, '')}`;
  return keyed.href;
}
