import type { RootDatabase } from 'lmdb';

import { Unsound } from './log-faults.ts';

/*
 * LMDB finds a table by its name, and makes one that it does not find: a name with a bit that is not what it was would be an empty table.
 * `notes`, which says of which format a store is, is the first to be made.
 */

/** Names of the tables that a store has. Throws Unsound when it has some and not the first. */
export function tablesOf<Key extends number>(root: RootDatabase<Buffer, Key>): readonly string[] {
  const names = [...root.getKeys()].map(String);
  if (names.length > 0 && !names.includes('notes')) throw nameLost();
  return names;
}

/** Throws Unsound when a store, of a format whose names are known, has a table of another name. */
export function requireKnownTables(there: readonly string[], known: readonly string[]): void {
  if (there.some((name) => !known.includes(name))) throw nameLost();
}

const nameLost = (): Unsound => new Unsound('a table has lost its name');
