/** The parameters of a request's query, or what is wrong with it. */
export type HttpQuery =
  | { readonly ok: true; readonly values: ReadonlyMap<string, string> }
  | { readonly ok: false; readonly code: 'REQUEST_MALFORMED'; readonly detail: string };

/**
 * Reads a query as forms write it (`+` is a space), strictly: bytes that are no UTF-8 must not become another room's name,
 * and of two values nobody knows which was meant. Parameters that nobody asks for mean nothing.
 */
export function readQuery(query: string, names: readonly string[]): HttpQuery {
  const values = new Map<string, string>();
  for (const pair of query.split('&')) {
    const equals = pair.indexOf('=');
    const name = decode(equals === -1 ? pair : pair.slice(0, equals));
    if (name === undefined || !names.includes(name)) continue;
    const value = decode(equals === -1 ? '' : pair.slice(equals + 1));
    if (value === undefined) return malformed(`${name} is not percent-encoded UTF-8`);
    if (values.has(name)) return malformed(`${name} comes twice`);
    values.set(name, value);
  }
  return { ok: true, values };
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return undefined;
  }
}

function malformed(detail: string): HttpQuery {
  return { ok: false, code: 'REQUEST_MALFORMED', detail };
}
