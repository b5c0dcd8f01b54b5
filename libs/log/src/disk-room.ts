import { statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';

/*
 * LMDB must not meet a full disk: when a page cannot be written, mdb.c (3.5.6, mdb_page_flush) prints what it tried into a buffer that is
 * too short for it, and the heap is damaged. So each commit is looked at before it is written, and refused when it might not fit:
 *
 *   appends        free + half of what is reusable ≥ what it may write + reserve,  free ≥ entries of several pages + half the reserve
 *   all the rest   free + half of what is reusable ≥ what it may write,            free ≥ SLACK_BYTES
 *
 * The rest gives room back (sweeps, deletions, settling) or is small; the reserve is what it works in when appends have filled the disk.
 * A file of LMDB does not shrink: pages that a sweep has freed are inside of it, and LMDB knows how many it has and how many its tables use.
 * Only half of them count, since LMDB does not always take them, and none that the commit before this one has freed: it takes those one later.
 */

const PAGE_BYTES = 4_096;
// An event is in four tables. In all but that of ids neighbours come and go together and share their leaves, so that this covers an id's
// branches too; what few entries change of branches is in the slack.
const PAGES_AN_ENTRY = 4;
// A sweep's largest commit (512 events) changes 2,048 leaves, 8 MiB; as much again for what others write between the look and the commit.
const RESERVE_MAX_BYTES = 16 * 1024 * 1024;
// Heads, branches, the list of free pages.
const SLACK_BYTES = 256 * 1024;
// A new environment with its tables, 12 of them at most.
const NEW_FILE_BYTES = 1024 * 1024;

/** What a commit changes; a commit never copies more pages than there are. */
export interface CommitSize {
  /** Entries put and removed. */
  readonly entries: number;
  /** Bytes of their values. */
  readonly bytes: number;
  /** Those of values of more than a page, which need pages side by side. */
  readonly longBytes: number;
}

export const NOTHING_WRITTEN: CommitSize = { entries: 0, bytes: 0, longBytes: 0 };

/** What records of these lengths are, together. */
export function sizeOfRecords(lengths: Iterable<number>): CommitSize {
  let [entries, bytes, longBytes] = [0, 0, 0];
  for (const length of lengths) {
    entries += 1;
    bytes += length;
    if (length > PAGE_BYTES / 2) longBytes += length + PAGE_BYTES;
  }
  return { entries, bytes, longBytes };
}

export const sum = (one: CommitSize, other: CommitSize): CommitSize => ({ entries: one.entries + other.entries, bytes: one.bytes + other.bytes, longBytes: one.longBytes + other.longBytes });

/** Pages of a tree, as LMDB counts them. */
interface TreeStats {
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

interface TableStats extends TreeStats {
  readonly pageSize: number;
  readonly lastPageNumber: number;
  readonly root: TreeStats;
  readonly free: TreeStats;
}

/** An LMDB table: the types of `lmdb` do not say what its stats are. */
export interface StatTable {
  getStats(): object;
}

/** Bytes that are free where a folder is, for who is not root; Infinity when nobody can say. */
export function diskFreeBytes(dir: string): number {
  try {
    const { bavail, bsize } = statfsSync(dir);
    return bavail * bsize;
  } catch {
    return Infinity;
  }
}

/** Whether an environment can be opened there, or made: one that is there has its tables and is opened without a write. */
export function hasRoomToOpen(dir: string): boolean {
  const bytes = statSync(join(dir, 'data.mdb'), { throwIfNoEntry: false })?.size ?? 0;
  return bytes > 0 || diskFreeBytes(dir) >= NEW_FILE_BYTES;
}

/** Whether commits fit on the disk of an LMDB environment. */
export class DiskRoom {
  readonly #tables: readonly StatTable[];
  readonly #freeBytes: () => number;
  /** Free inside of the file before the last commit, or when it was first asked for since. */
  #insideBytesBefore: number | undefined;

  /** `tables` are all that the environment has. */
  constructor(tables: readonly StatTable[], freeBytes: () => number) {
    this.#tables = tables;
    this.#freeBytes = freeBytes;
  }

  /** Whether a commit that stores something new fits and leaves the reserve. */
  fitsAppends(size: CommitSize): boolean {
    const freeBytes = this.#freeBytes();
    if (freeBytes >= mostBytes(size) + RESERVE_MAX_BYTES + SLACK_BYTES) return true;
    const { fileBytes, insideBytes } = this.#file();
    // A small file has small commits: its sweeps cannot copy more than it is.
    const reserveBytes = Math.min(RESERVE_MAX_BYTES, fileBytes) + SLACK_BYTES;
    const needBytes = mostBytes(size, fileBytes) + reserveBytes;
    if (freeBytes >= needBytes) return true;
    if (freeBytes >= size.longBytes + reserveBytes / 2 && freeBytes + this.#reusable(insideBytes) >= needBytes) return true;
    this.#insideBytesBefore ??= insideBytes;
    return false;
  }

  /** Whether a commit fits at all; to be asked once, right before it is written. */
  fits(size: CommitSize): boolean {
    const freeBytes = this.#freeBytes();
    if (freeBytes >= mostBytes(size) + RESERVE_MAX_BYTES + SLACK_BYTES) {
      this.#insideBytesBefore = undefined;
      return true;
    }
    const { fileBytes, insideBytes } = this.#file();
    const fits = freeBytes >= SLACK_BYTES + size.longBytes && freeBytes + this.#reusable(insideBytes) >= mostBytes(size, fileBytes);
    if (fits) this.#insideBytesBefore = insideBytes;
    return fits;
  }

  #reusable(insideBytes: number): number {
    return Math.min(insideBytes, this.#insideBytesBefore ?? 0) / 2;
  }

  #file(): { readonly fileBytes: number; readonly insideBytes: number } {
    const stats = this.#tables.map((table) => table.getStats() as TableStats);
    const [first] = stats;
    if (first === undefined) return { fileBytes: 0, insideBytes: 0 };
    const pages = first.lastPageNumber + 1;
    const usedPages = [...stats, first.root, first.free].reduce((used, tree) => used + tree.treeBranchPageCount + tree.treeLeafPageCount + tree.overflowPages, 2);
    return { fileBytes: pages * first.pageSize, insideBytes: Math.max(0, pages - usedPages) * first.pageSize };
  }
}

/** What a commit writes at most, of a file of so many bytes. */
const mostBytes = ({ entries, bytes }: CommitSize, fileBytes = Infinity): number => 2 * bytes + Math.min(entries * PAGES_AN_ENTRY * PAGE_BYTES, fileBytes) + SLACK_BYTES;
