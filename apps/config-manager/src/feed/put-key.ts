import type { Repositories } from '@carillon/store';

import { keyEntry } from './entries.ts';

/**
 * Tells hubs and repeaters of a key as it is now in this transaction; call it last. An account key never comes into the feed; a
 * key that was revoked or deleted leaves it.
 */
export async function putKey(tx: Repositories, key: { readonly id: string; readonly workspaceId: string; readonly kind: string }): Promise<void> {
  if (key.kind === 'account') return;
  const found = await tx.keys.secrets(key.id);
  const entry = found === undefined ? undefined : keyEntry(found);
  if (entry === undefined) await tx.feed.remove({ type: 'key', workspaceId: key.workspaceId, id: key.id });
  else await tx.feed.put(entry);
}
