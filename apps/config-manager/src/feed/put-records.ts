import type { KeyValues } from '@carillon/bus';
import type { FeedRecord } from '@carillon/schemas';

export interface KeyedRecord {
  readonly key: string;
  readonly record: FeedRecord;
}

// A put costs a round trip and, on a cluster, a quorum: as many under way hide that, and are what a crash puts twice.
const PUTS_IN_FLIGHT = 64;

/** The bytes of a record in the bucket; the same record always gives the same. */
export function recordBytes(record: FeedRecord): Uint8Array {
  return Buffer.from(JSON.stringify(record), 'utf8');
}

/**
 * Puts records of different keys, 64 at a time, begun in their order. Never rejects: `done` are those the bucket has, `failure`
 * is the first error; whether a record that failed got there cannot be known, and putting it again is harmless.
 */
export async function putRecords(values: KeyValues, records: readonly KeyedRecord[]): Promise<{ readonly done: readonly KeyedRecord[]; readonly failure: Error | undefined }> {
  const done: KeyedRecord[] = [];
  let failure: Error | undefined;
  const rest = records[Symbol.iterator]();
  const putNext = async () => {
    for (const keyed of rest) {
      try {
        await values.put(keyed.key, recordBytes(keyed.record));
        done.push(keyed);
      } catch (error) {
        failure ??= error instanceof Error ? error : new Error(String(error));
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(PUTS_IN_FLIGHT, records.length) }, putNext));
  return { done, failure };
}
