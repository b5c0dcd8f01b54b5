import { generateKeyPairSync } from 'node:crypto';

/** What an engine's client signs with: base64 of the 32 bytes of the public key, and of the 64 bytes seed‖public, as NaCl has them. */
export interface Identity {
  readonly publicKey: string;
  readonly privateKey: string;
}

/** Makes an Ed25519 pair. Only the public half is ever kept here. */
export function createIdentity(): Identity {
  const { d, x } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const seed = Buffer.from(d ?? '', 'base64url');
  const publicBytes = Buffer.from(x ?? '', 'base64url');
  return { publicKey: publicBytes.toString('base64'), privateKey: Buffer.concat([seed, publicBytes]).toString('base64') };
}
