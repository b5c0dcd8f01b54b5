/**
 * Rooms as NATS subject tokens, so that a server filters by room for us. Segments and separators are tokens of
 * their own (`ITB-1101` is `ITB.-.1101`), hence a `*` segment is NATS's `*` and a final `**` is `>`.
 * A pattern with a `*` inside a segment asks for the whole segment: the hub filters the rest by itself.
 */
const SAFE = /^[A-Za-z0-9_]$/;
const EMPTY_SEGMENT = '%';
const utf8 = new TextEncoder();

function encodeSegment(segment: string): string {
  if (segment === '') return EMPTY_SEGMENT;
  let token = '';
  for (const byte of utf8.encode(segment)) {
    const character = String.fromCharCode(byte);
    token += SAFE.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return token;
}

const tokensOf = (name: string): string[] => name.split(/([-/])/);

/** The subject tokens of a valid room. */
export function roomSubject(room: string): string {
  return tokensOf(room).map((token, index) => (index % 2 === 1 ? token : encodeSegment(token))).join('.');
}

/** The narrowest subject that covers a valid pattern. */
export function patternSubject(pattern: string): string {
  const subject: string[] = [];
  if (pattern === '*') return '>';
  for (const [index, token] of tokensOf(pattern).entries()) {
    if (index % 2 === 1) subject.push(token);
    else if (token.endsWith('**')) return [...subject, '>'].join('.');
    else subject.push(token.includes('*') ? '*' : encodeSegment(token));
  }
  return subject.join('.');
}
