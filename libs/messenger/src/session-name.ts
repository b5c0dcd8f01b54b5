const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_';
/** 22 characters of 6 bits: nobody guesses it, and no two are the same. */
const LENGTH = 22;

/** A name for a messenger, as the hub and others know it; `random` is from 0 (inclusive) to 1 (exclusive). */
export function sessionName(random: () => number): string {
  return Array.from({ length: LENGTH }, () => ALPHABET.charAt(Math.floor(random() * ALPHABET.length))).join('');
}
