/*
 * Keys are plain bytes that sort as they should: numbers big-endian, sequences in 6 bytes (2^47 at most, far below what a number
 * holds exactly). They are written straight into the store's instruction buffer: no object an event.
 */

/** Larger than any sequence that is handed out; what a range ends with. */
export const SEQ_END = 2 ** 47;

/** A number with a sequence: a room's or a consumer's; or a time with a sequence. */
export interface NumberAndSeq {
  number: number;
  seq: number;
}

interface KeyEncoder<Key> {
  writeKey(key: Key, target: Uint8Array, start: number): number;
  readKey(source: Uint8Array, start: number, end: number): Key;
}

function writeUint32(value: number, target: Uint8Array, start: number): number {
  target[start] = value >>> 24;
  target[start + 1] = value >>> 16;
  target[start + 2] = value >>> 8;
  target[start + 3] = value;
  return start + 4;
}

const readUint32 = (source: Uint8Array, start: number): number => (((source[start] ?? 0) << 24) | ((source[start + 1] ?? 0) << 16) | ((source[start + 2] ?? 0) << 8) | (source[start + 3] ?? 0)) >>> 0;

function writeUint48(value: number, target: Uint8Array, start: number): number {
  const high = Math.floor(value / 0x1_0000_0000);
  target[start] = high >>> 8;
  target[start + 1] = high;
  return writeUint32(value >>> 0, target, start + 2);
}

const readUint48 = (source: Uint8Array, start: number): number => ((source[start] ?? 0) * 256 + (source[start + 1] ?? 0)) * 0x1_0000_0000 + readUint32(source, start + 2);

export const seqKeys: KeyEncoder<number> = { writeKey: writeUint48, readKey: readUint48 };

export const numberKeys: KeyEncoder<number> = { writeKey: writeUint32, readKey: readUint32 };

export const numberAndSeqKeys: KeyEncoder<NumberAndSeq> = {
  writeKey: ({ number, seq }, target, start) => writeUint48(seq, target, writeUint32(number, target, start)),
  readKey: (source, start) => ({ number: readUint32(source, start), seq: readUint48(source, start + 4) }),
};

export const timeAndSeqKeys: KeyEncoder<NumberAndSeq> = {
  writeKey: ({ number, seq }, target, start) => writeUint48(seq, target, writeUint48(number, target, start)),
  readKey: (source, start) => ({ number: readUint48(source, start), seq: readUint48(source, start + 6) }),
};

/** An event's id within its workspace. */
export interface IdKey {
  workspace: number;
  id: string;
}

export const idKeys: KeyEncoder<IdKey> = {
  writeKey: ({ workspace, id }, target, start) => {
    let at = writeUint32(workspace, target, start);
    for (let index = 0; index < id.length; index += 1) target[at++] = id.charCodeAt(index);
    return at;
  },
  readKey: (source, start, end) => ({ workspace: readUint32(source, start), id: Buffer.from(source.subarray(start + 4, end)).toString('latin1') }),
};
