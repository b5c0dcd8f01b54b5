import { z } from 'zod';

/** Paging of every listing: by cursor, so that a change between two pages neither repeats nor skips what was there before. */
export const PAGE_LIMIT_MAX = 200;
export const PAGE_LIMIT_DEFAULT = 50;

export const pageQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(PAGE_LIMIT_MAX).default(PAGE_LIMIT_DEFAULT).meta({ description: 'Items of one page' }),
  cursor: z.string().max(4_096).optional().meta({ description: '`nextCursor` of the page before' }),
});

export type PageQuery = z.output<typeof pageQuery>;

/** A page of a listing; `nextCursor` is null on the last one. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly nextCursor: string | null;
}

export function pageOf<S extends z.ZodType>(item: S) {
  return z.object({ items: z.array(item), nextCursor: z.string().nullable().meta({ description: 'Asks for the next page; null on the last' }) });
}

/** Common to everything that is stored: its version is what `ETag` and `If-Match` carry, as `"<version>"`. */
export const stored = {
  version: z.int().min(1),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
};

/** A name for people: any printable text. */
export const displayName = z.string().trim().min(1).max(120).regex(/^[^\p{Cc}]*$/u, 'must not have control characters');
export const description = z.string().max(2_000).regex(/^[^\u0000]*$/, 'must not have U+0000');
