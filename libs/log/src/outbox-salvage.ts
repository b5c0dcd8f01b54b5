import { closeSync, existsSync, fstatSync, openSync, readSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { readOutboxPlace } from './outbox-record.ts';

/*
 * A file that LMDB must not be given (its pages do not lead where they should) still has records in its leaf pages, each with a
 * checksum of its own. They are looked for page by page, wherever the trees lead, and put into a new outbox in their order. Pages
 * that were free by then bring back events that had been settled: they go again under the same ids.
 *
 *   data.mdb ──(damaged)──▶ data.mdb.salvage ──(all that can be read is in a new data.mdb)──▶ data.mdb.bad-<time>
 *
 * A start that finds the name in the middle was interrupted: what it had taken over is thrown away, and taken over anew.
 *
 * Layout as in lmdb-file.ts.
 */
const DATA_FILE = 'data.mdb';
const SALVAGE_FILE = `${DATA_FILE}.salvage`;
/** LMDB's own for what this package makes. */
const PAGE_BYTES = 4_096;
const META_PAGES = 2;
const HEADER_BYTES = 24;
const NODE_BYTES = 8;
const LEAF = 0x02;
const BIG_DATA = 0x01;
const KEY_AT = 8;
const KEY_BYTES = 6;
const RECORD_MAX_BYTES = 128 * 1024 * 1024;

interface Found {
  readonly key: number;
  readonly at: number;
  readonly length: number;
}

/** The file of an outbox whose salvage was interrupted, if there is one; what it had come to is gone. */
export function interruptedSalvage(dir: string): string | undefined {
  const path = join(dir, SALVAGE_FILE);
  if (!existsSync(path)) return undefined;
  rmSync(join(dir, DATA_FILE), { force: true });
  return path;
}

/** Moves the file of an outbox that cannot be trusted out of the way, and says where to. */
export function setOutboxAside(dir: string): string {
  const path = join(dir, SALVAGE_FILE);
  renameSync(join(dir, DATA_FILE), path);
  return path;
}

/** Keeps a file whose records were taken over to be looked at, and says as what. */
export function keepSalvaged(dir: string, nowMs: number): string {
  const to = join(dir, `${DATA_FILE}.bad-${new Date(nowMs).toISOString().replace(/[:.]/g, '-')}`);
  renameSync(join(dir, SALVAGE_FILE), to);
  return to;
}

/** The records that can be read in a file, in the order of their keys, each once. */
export function* salvageRecords(path: string): Generator<Buffer> {
  const file = openSync(path, 'r');
  try {
    const found = findRecords(file, fstatSync(file).size).sort((left, right) => left.key - right.key);
    for (const [index, { key, at, length }] of found.entries()) if (found[index - 1]?.key !== key) yield readAt(file, at, length);
  } finally {
    closeSync(file);
  }
}

function findRecords(file: number, size: number): Found[] {
  const found: Found[] = [];
  for (let number = META_PAGES; number * PAGE_BYTES < size; number += 1) {
    const page = readAt(file, number * PAGE_BYTES, PAGE_BYTES);
    for (const { at, length } of valuesOf(page, number)) {
      if (length <= HEADER_BYTES || length > RECORD_MAX_BYTES || at + length > size) continue;
      const record = readAt(file, at, length);
      const key = record.length < KEY_AT + KEY_BYTES ? 0 : record.readUIntBE(KEY_AT, KEY_BYTES);
      if (readOutboxPlace(record, key) !== 'damaged') found.push({ key, at, length });
    }
  }
  return found;
}

/** Where in the file the values of a leaf page are, as far as it is one. */
function valuesOf(page: Buffer, number: number): { readonly at: number; readonly length: number }[] {
  if (page.length < PAGE_BYTES || page.readUInt16LE(18) !== LEAF) return [];
  const values: { at: number; length: number }[] = [];
  const end = Math.min(page.readUInt16LE(20) + HEADER_BYTES, PAGE_BYTES);
  for (let slot = HEADER_BYTES; slot + 2 <= end; slot += 2) {
    const node = page.readUInt16LE(slot) + HEADER_BYTES;
    if (node + NODE_BYTES > PAGE_BYTES) continue;
    const length = page.readUInt32LE(node);
    const data = node + NODE_BYTES + page.readUInt16LE(node + 6);
    if ((page.readUInt16LE(node + 4) & BIG_DATA) === 0) values.push({ at: number * PAGE_BYTES + data, length });
    else if (data + 8 <= PAGE_BYTES) values.push({ at: Number(page.readBigUInt64LE(data)) * PAGE_BYTES + HEADER_BYTES, length });
  }
  return values;
}

function readAt(file: number, at: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  return bytes.subarray(0, readSync(file, bytes, 0, length, at));
}
