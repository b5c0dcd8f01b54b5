/**
 * Event ids are ULIDs: 10 characters of time (ms since 1970) and 16 of randomness in Crockford's base 32
 * (https://github.com/ulid/spec). Ours are monotonic: the first 8 of the 16 are drawn once a generator, the last 8
 * count up from a random start, so that ids of one generator sort in the order they were given, at the cost of a few
 * string pieces an id. 40 random bits keep generators apart, 40 bits of counter never run out.
 */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;

export function isUlid(text: string): boolean {
  return ULID.test(text);
}

function base32(value: number, length: number): string {
  let text = '';
  let rest = value;
  for (let at = 0; at < length; at += 1) {
    text = ALPHABET.charAt(rest % 32) + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}

export interface EventIdSources {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Whole random number below 2^40. */
  readonly random40: () => number;
}

const LOW_DIGITS = 4;
const LOW_RANGE = 32 ** LOW_DIGITS;

/** Makes a generator; a clock that steps back does not make its ids go back. */
export function createEventIds({ now, random40 }: EventIdSources): () => string {
  const origin = base32(random40(), 8);
  let high = Math.floor((random40() % 2 ** 39) / LOW_RANGE);
  let low = 0;
  let lastMs = 0;
  let prefix = '';
  return () => {
    const ms = now();
    if (ms > lastMs || prefix === '') {
      lastMs = Math.max(ms, lastMs);
      prefix = '';
    }
    if (low === LOW_RANGE) {
      low = 0;
      high += 1;
      prefix = '';
    }
    if (prefix === '') prefix = base32(lastMs, 10) + origin + base32(high, 4);
    const id = prefix + base32(low, LOW_DIGITS);
    low += 1;
    return id;
  };
}
