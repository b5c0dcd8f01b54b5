import { join } from 'node:path';

import { hashAccessKey, parseAccessKey } from '@carillon/access';
import { createFirstKey, createOwnKey } from '@carillon/config-manager';
import { keepSecret, readSecret } from '@carillon/runtime';
import type { Store } from '@carillon/store';

/** Files of the data folder that hold a secret each. */
export const PASSWORD_FILE = 'admin-password';
const FIRST_KEY_FILE = 'first-key';
const REPEATER_KEY_FILE = 'repeater-key';

/** The first messenger's key, when there is none yet; kept in the data folder as well as given. */
export function firstKey(store: Store, dataDir: string): Promise<string | undefined> {
  return createFirstKey(store, { keep: (key) => keepSecret(join(dataDir, FIRST_KEY_FILE), key) });
}

/** The key of the standalone's own repeater: the one on disk while it is in force, else a new one. */
export async function repeaterKey(store: Store, dataDir: string): Promise<string> {
  const path = join(dataDir, REPEATER_KEY_FILE);
  const kept = await readSecret(path);
  if (kept !== undefined && (await isInForce(store, kept))) return kept;
  return createOwnKey(store, { kind: 'repeater', name: 'repeater of this machine', keep: (key) => keepSecret(path, key) });
}

async function isInForce(store: Store, key: string): Promise<boolean> {
  const parsed = parseAccessKey(key);
  const found = parsed === undefined ? undefined : await store.keys.secrets(parsed.id);
  if (found === undefined || found.key.revokedAt !== null || isOver(found.key.expiresAt)) return false;
  const hash = hashAccessKey(key);
  return found.secrets.some((secret) => secret.hash === hash && !isOver(secret.expiresAt));
}

const isOver = (at: string | null): boolean => at !== null && Date.parse(at) <= Date.now();
