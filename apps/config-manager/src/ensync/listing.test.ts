import { describe, expect, it } from 'vitest';

import { cutPage, readAll, readPaging } from './listing.ts';

const ORDERS = ['createdAt', 'name'] as const;

describe('paging', () => {
  it.each([
    [{}, { pageIndex: 0, limit: 10, order: 'DESC', orderBy: 'createdAt' }],
    [{ pageIndex: '', limit: '', order: '', orderBy: '' }, { pageIndex: 0, limit: 10, order: 'DESC', orderBy: 'createdAt' }],
    [{ pageIndex: '2', limit: '100', order: 'asc', orderBy: 'name', other: 'x' }, { pageIndex: 2, limit: 100, order: 'ASC', orderBy: 'name' }],
  ])('%j is read leniently', (query, paging) => expect(readPaging(query, [...ORDERS])).toEqual(paging));

  it.each([[{ pageIndex: '-1' }], [{ pageIndex: '1.5' }], [{ pageIndex: '99999999999999999' }], [{ limit: '0' }], [{ limit: '101' }], [{ limit: 'ten' }], [{ order: 'up' }], [{ orderBy: 'constructor' }], [{ orderBy: 'key' }]])('%j is refused', (query) => {
    expect(() => readPaging(query, [...ORDERS])).toThrow(expect.objectContaining({ code: 'RESOURCE_INVALID' }));
  });

  it('cuts pages that together are everything once, also of equal names', () => {
    const items = Array.from({ length: 7 }, (_, at) => ({ id: `i${at}`, name: at < 4 ? 'same' : 'other' }));
    const pages = [0, 1, 2, 3].map((pageIndex) => cutPage(items, { pageIndex, limit: 3, order: 'ASC', orderBy: 'name' }, ({ name }) => name));
    expect(pages.map(({ resultsLength }) => resultsLength)).toEqual([7, 7, 7, 7]);
    expect(pages.flatMap(({ results }) => results.map(({ id }) => id))).toEqual(['i4', 'i5', 'i6', 'i0', 'i1', 'i2', 'i3']);
    expect(cutPage(items, { pageIndex: 0, limit: 2, order: 'DESC', orderBy: 'name' }, ({ name }) => name).results.map(({ id }) => id)).toEqual(['i3', 'i2']);
  });

  it('reads lists to their end, and no further than its bound', async () => {
    const list = (pages: number) => async ({ cursor = '0' }: { readonly cursor?: string | undefined }) => ({ items: Array.from({ length: 200 }, () => cursor), nextCursor: Number(cursor) + 1 < pages ? String(Number(cursor) + 1) : null });
    expect(await readAll([list(2), list(1)], (item) => item === '0')).toHaveLength(400);
    await expect(readAll([list(25), list(26)], () => false)).rejects.toMatchObject({ code: 'RESOURCE_INVALID' });
  });
});
