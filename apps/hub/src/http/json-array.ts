/**
 * Cuts a JSON list into the bytes of its elements, so that each goes on as it was written: parsed and written anew, 1.0
 * would be 1 and a large number another one. Takes text that has been parsed: what is no list gives nonsense.
 */
export function splitJsonArray(bytes: Uint8Array): readonly Uint8Array[] {
  const elements: Uint8Array[] = [];
  let depth = 0;
  let isInString = false;
  let from = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at] as number;
    if (isInString) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) isInString = false;
      continue;
    }
    if (byte === QUOTE) isInString = true;
    else if (byte === OPEN_BRACKET || byte === OPEN_BRACE) {
      depth += 1;
      if (depth === 1) from = at + 1;
    } else if (byte === CLOSE_BRACKET || byte === CLOSE_BRACE) {
      depth -= 1;
    }
    const isEnd = (byte === COMMA && depth === 1) || (byte === CLOSE_BRACKET && depth === 0);
    if (!isEnd) continue;
    const element = trimmed(bytes.subarray(from, at));
    // Only an empty list has an element of nothing.
    if (element.length > 0) elements.push(element);
    from = at + 1;
  }
  return elements;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
/** RFC 8259 §2. */
const WHITE_SPACE: ReadonlySet<number | undefined> = new Set([0x20, 0x09, 0x0a, 0x0d]);

function trimmed(bytes: Uint8Array): Uint8Array {
  let from = 0;
  let to = bytes.length;
  while (from < to && WHITE_SPACE.has(bytes[from])) from += 1;
  while (to > from && WHITE_SPACE.has(bytes[to - 1])) to -= 1;
  return bytes.subarray(from, to);
}
