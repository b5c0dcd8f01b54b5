const isSeparator = (character) => character === '-' || character === '/';

/**
 * Whether a pattern selects a room, as the hub decides it (libs/wire/src/pattern.ts; a test holds the two together): `*` within
 * one segment, a final `**` for the rest, `*` alone for every room. Not a regular expression: patterns come from peers, and one of
 * many stars could keep the page busy for ever.
 */
export function matchesPattern(pattern, room) {
  if (pattern === '*' || pattern === '**') return true;
  const rest = pattern.endsWith('**');
  const end = rest ? pattern.length - 2 : pattern.length;
  let [p, r, star, resume] = [0, 0, -1, 0];
  for (;;) {
    if (p === end && (rest || r === room.length)) return true;
    if (p < end && pattern[p] === '*') {
      star = ++p;
      resume = r;
    } else if (p < end && r < room.length && pattern[p] === room[r]) {
      if (isSeparator(room[r])) star = -1;
      p += 1;
      r += 1;
    } else if (star !== -1 && resume < room.length && !isSeparator(room[resume])) {
      r = ++resume;
      p = star;
    } else {
      return false;
    }
  }
}
