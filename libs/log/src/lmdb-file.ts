import { closeSync, existsSync, fstatSync, mkdirSync, openSync, readdirSync, readSync, renameSync } from 'node:fs';
import { join } from 'node:path';

import { LogError } from './event-log.ts';
import { DB_BYTES, HEAD_BYTES, HEADER_BYTES, latestMeta, pageBytesOf, readTree, type Meta, type Tree } from './lmdb-meta.ts';
import { damagedFault, Unsound, type LogLog } from './log-faults.ts';

/*
 * LMDB trusts its file: it maps it, and follows page numbers and offsets without looking whether they lead anywhere. A file that
 * lost its end or a bit would end the process (SIGBUS, SIGSEGV) instead of failing. So all that LMDB would follow is followed here
 * first with plain reads: from the latest meta page down every tree, each page in bounds, where it belongs, and met once, its keys
 * in order (a search would pass by what stands behind one that is not). Values are not looked at: records have checksums.
 *
 * Layout: as in lmdb-meta.ts, and MDB_node, MDB_ovpage.
 */
const DATA_FILE = 'data.mdb';
const NODE_BYTES = 8;
const BRANCH = 0x01;
const LEAF = 0x02;
const OVERFLOW = 0x04;
const BIG_DATA = 0x01;
const SUB_DATA = 0x02;
const BIG_ENTRY_BYTES = 24;
// 1 GiB of the usual pages takes about 2 s here. Of a larger log the leaves are not read: a bit lost in one of them is not found.
const LEAVES_READ_MAX_PAGES = 262_144;

/** Throws LOG_UNAVAILABLE, saying what is wrong, when the file of a log cannot be trusted; nothing when there is none yet. */
export function requireSoundFile(dir: string): void {
  const fault = fileFault(dir);
  if (fault !== undefined) throw damagedFault(dir, fault);
}

/** Moves a damaged log out of its directory, to `<dir>.bad-<time>`. */
export function setAside(dir: string, { log, nowMs, fault }: { readonly log: LogLog; readonly nowMs: number; readonly fault: string }): void {
  const to = `${dir.replace(/\/+$/, '')}.bad-${new Date(nowMs).toISOString().replace(/[:.]/g, '-')}`;
  mkdirSync(to);
  // The directory itself stays: its lock is in it.
  for (const name of readdirSync(dir).filter((file) => file.endsWith('.mdb'))) renameSync(join(dir, name), join(to, name));
  log.warn({ dir, to, fault }, 'a damaged log was set aside; another epoch begins');
}

/** What is wrong with the file of a log; undefined: nothing, or there is none. */
export function fileFault(dir: string): string | undefined {
  const path = join(dir, DATA_FILE);
  if (!existsSync(path)) return undefined;
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    if (size > 0) new PageWalk(file, size).walk();
    return undefined;
  } catch (error) {
    if (error instanceof Unsound) return error.message;
    // A length that leads out of its page, or a tree without an end.
    if (error instanceof RangeError) return 'a page is unreadable';
    throw new LogError('LOG_UNAVAILABLE', `The file of the log in ${dir} cannot be read.`, { cause: error });
  } finally {
    closeSync(file);
  }
}

/** What a walk looks at besides: the order of keys, each value of the list of free pages, or that all there is are tables. */
interface Look {
  readonly isOrdered: boolean;
  readonly isOfTables?: boolean;
  readonly free?: (value: Buffer) => void;
}

/** Keys of a page lie in it; undefined: no bound. */
interface KeyBounds {
  readonly from: Buffer | undefined;
  readonly below: Buffer | undefined;
}

const NO_BOUNDS: KeyBounds = { from: undefined, below: undefined };

class PageWalk {
  readonly #file: number;
  readonly #pageCount: number;
  readonly #pageBytes: number;
  readonly #meta: Meta;
  readonly #met: Uint8Array;

  constructor(file: number, size: number) {
    this.#file = file;
    const head = Buffer.alloc(Math.min(size, HEAD_BYTES));
    readSync(this.#file, head, 0, head.length, 0);
    if (head.length < HEAD_BYTES) throw new Unsound('its file is cut off');
    this.#pageBytes = pageBytesOf(head);
    this.#pageCount = Math.floor(size / this.#pageBytes);
    this.#met = new Uint8Array(Math.ceil(this.#pageCount / 8));
    this.#met[0] = 0b11;
    this.#meta = latestMeta([this.#pageBytesAt(0), this.#pageBytesAt(1)], this.#pageCount);
  }

  walk(): void {
    this.#walk(this.#meta.tables, { isOrdered: true, isOfTables: true });
    // The numbers of transactions are in the order of this machine's bytes.
    this.#walk(this.#meta.free, { isOrdered: false, free: (value) => this.#requireFree(value, this.#meta.lastPage) });
  }

  #walk(tree: Tree | undefined, look: Look): void {
    if (tree !== undefined) this.#walkPage(tree.root, { depth: tree.depth, look, bounds: NO_BOUNDS });
  }

  #walkPage(number: number, { depth, look, bounds }: { readonly depth: number; readonly look: Look; readonly bounds: KeyBounds }): void {
    const isLeaf = depth === 1;
    const page = this.#page(number, isLeaf ? LEAF : BRANCH);
    const nodes = nodesOf(page, { number, isLeaf });
    if (look.isOrdered) requireOrder(page, { nodes: isLeaf ? nodes : nodes.slice(1), bounds, number });
    for (const [index, node] of nodes.entries()) {
      if (isLeaf) {
        this.#lookAtLeaf(page, node, look);
        continue;
      }
      const child = page.readUInt32LE(node) + page.readUInt16LE(node + 4) * 2 ** 32;
      const next = nodes[index + 1];
      // The first key of a branch is not kept: the page's own bound stands for it.
      if (depth === 2 && !this.#readsLeaves) this.#meet(child);
      else this.#walkPage(child, { depth: depth - 1, look, bounds: { from: index === 0 ? bounds.from : keyAt(page, node), below: next === undefined ? bounds.below : keyAt(page, next) } });
    }
  }

  get #readsLeaves(): boolean {
    return this.#pageCount <= LEAVES_READ_MAX_PAGES;
  }

  #lookAtLeaf(page: Buffer, node: number, { free, isOfTables = false }: Look): void {
    const bytes = page.readUInt32LE(node);
    const flags = page.readUInt16LE(node + 4);
    const data = node + NODE_BYTES + page.readUInt16LE(node + 6);
    if (isOfTables ? flags !== SUB_DATA : (flags & ~BIG_DATA) !== 0) throw new Unsound('an entry is of an unknown kind');
    const inPage = (flags & BIG_DATA) === 0 ? bytes : BIG_ENTRY_BYTES;
    if (data + inPage > page.length) throw new Unsound('an entry leads out of its page');
    if ((flags & BIG_DATA) !== 0) {
      const big = this.#bigData(page, data, bytes);
      free?.(big());
    } else if (isOfTables) {
      if (bytes !== DB_BYTES) throw new Unsound('a table is unreadable');
      // lmdb-js ends names with it, and leaves it out where it tells them.
      if (page[data - 1] !== 0) throw new Unsound('a table has lost its name');
      this.#walk(readTree(page, data), { isOrdered: true });
    } else free?.(page.subarray(data, data + bytes));
  }

  #bigData(page: Buffer, at: number, bytes: number): () => Buffer {
    const first = numberAt(page, at);
    const pages = Math.ceil((HEADER_BYTES + bytes) / this.#pageBytes);
    if (numberAt(page, at + 16) < pages) throw new Unsound('a large entry is cut off');
    const head = this.#page(first, OVERFLOW);
    if (head.readUInt32LE(20) < pages) throw new Unsound('a large entry is cut off');
    for (let number = first + 1; number < first + pages; number += 1) this.#meet(number);
    return () => {
      const data = Buffer.alloc(bytes);
      readSync(this.#file, data, 0, bytes, first * this.#pageBytes + HEADER_BYTES);
      return data;
    };
  }

  /** A page that is free and in use would be written over. */
  #requireFree(value: Buffer, last: number): void {
    const count = value.length < 8 ? -1 : numberAt(value, 0);
    if (count < 0 || 8 * (count + 1) > value.length) throw new Unsound('the list of free pages is unreadable');
    let blockPages = 1;
    for (let at = 8; at <= 8 * count; at += 8) {
      const entry = Number(value.readBigInt64LE(at));
      // lmdb-js's lists: 0 is a blank, a negative number so many pages from the next entry on.
      if (entry > 0) {
        this.#requireFreePages(entry, Math.min(blockPages, last));
        if (entry + blockPages - 1 > last) throw new Unsound('the list of free pages is unreadable');
      }
      blockPages = entry < 0 ? -entry : 1;
    }
  }

  #requireFreePages(first: number, count: number): void {
    if (first < 2) throw new Unsound('the list of free pages is unreadable');
    for (let number = first; number < first + count; number += 1) if (this.#isMet(number)) throw new Unsound('a page is free and in use');
  }

  #page(number: number, kind: number): Buffer {
    this.#meet(number);
    const page = this.#pageBytesAt(number);
    if (numberAt(page, 0) !== number || page.readUInt16LE(18) !== kind) throw new Unsound(`page ${number} is not what it should be`);
    if (page.readBigUInt64LE(8) > this.#meta.txn) throw new Unsound(`page ${number} is of a later time`);
    return page;
  }

  #meet(number: number): void {
    if (!(number >= 2 && number < this.#pageCount && number <= this.#meta.lastPage)) throw new Unsound('its file is cut off, or a page is unreadable');
    if (this.#isMet(number)) throw new Unsound(`page ${number} is in two places`);
    this.#met[number >> 3] = (this.#met[number >> 3] ?? 0) | (1 << (number & 7));
  }

  #isMet(number: number): boolean {
    return ((this.#met[number >> 3] ?? 0) & (1 << (number & 7))) !== 0;
  }

  #pageBytesAt(number: number): Buffer {
    const page = Buffer.allocUnsafe(this.#pageBytes);
    const got = readSync(this.#file, page, 0, page.length, number * this.#pageBytes);
    if (got !== page.length) throw new Unsound('its file is cut off');
    return page;
  }
}

const numberAt = (page: Buffer, at: number): number => Number(page.readBigUInt64LE(at));

/** Where the nodes of a page are. They fill it from `upper` to its end, without a gap: a size that is not right is noticed. */
function nodesOf(page: Buffer, { number, isLeaf }: { readonly number: number; readonly isLeaf: boolean }): readonly number[] {
  const nodes: number[] = [];
  let bytes = 0;
  // Offsets count from behind the header (PAGEBASE).
  const lower = page.readUInt16LE(20) + HEADER_BYTES;
  const upper = page.readUInt16LE(22) + HEADER_BYTES;
  if (lower > upper || upper > page.length || lower % 2 !== 0) throw new Unsound(`page ${number} is unreadable`);
  for (let at = HEADER_BYTES; at < lower; at += 2) {
    const node = page.readUInt16LE(at) + HEADER_BYTES;
    if (node < upper || node + NODE_BYTES > page.length || node + NODE_BYTES + page.readUInt16LE(node + 6) > page.length) throw new Unsound(`page ${number} is unreadable`);
    nodes.push(node);
    bytes += nodeBytes(page, node, isLeaf);
  }
  if (bytes !== page.length - upper) throw new Unsound(`page ${number} is unreadable`);
  return nodes;
}

function nodeBytes(page: Buffer, node: number, isLeaf: boolean): number {
  const isBig = (page.readUInt16LE(node + 4) & BIG_DATA) !== 0;
  const data = isLeaf ? (isBig ? BIG_ENTRY_BYTES : page.readUInt32LE(node)) : 0;
  const bytes = NODE_BYTES + page.readUInt16LE(node + 6) + data;
  return bytes + (bytes % 2);
}

const keyAt = (page: Buffer, node: number): Buffer => page.subarray(node + NODE_BYTES, node + NODE_BYTES + page.readUInt16LE(node + 6));

function requireOrder(page: Buffer, { nodes, bounds, number }: { readonly nodes: readonly number[]; readonly bounds: KeyBounds; readonly number: number }): void {
  let last = bounds.from;
  for (const [index, node] of nodes.entries()) {
    const key = keyAt(page, node);
    const order = last === undefined ? 1 : key.compare(last);
    if (order < 0 || (order === 0 && index > 0)) throw new Unsound(`the keys of page ${number} are not in order`);
    last = key;
  }
  if (bounds.below !== undefined && last !== undefined && nodes.length > 0 && last.compare(bounds.below) >= 0) throw new Unsound(`the keys of page ${number} are not in order`);
}
