import { CarillonError } from '@carillon/wire';

/** Nothing that the API takes is nested this deep; the walk below is one call a level. */
const DEPTH_MAX = 256;

/** Refuses, with `RESOURCE_INVALID`, text that PostgreSQL cannot hold (U+0000, half a surrogate pair) anywhere in a value. */
export function refuseUnstorable(value: unknown, depth = 0): void {
  if (typeof value === 'string') {
    if (!isStorable(value)) throw new CarillonError('RESOURCE_INVALID', 'a text has U+0000 or half a surrogate pair');
    return;
  }
  if (typeof value !== 'object' || value === null || value instanceof Date || value instanceof Uint8Array) return;
  if (depth > DEPTH_MAX) throw new CarillonError('RESOURCE_INVALID', 'a value is nested too deeply');
  for (const [name, inner] of Object.entries(value)) {
    refuseUnstorable(name);
    refuseUnstorable(inner, depth + 1);
  }
}

/** The same value with U+FFFD in place of what PostgreSQL cannot hold: for records that must not be lost over it. */
export function storable<T>(value: T): T {
  return mended(value) as T;
}

function mended(value: unknown): unknown {
  if (typeof value === 'string') return isStorable(value) ? value : value.toWellFormed().replaceAll('\0', '\uFFFD');
  if (Array.isArray(value)) return value.map(mended);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [mended(name), mended(inner)]));
}

const isStorable = (text: string): boolean => !text.includes('\0') && text.isWellFormed();
