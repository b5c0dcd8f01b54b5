import { isExactPattern, matchesPattern } from '@carillon/wire';

/** Whether one of several rooms and patterns selects a room; exact names are found by hash. */
export function roomSet(rooms: readonly string[]): (room: string) => boolean {
  const exact = new Set(rooms.filter((room) => isExactPattern(room)));
  const patterns = rooms.filter((room) => !isExactPattern(room));
  return (room) => exact.has(room) || patterns.some((pattern) => matchesPattern(pattern, room));
}
