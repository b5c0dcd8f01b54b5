import { closeSync, fstatSync, openSync, readSync, renameSync } from 'node:fs';
import { join } from 'node:path';

import { fileFault } from './lmdb-file.ts';
import type { LogLog } from './log-faults.ts';
import { readOutboxPlace } from './outbox-record.ts';

/*
 * A file that LMDB must not be given (its pages do not lead where they should) still has records in its leaf pages, each with a
 * checksum of its own. They are looked for page by page, wherever the trees lead, and put into a new outbox in their order. Pages
 * that were free by then bring back events that had been settled: they go again under the same ids.
 *
 * Layout as in lmdb-file.ts.
 */
const DATA_FILE = 'data.mdb';
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

/** Moves the file of an outbox aside when it cannot be trusted, and says where to; undefined: it can be, or there is none. */
export function setOutboxAside(dir: string, { log, nowMs }: { readonly log: LogLog; readonly nowMs: number }): string | undefined {
  const fault = fileFault(dir);
  if (fault === undefined) return undefined;
  const to = join(dir, `${DATA_FILE}.bad-${new Date(nowMs).toISOString().replace(/[:.]/g, '-')}`);
  renameSync(join(dir, DATA_FILE), to);
  log.warn({ dir, to, fault }, 'a damaged outbox was set aside; what can be read of it is taken over');
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
