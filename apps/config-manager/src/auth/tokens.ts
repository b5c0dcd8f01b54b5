import { createHash, randomBytes } from 'node:crypto';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
/** 43 of 62 characters hold 256 bits. */
const TOKEN_CHARACTERS = 43;
const SESSION_TOKEN = /^cs_[A-Za-z0-9]{43}$/;

/** A session's token: `cs_` and 256 random bits. */
export function createSessionToken(): string {
  return `cs_${randomText(TOKEN_CHARACTERS)}`;
}

export function isSessionToken(text: string): boolean {
  return SESSION_TOKEN.test(text);
}

/** What the database has of a token. It has 256 bits of its own, so that a slow hash would add nothing. */
export function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('base64url');
}

/** Letters and digits, each drawn evenly. */
export function randomText(length: number): string {
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(length)) {
      // 248 = 4 × 62: above it the first letters would come more often.
      if (byte < 248 && text.length < length) text += ALPHABET[byte % 62] as string;
    }
  }
  return text;
}
