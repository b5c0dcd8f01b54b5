import { Unsound } from './log-faults.ts';

/*
 * A file of LMDB begins with two meta pages. Each commit turns one of them, by its number: of transaction N it is page N & 1, and the other
 * one says N - 1. What LMDB takes from them it takes unseen: a bit that is not what it was leads it to an older state, makes it map more
 * than there can be, or ends the process.
 *
 * Layout: LMDB's data format 2 (mdb.c: MDB_page_header, MDB_meta, MDB_db), little-endian, 64 bits.
 */
const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
const META = 0x08;
const NO_PAGE = 0xffff_ffff_ffff_ffffn;
const DEPTH_MAX = 32;
const INTEGER_KEYS = 0x08;
// MDB_meta: magic, version, address and size of the map, then the trees of free pages and of tables.
const DBS_AT = 48;
const LAST_PAGE_AT = 144;
const TXN_AT = 152;
const PAGE_SIZES: readonly number[] = [4_096, 8_192, 16_384, 32_768, 65_536];
// What a commit frees at the end of the file it does not write: 256 MiB of the usual pages, far more than one of ours has.
const UNWRITTEN_MAX_PAGES = 65_536;

export const HEADER_BYTES = 24;
export const DB_BYTES = 48;
/** What has to be read of a file to know the size of its pages. */
export const HEAD_BYTES = 256;

export interface Tree {
  readonly depth: number;
  readonly root: number;
}

export interface Meta {
  readonly txn: bigint;
  /** The highest page that is given to something. */
  readonly lastPage: number;
  readonly free: Tree | undefined;
  readonly tables: Tree | undefined;
}

/** How large the pages are, by the first one; throws when it cannot say. */
export function pageBytesOf(head: Buffer): number {
  const pageBytes = head.readUInt32LE(DBS_AT);
  if (!PAGE_SIZES.includes(pageBytes)) throw new Unsound('its first page is unreadable');
  return pageBytes;
}

/** The later one of the two, of a file of so many pages; throws when either of them is not what it should be. */
export function latestMeta(pages: readonly [Buffer, Buffer], filePages: number): Meta {
  for (const page of pages) requireMeta(page, pages[0].length);
  const [even, odd] = [pages[0].readBigUInt64LE(TXN_AT), pages[1].readBigUInt64LE(TXN_AT)];
  const isNew = even === 0n && odd === 0n;
  if (!isNew && (even % 2n !== 0n || (odd !== even + 1n && odd !== even - 1n))) throw new Unsound('its meta pages do not belong together');
  const meta = pages[odd > even ? 1 : 0];
  const lastPage = meta.readBigUInt64LE(LAST_PAGE_AT);
  if (lastPage >= BigInt(2 * filePages + UNWRITTEN_MAX_PAGES)) throw new Unsound('its meta page is unreadable');
  return { txn: odd > even ? odd : even, lastPage: Number(lastPage), free: readTree(meta, DBS_AT, INTEGER_KEYS), tables: readTree(meta, DBS_AT + DB_BYTES) };
}

/** A tree by its entry (MDB_db); undefined: it is empty. Its keys are compared as bytes unless its flags say otherwise. */
export function readTree(page: Buffer, at: number, flags = 0): Tree | undefined {
  if (page.readUInt16LE(at + 4) !== flags) throw new Unsound('a table is of an unknown kind');
  const root = page.readBigUInt64LE(at + 40);
  if (root === NO_PAGE) return undefined;
  const depth = page.readUInt16LE(at + 6);
  if (depth < 1 || depth > DEPTH_MAX) throw new Unsound('a tree has an impossible depth');
  return { depth, root: Number(root) };
}

function requireMeta(page: Buffer, pageBytes: number): void {
  const isMeta = page.readUInt16LE(18) === META && page.readUInt32LE(HEADER_BYTES) === MAGIC && (page.readUInt32LE(HEADER_BYTES + 4) & 0xffff) === DATA_VERSION;
  if (!isMeta || page.readUInt32LE(DBS_AT) !== pageBytes) throw new Unsound('a meta page is unreadable');
}
