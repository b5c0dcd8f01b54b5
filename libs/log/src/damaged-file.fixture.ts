import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

/* What happens to the file of a log or an outbox: a bit that is not what it was, and a version that is later than this one. */

const PAGE_BYTES = 4_096;
const MAGIC_AT = 24;
const TABLES_ROOT_AT = 136;
const TXN_AT = 152;
const PAGE_FLAGS_AT = 18;
// The beginning of a note that says of which format all is, behind its checksum.
const FORMAT = '{"format":1,';
const LATER_FORMAT = '{"format":2,';
const NOTE_HEAD_BYTES = 4;

export const dataFile = (dir: string): string => join(dir, 'data.mdb');

/** Numbers in [0, 1) that are the same each time (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Turns one bit of the file in a directory. */
export function flipBit(dir: string, at: number, bit: number): void {
  const file = readFileSync(dataFile(dir));
  file[at] = (file[at] ?? 0) ^ (1 << bit);
  writeFileSync(dataFile(dir), file);
}

/** Turns a bit of a meta page that LMDB would not open the file without. */
export const damageMetaPage = (dir: string): void => flipBit(dir, MAGIC_AT, 0);

/** Turns a bit of the page that leads to all tables. */
export function damageTreePage(dir: string): void {
  const file = readFileSync(dataFile(dir));
  const latest = file.readBigUInt64LE(TXN_AT) > file.readBigUInt64LE(PAGE_BYTES + TXN_AT) ? 0 : PAGE_BYTES;
  flipBit(dir, Number(file.readBigUInt64LE(latest + TABLES_ROOT_AT)) * PAGE_BYTES + PAGE_FLAGS_AT, 1);
}

/** Makes of a log or an outbox one of a format of tomorrow: its first note says so. */
export function raiseFormat(dir: string): void {
  const file = readFileSync(dataFile(dir));
  for (let at = file.indexOf(FORMAT); at >= 0; at = file.indexOf(FORMAT, at + 1)) {
    file.write(LATER_FORMAT, at);
    const note = file.subarray(at - NOTE_HEAD_BYTES, file.indexOf('}', at) + 1);
    note.writeUInt32BE(crc32(note.subarray(NOTE_HEAD_BYTES)), 0);
  }
  writeFileSync(dataFile(dir), file);
}
