import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { AccessCopy, AccessCopyFile, createAccessKey } from '@carillon/access';
import { DEFAULT_WORKSPACE_ID, feedKey, type FeedEntry } from '@carillon/schemas';

/** A data folder with the copy of an access feed in it, so that a hub runs with keys and nothing else beside it. */
export interface KeyedCopy {
  readonly dataDir: string;
  /** May send and receive the rooms that the cases use, by pattern. */
  readonly accessKey: string;
  readonly copy: AccessCopy;
  remove(): Promise<void>;
}

const ROOMS = ['BENCH-*', 'FLOOD-*', 'IDLE-*'].map((room) => ({ room }));

/** `strangers` more keys lie in the copy. */
export async function writeKeyedCopy(strangers = 0): Promise<KeyedCopy> {
  const dataDir = await mkdtemp(join(tmpdir(), 'carillon-bench-'));
  const copy = new AccessCopy({ now: Date.now });
  const file = new AccessCopyFile({ path: join(dataDir, 'access', 'hub.json'), copy });
  await file.load();
  file.start();
  let seq = 0;
  const put = (entry: FeedEntry): void => void copy.apply(feedKey(entry), { seq: (seq += 1), entry });
  put({ type: 'workspace', id: DEFAULT_WORKSPACE_ID, workspaceId: DEFAULT_WORKSPACE_ID, path: DEFAULT_WORKSPACE_ID, anonymousKeyId: null, allowedOrigins: [], validation: 'off', limits: {} });
  const makeKey = (): string => {
    const { id, key, hash } = createAccessKey();
    put({ type: 'key', id, workspaceId: DEFAULT_WORKSPACE_ID, kind: 'messenger', permissions: { send: ROOMS, receive: ROOMS, deny: { send: [], receive: [] } }, limits: {}, expiresAtMs: null, secrets: [{ hash, expiresAtMs: null }] });
    return key;
  };
  for (let made = 0; made < strangers; made += 1) makeKey();
  const accessKey = makeKey();
  await file.close();
  return { dataDir, accessKey, copy, remove: () => rm(dataDir, { recursive: true, force: true }) };
}
