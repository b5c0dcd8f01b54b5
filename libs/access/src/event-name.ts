/*
 * Rules by event name are only as good as the name they see, so it must be the name that every receiver will read. A body is
 * therefore scanned, not parsed: parsers take the last of two equal fields, and the original's (Go) also takes `KEY` for
 * `key`. Whatever leaves a choice has no name.
 */
const NAME_MAX_CHARACTERS = 256;
/** A field name in its longest escaped spelling; longer ones are none of ours. */
const FIELD_MAX_BYTES = 6 * 'specversion'.length;
const FIELDS: ReadonlySet<string> = new Set(['key', 'type', 'specversion']);
const CONTROL_CHARACTER = /\p{Cc}/u;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
/** Makes a body no JSON; some receivers pass over it. */
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf] as const;

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The name of the event in a JSON body: `key` of a room event, `type` of a CloudEvent (which has `specversion`). Undefined when
 * there is none, when it is empty, longer than 256 characters or has control characters, when a field of these three
 * comes twice (in whatever case), when there is both a CloudEvent's type and another key, or when the body is no
 * JSON object as far as was looked. One pass over the bytes; never throws.
 */
export function eventNameOf(body: Uint8Array): string | undefined {
  const fields = readFields(body);
  if (fields === undefined) return undefined;
  const key = fields.get('key');
  const name = fields.has('specversion') ? fields.get('type') : key;
  if (fields.has('specversion') && key !== undefined && key !== name) return undefined;
  if (typeof name !== 'string' || name === '' || name.length > NAME_MAX_CHARACTERS) return undefined;
  return name.isWellFormed() && !CONTROL_CHARACTER.test(name) ? name : undefined;
}

/**
 * All that some receiver may take for the name of the event, where `eventNameOf` finds none because there is a choice: who
 * asks what must hold for an event of that name asks it for each. Each once; none when the body is no JSON object.
 */
export function possibleEventNames(body: Uint8Array): readonly string[] {
  const values: FieldValue[] = [];
  const start = BYTE_ORDER_MARK.every((byte, at) => body[at] === byte) ? BYTE_ORDER_MARK.length : 0;
  if (!scanFields(body, start, (name, value) => values.push([name, value]) > 0)) return [];
  const isCloudEvent = values.some(([name]) => name === 'specversion');
  return [...new Set(values.flatMap(([name, value]) => (value !== null && (name === 'key' || (name === 'type' && isCloudEvent)) ? [value] : [])))];
}

type FieldValue = readonly [name: string, value: string | null];

/** The fields that may name the event, null for what is no string; undefined when there is a choice or no object. */
function readFields(body: Uint8Array): ReadonlyMap<string, string | null> | undefined {
  const fields = new Map<string, string | null>();
  const isWhole = scanFields(body, 0, (name, value) => {
    if (fields.has(name)) return false;
    fields.set(name, value);
    return true;
  });
  return isWhole ? fields : undefined;
}

/** Tells of each of these fields until one is not wanted; whether it came to the end of an object and nothing but that. */
function scanFields(body: Uint8Array, from: number, take: (name: string, value: string | null) => boolean): boolean {
  let at = skipSpace(body, from);
  if (body[at] !== OPEN_BRACE) return false;
  at = skipSpace(body, at + 1);
  if (body[at] === CLOSE_BRACE) return skipSpace(body, at + 1) === body.length;
  for (;;) {
    const nameEnd = endOfString(body, at);
    if (nameEnd === undefined) return false;
    const name = nameEnd - at <= FIELD_MAX_BYTES + 2 ? fold(readString(body, at, nameEnd)) : '';
    at = skipSpace(body, nameEnd);
    if (body[at] !== COLON) return false;
    at = skipSpace(body, at + 1);
    const valueEnd = endOfValue(body, at);
    if (valueEnd === undefined) return false;
    if (FIELDS.has(name) && !take(name, valueEnd - at <= 6 * NAME_MAX_CHARACTERS + 2 ? readString(body, at, valueEnd) : null)) return false;
    at = skipSpace(body, valueEnd);
    if (body[at] === CLOSE_BRACE) return skipSpace(body, at + 1) === body.length;
    if (body[at] !== COMMA) return false;
    at = skipSpace(body, at + 1);
  }
}

/** Letters that Go's decoder takes for one another: those of one case folding (U+017F is an s, U+212A a k). */
function fold(name: string | null): string {
  return name === null ? '' : name.toUpperCase().toLowerCase();
}

/** The string between two offsets, quotes included; null when there is something else. */
function readString(body: Uint8Array, from: number, to: number): string | null {
  if (body[from] !== QUOTE) return null;
  try {
    return JSON.parse(strictUtf8.decode(body.subarray(from, to))) as string;
  } catch {
    return null;
  }
}

function skipSpace(body: Uint8Array, from: number): number {
  let at = from;
  while (body[at] === 0x20 || body[at] === 0x0a || body[at] === 0x0d || body[at] === 0x09) at += 1;
  return at;
}

function endOfString(body: Uint8Array, from: number): number | undefined {
  if (body[from] !== QUOTE) return undefined;
  for (let at = from + 1; at < body.length; at += 1) {
    if (body[at] === BACKSLASH) at += 1;
    else if (body[at] === QUOTE) return at + 1;
  }
  return undefined;
}

/** Where a value ends: a string, brackets with all in them, or anything else up to the next comma, bracket or space. */
function endOfValue(body: Uint8Array, from: number): number | undefined {
  const first = body[from];
  if (first === QUOTE) return endOfString(body, from);
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return endOfBrackets(body, from);
  let at = from;
  while (at < body.length && !isDelimiter(body[at])) at += 1;
  return at === from ? undefined : at;
}

function endOfBrackets(body: Uint8Array, from: number): number | undefined {
  let depth = 0;
  for (let at = from; at < body.length; at += 1) {
    const byte = body[at];
    if (byte === QUOTE) {
      const end = endOfString(body, at);
      if (end === undefined) return undefined;
      at = end - 1;
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      depth += 1;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return undefined;
}

function isDelimiter(byte: number | undefined): boolean {
  return byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET || byte === COLON || byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
