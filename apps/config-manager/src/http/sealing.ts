import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

// AES-256-GCM under a key derived (HKDF-SHA-256, RFC 5869) from a secret: whoever has only the sealed bytes can neither read
// nor change them. Layout: nonce, tag, ciphertext. Nonces are random: 2^32 seals under one secret would be too many
// (NIST SP 800-38D §8.3); each secret here seals a handful, or one cookie a sign-in.

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;

export interface Sealer {
  seal(plain: Uint8Array): Uint8Array;
  /** undefined for what was not sealed under this secret for this purpose. */
  open(sealed: Uint8Array): Uint8Array | undefined;
}

/** `purpose` keeps what is sealed for one thing from being opened as another. */
export function createSealer(secret: string | Uint8Array, purpose: string): Sealer {
  const key = Buffer.from(hkdfSync('sha256', secret, '', `carillon ${purpose}`, KEY_BYTES));
  return {
    seal: (plain) => {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, nonce);
      const text = Buffer.concat([cipher.update(plain), cipher.final()]);
      return Buffer.concat([nonce, cipher.getAuthTag(), text]);
    },
    open: (sealed) => {
      if (sealed.length < NONCE_BYTES + TAG_BYTES) return undefined;
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
        decipher.setAuthTag(sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
        return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]);
      } catch {
        return undefined;
      }
    },
  };
}
