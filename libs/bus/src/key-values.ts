import { BusError } from './bus.ts';

export interface KeyValuesOptions {
  /** On how many servers of a NATS cluster the bucket is kept; 1 by default. Has no effect on a bucket that exists. */
  readonly replicas?: number;
}

export interface KvEntry {
  readonly key: string;
  /** Not to be changed; it may be kept. */
  readonly value: Uint8Array;
  /** Grows with each put into the bucket; starts anew when the bucket was lost. */
  readonly revision: number;
}

export interface KvWatchOptions {
  /** A subject over keys, e.g. `default.>`; all keys by default. */
  readonly filter?: string;
  /** Called with every entry and then every change, in the order of revisions; an entry that is overtaken by its successor may be left out. What it throws is logged and ends nothing. */
  readonly entry: (entry: KvEntry) => void;
  /** All that was there when the watch began (or began anew after it was lost) has been given; called once for each beginning. */
  readonly synced: () => void;
}

export interface KvWatch {
  /** Nothing is given from the moment of the call on; resolves when the server knows, or does not answer. Idempotent. */
  stop(): Promise<void>;
}

/**
 * The latest value of each key of one bucket, shared by all handles. Keys are tokens of letters, digits and `_=/-` joined by dots,
 * 1,024 characters at most.
 */
export interface KeyValues {
  /**
   * Stores; resolves with the revision once the store has it. Puts of one handle arrive in the order of the calls. Rejects with
   * `BUS_AWAY` when there is no answer within five seconds (it may have been stored nevertheless), `BUS_CLOSED`, `BUS_SUBJECT_INVALID`
   * (the key), or `BUS_KV_REFUSED`: the store does not take it, it is larger than `payloadMaxBytes` less 1 KiB, or as many bytes as may wait already do.
   */
  put(key: string, value: Uint8Array): Promise<number>;
  /** The entry under `key`. Rejects as `put` does. */
  get(key: string): Promise<KvEntry | undefined>;
  /**
   * Comes into force now or as soon as the bus is connected. Begins anew by itself after every loss, also of the bucket, and then gives
   * everything again. Throws `BUS_SUBJECT_INVALID` (the filter) or `BUS_CLOSED`.
   */
  watch(options: KvWatchOptions): KvWatch;
}

/** What may not be used of a payload by a value, in bytes: a key, and what an answer says of its entry. */
export const KV_OVERHEAD_BYTES = 1_024;

// A subject has to fit into a line of NATS' protocol: 4 KiB.
const KEY_MAX_CHARS = 1_024;
const TOKEN = /^[A-Za-z0-9_=/-]+$/;

/** Throws `BUS_SUBJECT_INVALID` for what is not a key. */
export function requireKey(key: string): void {
  if (key.length > KEY_MAX_CHARS || !key.split('.').every((token) => TOKEN.test(token))) throw new BusError('BUS_SUBJECT_INVALID', `A key is tokens of letters, digits and _=/- joined by dots, at most ${KEY_MAX_CHARS} characters: ${quoted(key)}`);
}

/** Throws `BUS_SUBJECT_INVALID` for what is not a subject over keys. */
export function requireFilter(filter: string): void {
  const tokens = filter.split('.');
  const isRight = (token: string, index: number) => token === '*' || (token === '>' && index === tokens.length - 1) || TOKEN.test(token);
  if (filter.length > KEY_MAX_CHARS || !tokens.every(isRight)) throw new BusError('BUS_SUBJECT_INVALID', `A filter is a key in which * stands for a token and a final > for the rest: ${quoted(filter)}`);
}

/** Throws `BUS_SUBJECT_INVALID` for what is not the name of a bucket. */
export function requireBucket(bucket: string): void {
  if (!/^[A-Za-z0-9_-]{1,128}$/.test(bucket)) throw new BusError('BUS_SUBJECT_INVALID', `A bucket's name is 1 to 128 letters, digits, _ and -: ${quoted(bucket)}`);
}

/** Throws `BUS_KV_REFUSED` for a value that is too large. */
export function requireValue(value: Uint8Array, payloadMaxBytes: number): void {
  const valueMaxBytes = payloadMaxBytes - KV_OVERHEAD_BYTES;
  if (value.length > valueMaxBytes) throw new BusError('BUS_KV_REFUSED', `The value has ${value.length} bytes, at most ${valueMaxBytes} are taken.`);
}

const quoted = (text: string): string => JSON.stringify(text.slice(0, 100));

/** The bytes of the puts of one handle into one bucket that are under way, and what keeps them from growing. */
export class PutBacklog {
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Counts a put for as long as it takes; throws `BUS_KV_REFUSED` when too much is under way. */
  async hold<Value>(byteCount: number, put: () => Promise<Value>): Promise<Value> {
    const heldBytes = byteCount + KV_OVERHEAD_BYTES;
    if (this.#bytes > 0 && this.#bytes + heldBytes > this.#maxBytes) throw new BusError('BUS_KV_REFUSED', `Puts of ${this.#bytes} bytes are under way, at most ${this.#maxBytes} may be: wait for some of them.`);
    this.#bytes += heldBytes;
    try {
      return await put();
    } finally {
      this.#bytes -= heldBytes;
    }
  }
}
