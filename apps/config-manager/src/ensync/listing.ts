import { PAGE_LIMIT_MAX, type Page, type PageQuery } from '@carillon/schemas';
import { CarillonError } from '@carillon/wire';

/**
 * EnSync's listings go by the number of a page, in any of a few orders, and say how many there are in all. The store's go
 * by cursor in one order. So everything that may be listed is read, sorted here and cut; a bound keeps one request from
 * reading a database.
 */
const LISTED_MAX = 10_000;
const LIMIT_DEFAULT = 10;
const LIMIT_MAX = 100;

/** Parameters of a query, decoded. */
export type Query = Readonly<Record<string, string | undefined>>;

export interface Paging<K extends string> {
  readonly pageIndex: number;
  readonly limit: number;
  readonly order: 'ASC' | 'DESC';
  readonly orderBy: K;
}

export interface Listing<T> {
  /** How many there are on all pages together. */
  readonly resultsLength: number;
  readonly results: readonly T[];
}

/** Reads the paging of a query. What is missing or empty has its default, the first of `orders` being orderBy's; what is wrong is RESOURCE_INVALID. */
export function readPaging<K extends string>(query: Query, orders: readonly [K, ...K[]]): Paging<K> {
  const order = (query['order'] || 'DESC').toUpperCase();
  const orderBy = orders.find((one) => one === (query['orderBy'] || orders[0]));
  if (order !== 'ASC' && order !== 'DESC') throw new CarillonError('RESOURCE_INVALID', 'order is ASC or DESC');
  if (orderBy === undefined) throw new CarillonError('RESOURCE_INVALID', `orderBy is ${orders.join(' or ')}`);
  const pageIndex = readInteger(query, 'pageIndex', { min: 0, max: Math.floor(Number.MAX_SAFE_INTEGER / LIMIT_MAX), fallback: 0 });
  return { pageIndex, limit: readInteger(query, 'limit', { min: 1, max: LIMIT_MAX, fallback: LIMIT_DEFAULT }), order, orderBy };
}

function readInteger(query: Query, name: string, { min, max, fallback }: { readonly min: number; readonly max: number; readonly fallback: number }): number {
  const text = query[name] ?? '';
  if (text === '') return fallback;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (!(value >= min && value <= max)) throw new CarillonError('RESOURCE_INVALID', `${name} is a whole number from ${min} to ${max}`);
  return value;
}

/** Sorts by what `by` gives of an item for the order, then by id, and cuts the page that was asked for. */
export function cutPage<T extends { readonly id: string }, K extends string>(items: readonly T[], paging: Paging<K>, by: (item: T, orderBy: K) => string): Listing<T> {
  const { pageIndex, limit, order, orderBy } = paging;
  const sign = order === 'ASC' ? 1 : -1;
  const sorted = items.toSorted((one, other) => sign * (compare(by(one, orderBy), by(other, orderBy)) || compare(one.id, other.id)));
  return { resultsLength: items.length, results: sorted.slice(pageIndex * limit, (pageIndex + 1) * limit) };
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

/** Reads all pages of each of the lists, those of `keep`; RESOURCE_INVALID beyond 10,000 items read: the paging of /api/v1 has no such bound. */
export async function readAll<T>(lists: Iterable<(query: PageQuery) => Promise<Page<T>>>, keep: (item: T) => boolean): Promise<readonly T[]> {
  const kept: T[] = [];
  let read = 0;
  for (const list of lists) {
    let cursor: string | undefined;
    do {
      const page = await list({ limit: PAGE_LIMIT_MAX, cursor });
      read += page.items.length;
      if (read > LISTED_MAX) throw new CarillonError('RESOURCE_INVALID', `there are more than ${LISTED_MAX} to list: use the listings of /api/v1`);
      kept.push(...page.items.filter(keep));
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
  }
  return kept;
}
