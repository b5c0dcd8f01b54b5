import type { IncomingHttpHeaders } from 'node:http';

import { parseAccessKey } from './access-key.ts';

/*
 * Where a request may carry its key, for those who can set a header and for those who can only be given an address:
 *
 *   Authorization: Bearer <key>      other schemes are somebody else's
 *   X-Access-Key: <key>              also X-API-Key
 *   /k/<key>/connect/…               the first segments of the path
 *   /connect/…?key=<key>
 *
 * A key that is there must be one: what is not of its shape is refused rather than passed over, or a mistyped key would
 * enter as nobody. Percent-decoding happens once.
 */
export type PresentedKey =
  | {
      readonly ok: true;
      /** Of the right shape, not checked beyond that; undefined when there is none. */
      readonly key: string | undefined;
      /** The request's target without the key, otherwise byte for byte; `/` when the request had none. */
      readonly url: string;
    }
  | { readonly ok: false; readonly code: 'ACCESS_KEY_AMBIGUOUS' | 'ACCESS_KEY_INVALID' };

const PATH_PREFIX = '/k/';
const QUERY_NAME = 'key';
const BEARER = 'bearer';

/**
 * Finds the key that a request carries. The same one in several places is one; two make ACCESS_KEY_AMBIGUOUS; text in a
 * key's place that is none makes ACCESS_KEY_INVALID. Never throws, whatever the target; takes time linear in its length.
 */
export function presentedKey({ headers, url = '/' }: { readonly headers: IncomingHttpHeaders; readonly url?: string | undefined }): PresentedKey {
  const pathStart = startOfPath(url);
  const queryStart = url.indexOf('?', pathStart);
  const path = takeFromPath(queryStart === -1 ? url.slice(pathStart) : url.slice(pathStart, queryStart));
  const query = takeFromQuery(queryStart === -1 ? '' : url.slice(queryStart));
  const texts = [...fromHeaders(headers), ...path.texts, ...query.texts];
  const [key] = texts;
  if (!texts.every((text) => parseAccessKey(text) !== undefined)) return { ok: false, code: 'ACCESS_KEY_INVALID' };
  if (!texts.every((text) => text === key)) return { ok: false, code: 'ACCESS_KEY_AMBIGUOUS' };
  return { ok: true, key, url: url.slice(0, pathStart) + path.rest + query.rest };
}

interface Taken {
  readonly texts: readonly string[];
  readonly rest: string;
}

/** Of `http://host/path`, which proxies send, where the path begins; 0 of all other targets. */
function startOfPath(url: string): number {
  if (url.startsWith('/') || !/^https?:\/\//i.test(url)) return 0;
  const authority = url.indexOf('//') + 2;
  const end = url.slice(authority).search(/[/?#]/);
  return end === -1 ? url.length : authority + end;
}

function takeFromPath(path: string): Taken {
  const texts: string[] = [];
  let rest = path;
  while (rest.startsWith(PATH_PREFIX)) {
    const end = rest.indexOf('/', PATH_PREFIX.length);
    texts.push(decodeOnce(end === -1 ? rest.slice(PATH_PREFIX.length) : rest.slice(PATH_PREFIX.length, end)));
    rest = end === -1 ? '/' : rest.slice(end);
  }
  return { texts, rest };
}

function takeFromQuery(query: string): Taken {
  const texts: string[] = [];
  const kept: string[] = [];
  for (const parameter of query.slice(1).split('&')) {
    const equals = parameter.indexOf('=');
    const name = equals === -1 ? parameter : parameter.slice(0, equals);
    if (decodeOnce(name) === QUERY_NAME) texts.push(equals === -1 ? '' : decodeOnce(parameter.slice(equals + 1)));
    else kept.push(parameter);
  }
  if (texts.length === 0) return { texts, rest: query };
  return { texts, rest: kept.length === 0 ? '' : `?${kept.join('&')}` };
}

function fromHeaders({ authorization = '', 'x-access-key': accessKey, 'x-api-key': apiKey }: IncomingHttpHeaders): readonly string[] {
  return [...bearer(authorization), ...listed(accessKey), ...listed(apiKey)];
}

function bearer(authorization: string): readonly string[] {
  const text = authorization.trim();
  if (text.slice(0, BEARER.length).toLowerCase() !== BEARER) return [];
  const rest = text.slice(BEARER.length);
  return rest === '' || rest.startsWith(' ') || rest.startsWith('\t') ? [rest.trim()] : [];
}

/** A header that came twice has its values joined by commas. An empty one is as good as none. */
function listed(header: string | readonly string[] | undefined): readonly string[] {
  const text = typeof header === 'string' ? header : (header?.join(',') ?? '');
  return text.trim() === '' ? [] : text.split(',').map((part) => part.trim());
}

/** What does not decode stays as it is: it is no key then, and no name of ours. */
function decodeOnce(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
