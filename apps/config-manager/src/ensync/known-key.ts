import { timingSafeEqual } from 'node:crypto';

import { hashAccessKey, parseAccessKey } from '@carillon/access';
import type { AccessKey } from '@carillon/schemas';
import type { Store } from '@carillon/store';

/** Our ids, as they may stand in a path: what is none is not looked up. */
const ID = /^[A-Za-z0-9_]{1,64}$/;
const PUBLIC_PART = /^ck_([0-9A-Za-z]{16})$/;

/** Whether the text may be the id of something stored. */
export function isId(text: string): boolean {
  return ID.test(text);
}

/** A key whose text was given whole, with a secret that is in force; `valid`: neither revoked nor expired. undefined: unknown, or another secret. */
export async function checkKey(store: Store, text: string, nowMs: number): Promise<{ readonly key: AccessKey; readonly valid: boolean } | undefined> {
  const parsed = parseAccessKey(text);
  const stored = parsed === undefined ? undefined : await store.keys.secrets(parsed.id);
  if (stored === undefined) return undefined;
  const presented = Buffer.from(hashAccessKey(text));
  const isInForce = stored.secrets.some(({ hash, expiresAt }) => (expiresAt === null || Date.parse(expiresAt) > nowMs) && hash.length === presented.length && timingSafeEqual(Buffer.from(hash), presented));
  if (!isInForce) return undefined;
  const { key } = stored;
  return { key, valid: key.revokedAt === null && (key.expiresAt === null || Date.parse(key.expiresAt) > nowMs) };
}

/** The key that a path or body names: by id, by its public part `ck_<id>`, or by its whole text, whose secret must then be right. */
export async function namedKey(store: Store, text: string, nowMs: number): Promise<AccessKey | undefined> {
  if (parseAccessKey(text) !== undefined) return (await checkKey(store, text, nowMs))?.key;
  const id = PUBLIC_PART.exec(text)?.[1] ?? text;
  return isId(id) ? store.keys.get(id) : undefined;
}
