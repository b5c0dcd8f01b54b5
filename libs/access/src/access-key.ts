import { createHash, randomBytes } from 'node:crypto';

/**
 * An access key is `ck_<id>_<secret>`: the id (16 characters) is public and names the key in the configuration and in
 * logs, the secret (43 characters, 256 bits) is shown once. Only the SHA-256 of the whole text is kept. A slow hash
 * would add nothing: there is no guessing 256 random bits, and a hub must decide in microseconds.
 */
const PREFIX = 'ck_';
const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const ID_CHARACTERS = 16;
/** 62^43 is just over 2^256. */
const SECRET_CHARACTERS = 43;
const ID_END = PREFIX.length + ID_CHARACTERS;
const KEY_CHARACTERS = ID_END + 1 + SECRET_CHARACTERS;
/** The largest multiple of 62 in a byte: bytes from here on are thrown away, so that each character is as likely as any other. */
const UNBIASED_BELOW = 248;

/** Makes a key from the system's randomness. `key` is to be shown once and forgotten; `hash` (see `hashAccessKey`) is what is kept. */
export function createAccessKey(): { readonly id: string; readonly key: string; readonly hash: string } {
  const id = randomBase62(ID_CHARACTERS);
  const key = `${PREFIX}${id}_${randomBase62(SECRET_CHARACTERS)}`;
  return { id, key, hash: hashAccessKey(key) };
}

/** Reads the shape of a key, and nothing but that; undefined when the text has another. Looks at 63 characters at most. */
export function parseAccessKey(text: string): { readonly id: string; readonly key: string } | undefined {
  if (text.length !== KEY_CHARACTERS || !text.startsWith(PREFIX) || text[ID_END] !== '_') return undefined;
  for (let at = PREFIX.length; at < KEY_CHARACTERS; at += 1) if (at !== ID_END && !isBase62(text.charCodeAt(at))) return undefined;
  return { id: text.slice(PREFIX.length, ID_END), key: text };
}

/** SHA-256 of the whole text of a key: 43 characters of base64url. */
export function hashAccessKey(key: string): string {
  return digestAccessKey(key).toString('base64url');
}

/** The same as 32 bytes, to compare with. */
export function digestAccessKey(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

function randomBase62(characters: number): string {
  let text = '';
  while (text.length < characters) {
    for (const byte of randomBytes(characters)) if (byte < UNBIASED_BELOW && text.length < characters) text += BASE62[byte % BASE62.length];
  }
  return text;
}

function isBase62(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a);
}
