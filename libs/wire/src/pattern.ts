import { DEFAULT_LIMITS } from './limits.ts';
import { roomFault, type RoomFault } from './room.ts';

/**
 * A room pattern selects rooms:
 *
 *   ITB-1101     that room
 *   ITB-*        `*` stands for any run of characters within one segment (segments end at `-` or `/`)
 *   ITB-11*-CP?  no other wildcard exists: `?` is itself
 *   ITB-**       a final `**` stands for the rest, separators included
 *   *            alone: every room, as in v1 (so does `**`)
 */
export type PatternFault = Exclude<RoomFault, 'wildcard'> | 'rest-not-final';

/** The pattern that selects every room. */
export const ALL_ROOMS = '*';

/** Says what is wrong with a pattern, or undefined when it may be used. */
export function patternFault(pattern: string, roomMaxBytes = DEFAULT_LIMITS.roomMaxBytes): PatternFault | undefined {
  const fault = roomFault(pattern.replaceAll('*', 'x'), roomMaxBytes);
  if (fault !== undefined) return fault === 'wildcard' ? undefined : fault;
  const rest = pattern.indexOf('**');
  return rest !== -1 && rest !== pattern.length - 2 ? 'rest-not-final' : undefined;
}

/** True when a pattern names one room, so that an index by name can serve it. */
export function isExactPattern(pattern: string): boolean {
  return !pattern.includes('*');
}

export function isAllPattern(pattern: string): boolean {
  return pattern === ALL_ROOMS || pattern === '**';
}

const isSeparator = (character: string | undefined): boolean => character === '-' || character === '/';

/**
 * Decides whether a valid pattern selects a room. Linear in practice and never worse than
 * pattern × room: a `*` cannot cross a separator, so only the last star of the current segment is retried.
 */
export function matchesPattern(pattern: string, room: string): boolean {
  return isAllPattern(pattern) || matches(pattern, room, isSeparator);
}

/** Stand for what a pattern leaves open. No name and no pattern may have them: they are control characters. */
const ANY_RUN = '\u0001';
const ANY_REST = '\u0002';

/**
 * Decides whether everything that `pattern` selects is selected by `wide` too; both valid. Exact: what `pattern` leaves
 * open becomes a character that no literal of `wide` is, and a rest becomes one that only a rest crosses.
 */
export function coversPattern(wide: string, pattern: string): boolean {
  if (isAllPattern(wide)) return true;
  if (isAllPattern(pattern)) return false;
  const rest = pattern.endsWith('**');
  const open = (rest ? pattern.slice(0, -2) : pattern).replaceAll('*', ANY_RUN);
  return matches(wide, rest ? open + ANY_REST : open, isOpenSeparator);
}

const isOpenSeparator = (character: string | undefined): boolean => isSeparator(character) || character === ANY_REST;

function matches(pattern: string, room: string, isSeparator: (character: string | undefined) => boolean): boolean {
  const rest = pattern.endsWith('**');
  const end = rest ? pattern.length - 2 : pattern.length;
  let p = 0;
  let r = 0;
  let star = -1;
  let resume = 0;
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
