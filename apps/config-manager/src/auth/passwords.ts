import { randomBytes, scrypt, timingSafeEqual, type ScryptOptions } from 'node:crypto';

import { Refusal } from '../http/refusal.ts';
import { COMMON_PASSWORDS } from './common-passwords.ts';

/** How a password is hashed (scrypt, RFC 7914); a hash says by itself how it was made. */
export interface HashCost {
  readonly logN: number;
  readonly r: number;
  readonly p: number;
}

/**
 * As OWASP's Password Storage Cheat Sheet has it for 32 MiB (N = 2^15, r = 8, p = 3): about 0.2 s of one core of a small
 * server, five guesses a second for whoever has the hashes and such a machine.
 */
export const DEFAULT_COST: HashCost = { logN: 15, r: 8, p: 3 };

/** A password's length in characters. Below it a list of leaked hashes is guessed through; no rule about kinds of characters (NIST SP 800-63B §3.1.1). */
const LENGTH_MIN = 12;
const LENGTH_MAX = 256;
const SALT_BYTES = 16;
const HASH_BYTES = 32;
/** Hashing at a time, of libuv's four threads: reading files and looking up names go on. */
const RUNNING_MAX = 2;
/** Those waiting for it, of each of two kinds: about two seconds' worth. */
const WAITING_MAX = 64;
const HASH_SHAPE = /^scrypt\$(\d{1,2})\$(\d{1,2})\$(\d{1,2})\$([A-Za-z0-9_-]{22})\$([A-Za-z0-9_-]{43})$/;
const OVERFLOW_RETRY_MS = 2_000;

export interface PasswordCheck {
  readonly matches: boolean;
  /** The hash was made at another cost than hashes are made now. */
  readonly isOutdated: boolean;
}

/**
 * Hashes and checks passwords, two at a time; beyond 64 waiting it is RATE_LIMITED, so that sign-ins cannot take the machine.
 * Whoever is known (has signed in from there before, or is signed in) waits apart from strangers and goes before them: no
 * number of guesses keeps them out.
 */
export class Passwords {
  readonly #cost: HashCost;
  readonly #stranger: Promise<string>;
  #running = 0;
  readonly #known: (() => void)[] = [];
  readonly #strangers: (() => void)[] = [];

  constructor(cost: HashCost = DEFAULT_COST) {
    this.#cost = cost;
    this.#stranger = this.hash(randomBytes(32).toString('base64url'));
    // Whoever needs it hears of it.
    this.#stranger.catch(() => undefined);
  }

  /** For somebody who is signed in. */
  async hash(password: string): Promise<string> {
    const salt = randomBytes(SALT_BYTES);
    const { logN, r, p } = this.#cost;
    const hash = await this.#derive(password, { salt, cost: this.#cost, isKnown: true });
    return ['scrypt', logN, r, p, salt.toString('base64url'), hash.toString('base64url')].join('$');
  }

  /** Without a hash (no such user, or no password) it costs the same and does not match. */
  async check(password: string, hash: string | null | undefined, { isKnown = false } = {}): Promise<PasswordCheck> {
    const parsed = parseHash(hash ?? (await this.#stranger));
    if (parsed === undefined) throw new Error('a kept password hash is malformed');
    const derived = await this.#derive(password, { ...parsed, isKnown });
    const matches = timingSafeEqual(derived, parsed.hash) && hash !== null && hash !== undefined;
    const { logN, r, p } = this.#cost;
    return { matches, isOutdated: parsed.cost.logN !== logN || parsed.cost.r !== r || parsed.cost.p !== p };
  }

  async #derive(password: string, { salt, cost, isKnown }: { readonly salt: Buffer; readonly cost: HashCost; readonly isKnown: boolean }): Promise<Buffer> {
    await this.#turn(isKnown ? this.#known : this.#strangers);
    try {
      const N = 2 ** cost.logN;
      // Node refuses more than it is told to expect; scrypt needs 128·N·r bytes and a little.
      const options: ScryptOptions = { N, r: cost.r, p: cost.p, maxmem: 128 * N * cost.r + 1_048_576 };
      return await new Promise((resolve, reject) => {
        scrypt(password.normalize('NFKC'), salt, HASH_BYTES, options, (error, key) => (error === null ? resolve(key) : reject(error)));
      });
    } finally {
      // Whoever waited longest takes the place over, of the known if there is one.
      const next = this.#known.shift() ?? this.#strangers.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }

  async #turn(waiting: (() => void)[]): Promise<void> {
    if (this.#running < RUNNING_MAX) {
      this.#running += 1;
      return;
    }
    if (waiting.length >= WAITING_MAX) throw new Refusal('RATE_LIMITED', 'too many passwords are being checked', { retryAfterMs: OVERFLOW_RETRY_MS });
    await new Promise<void>((resolve) => waiting.push(resolve));
  }
}

/** Throws PASSWORD_UNFIT for one that is too short, too long, common, or the person's own name. */
export function requireFit(password: string, username: string): void {
  const length = [...password].length;
  if (length < LENGTH_MIN || length > LENGTH_MAX) throw new Refusal('PASSWORD_UNFIT', `it must have ${LENGTH_MIN} to ${LENGTH_MAX} characters`);
  const plain = password.toLowerCase();
  if (COMMON_PASSWORDS.has(plain.replaceAll(/[^\p{L}\p{N}]/gu, '')) || new Set(plain).size < 4) throw new Refusal('PASSWORD_UNFIT', 'it is one of those that everybody tries');
  if (plain === username.toLowerCase() || plain === username.toLowerCase().split('@', 1)[0]) throw new Refusal('PASSWORD_UNFIT', 'it is the username');
}

function parseHash(text: string): { readonly cost: HashCost; readonly salt: Buffer; readonly hash: Buffer } | undefined {
  const [, logN, r, p, salt = '', hash = ''] = HASH_SHAPE.exec(text) ?? [];
  return logN === undefined ? undefined : { cost: { logN: Number(logN), r: Number(r), p: Number(p) }, salt: Buffer.from(salt, 'base64url'), hash: Buffer.from(hash, 'base64url') };
}
