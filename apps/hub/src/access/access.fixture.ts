import { createAccessKey } from '@carillon/access';
import { createInProcessExchange, type Bus, type InProcessExchange, type KeyValues } from '@carillon/bus';
import { FEED_BEAT_SUBJECT, FEED_BUCKET, feedKey, permissions, type FeedEntry, type FeedRecord, type KeyEntry, type KeyKind, type WorkspaceEntry } from '@carillon/schemas';
import { eventually } from '@carillon/testing';
import type { z } from 'zod';

import { codeOf, connectRaw, keepSecret, onClose, upgradeHead, type TestHub } from '../hub.fixture.ts';

// What config-manager would do: keys, workspaces and the rest, put into the feed that the hubs of a test watch.

export interface TestKey {
  readonly id: string;
  /** As it is presented. */
  readonly key: string;
  readonly entry: KeyEntry;
  readonly bearer: { readonly authorization: string };
}

export interface KeyOptions {
  readonly workspaceId?: string;
  readonly permissions?: z.input<typeof permissions>;
  readonly limits?: KeyEntry['limits'];
  readonly expiresAtMs?: number;
}

export interface TestFeed {
  /** A handle for a hub: as its `feedBus`, or as its `bus` too. */
  connect(): Bus;
  /** Puts a thing, or its next version; gives its position. */
  put(entry: FeedEntry): Promise<number>;
  /** Takes a thing away. */
  remove(entry: FeedEntry): Promise<number>;
  /** Puts bytes as they are. */
  putRaw(key: string, text: string): Promise<void>;
  /** Makes a key, and its workspace if there is none. Everything is allowed unless said otherwise. */
  key(kind: KeyKind, options?: KeyOptions): Promise<TestKey>;
  change(key: TestKey, change: Partial<KeyEntry>): Promise<number>;
  workspace(id: string, settings?: Partial<WorkspaceEntry>): Promise<number>;
  /** Says what has been handed over, as config-manager does. */
  beat(seq?: number): void;
  /** Resolves when a hub has applied all of it. */
  reached(...hubs: readonly TestHub[]): Promise<void>;
  readonly seq: number;
}

export const ALL: z.input<typeof permissions> = { send: ['*'], receive: ['*'] };

/** A feed inside this process; over another bus when one is given, e.g. one that is connected to NATS. */
export function createTestFeed({ bus, exchange = createInProcessExchange() }: { readonly bus?: Bus; readonly exchange?: InProcessExchange } = {}): TestFeed {
  const own = bus ?? exchange.connect();
  onClose(() => own.close());
  const bucket: KeyValues = own.keyValues(FEED_BUCKET);
  const workspaces = new Set<string>();
  let seq = 0;
  const write = async (key: string, entry: FeedEntry | null): Promise<number> => {
    seq += 1;
    const record: FeedRecord = { seq, entry };
    const at = seq;
    await bucket.put(key, Buffer.from(JSON.stringify(record)));
    return at;
  };
  const put = (entry: FeedEntry): Promise<number> => write(feedKey(entry), entry);
  const workspace: TestFeed['workspace'] = (id, settings = {}) => {
    workspaces.add(id);
    return put({ type: 'workspace', id, workspaceId: id, path: id, anonymousKeyId: null, allowedOrigins: [], validation: 'off', limits: {}, ...settings });
  };
  return {
    connect: () => exchange.connect(),
    put,
    remove: (entry) => write(feedKey(entry), null),
    putRaw: async (key, text) => void (await bucket.put(key, Buffer.from(text))),
    key: async (kind, { workspaceId = 'default', permissions: allowed = ALL, limits = {}, expiresAtMs } = {}) => {
      if (!workspaces.has(workspaceId)) await workspace(workspaceId);
      const { id, key, hash } = createAccessKey();
      keepSecret(key);
      const entry: KeyEntry = { type: 'key', id, workspaceId, kind, permissions: permissions.parse(allowed), limits, expiresAtMs: expiresAtMs ?? null, secrets: [{ hash, expiresAtMs: null }] };
      await put(entry);
      return { id, key, entry, bearer: { authorization: `Bearer ${key}` } };
    },
    change: ({ entry }, change) => put({ ...entry, ...change }),
    workspace,
    beat: (said = seq) => void own.publish(FEED_BEAT_SUBJECT, Buffer.from(JSON.stringify({ seq: said }))),
    reached: async (...hubs) => {
      for (const hub of hubs) await eventually(async () => (await hub.metric('carillon_hub_access_seq')) >= seq, { what: `the hub to apply ${seq}`, intervalMs: 5 });
    },
    get seq() {
      return seq;
    },
  };
}

/** Asks to join at a path; `joined`, the code of the refusal, or `ended` when the hub hung up without a word. */
export async function knock(hub: TestHub, path: string, headers: Readonly<Record<string, string>> = {}): Promise<string> {
  const raw = await connectRaw(hub.port);
  raw.socket.write(upgradeHead(path, headers));
  const answer = await eventually(() => (raw.text().startsWith('HTTP/1.1 101') ? 'joined' : (codeOf(raw.text()) ?? (raw.isEnded() ? 'ended' : false))), { timeoutMs: 10_000, what: `an answer at ${path.slice(0, 20)}`, intervalMs: 2 });
  raw.socket.destroy();
  return answer;
}
