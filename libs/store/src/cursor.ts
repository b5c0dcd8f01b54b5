import type { Page, PageQuery } from '@carillon/schemas';
import { CarillonError } from '@carillon/wire';

import { refuseUnstorable } from './storable.ts';

/** Two sort keys of 256 characters at three bytes each, in base64, with room to spare. */
const CURSOR_MAX_CHARACTERS = 4_096;

export interface Listing<Row, Item> {
  /** Stands in the cursor, so that one of another listing is refused. */
  readonly name: string;
  /** What the rows are sorted by, as text: unique, and as many as `after` has. */
  readonly key: (row: Row) => readonly string[];
  /** At most `take` rows that come after the key, or the first ones. */
  readonly read: (after: readonly string[] | undefined, take: number) => Promise<readonly Row[]>;
  readonly item: (row: Row) => Item;
}

/** Reads a page. The next one begins after the last row of this one, whatever has come or gone between. `CURSOR_INVALID`. */
export async function readPage<Row, Item>({ limit, cursor }: PageQuery, { name, key, read, item }: Listing<Row, Item>, keys: number): Promise<Page<Item>> {
  const rows = await read(cursor === undefined ? undefined : parseCursor(cursor, { name, keys }), limit + 1);
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return { items: shown.map(item), nextCursor: rows.length > limit && last !== undefined ? formatCursor(name, key(last)) : null };
}

/** A time that a cursor carries. */
export function cursorTime(text: string | undefined): Date {
  const at = new Date(text ?? '');
  if (Number.isNaN(at.getTime())) throw new CarillonError('CURSOR_INVALID');
  return at;
}

function formatCursor(name: string, key: readonly string[]): string {
  return Buffer.from(JSON.stringify([name, ...key])).toString('base64url');
}

function parseCursor(text: string, { name, keys }: { readonly name: string; readonly keys: number }): readonly string[] {
  const found = text.length > CURSOR_MAX_CHARACTERS ? undefined : decode(text);
  if (!Array.isArray(found) || found.length !== keys + 1 || found[0] !== name || !found.every((part) => typeof part === 'string')) throw new CarillonError('CURSOR_INVALID');
  return found.slice(1);
}

function decode(text: string): unknown {
  try {
    const found: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(text, 'base64url')));
    refuseUnstorable(found);
    return found;
  } catch {
    return undefined;
  }
}
