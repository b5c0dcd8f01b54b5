import { DEFAULT_WORKSPACE_ID, feedKey, type FeedEntry, type FeedRecord } from '@carillon/schemas';
import type { Repositories } from '@carillon/store';

import { digestOf, type Held } from './bucket-view.ts';
import { recordBytes, type KeyedRecord } from './put-records.ts';

/*
 * What the database says is the truth; a reader takes only what stands above the position it has for a key. So
 *
 *   bucket holds                     database holds        what is done
 *   nothing, or no record, or older  a record              it is put as it is
 *   the same, byte for byte          the record            nothing
 *   newer, or as new but different   a record              it gets a fresh position, above all others, and is put by that
 *   a thing                          nothing               a tombstone with a fresh position
 *   a tombstone, a foreign key       nothing               nothing
 *
 * The last three come from a database that was restored, or from a bucket that belonged to another. Before any fresh
 * position is handed out, the head is lifted above all that the bucket has.
 */
const PAGE_RECORDS = 500;

/** Every installation has made this one workspace, once. */
const ORIGIN = feedKey({ type: 'workspace', workspaceId: DEFAULT_WORKSPACE_ID, id: DEFAULT_WORKSPACE_ID });

/** The bucket is another installation's: what this one would put there, its hubs would take for theirs. */
export class ForeignBucket extends Error {
  constructor() {
    super('The feed\'s bucket on NATS belongs to another installation (another database). Use another NATS account, or, if that installation is gone for good, start once with CARILLON_CONFIG_MANAGER_FEED_TAKE_OVER=true');
  }
}

export type Remedy = 'none' | 'put' | 'again';

/** What a record of the database needs, given what the bucket holds under its key. */
export function remedyFor(record: FeedRecord, held: Held | undefined): Remedy {
  if (held === undefined || held.seq < record.seq) return 'put';
  if (held.seq > record.seq) return 'again';
  return held.digest === digestOf(recordBytes(record)) ? 'none' : 'again';
}

const KEY = /^(?<workspaceId>[A-Za-z0-9_]{1,64})\.(?<type>workspace|key|event-definition|room|device)\.(?<id>[A-Za-z0-9_]{1,64})$/;

/** The thing that a key of the bucket names; undefined for what no version of ours has put. */
export function thingOf(key: string): Pick<FeedEntry, 'type' | 'workspaceId' | 'id'> | undefined {
  const groups = KEY.exec(key)?.groups;
  return groups === undefined ? undefined : { workspaceId: groups['workspaceId']!, type: groups['type'] as FeedEntry['type'], id: groups['id']! };
}

export interface ReconcileOptions {
  readonly store: Repositories & { change<T>(run: (tx: Repositories) => Promise<T>): Promise<T> };
  /** What the bucket holds; complete. */
  readonly held: ReadonlyMap<string, Held>;
  /** Puts records of one page; rejects unless the bucket has all of them. */
  readonly put: (records: readonly KeyedRecord[]) => Promise<void>;
  /** Makes a bucket of another installation ours. */
  readonly takeOver: boolean;
  readonly signal: AbortSignal;
}

export interface Reconciled {
  /** Put because the bucket lacked them. */
  readonly put: number;
  /** Given a fresh position, tombstones of leftovers among them. */
  readonly renewed: number;
}

/**
 * Makes the bucket hold what the database holds. May be repeated at any time; rejects with what the store or `put` says,
 * with ForeignBucket before anything was written, or when aborted.
 */
export async function reconcile({ store, held, put, takeOver, signal }: ReconcileOptions): Promise<Reconciled> {
  const origin = held.get(ORIGIN)?.createdAtMs;
  if (!takeOver && origin !== undefined && origin !== (await ownOrigin(store))) throw new ForeignBucket();
  const leftovers = new Map(held);
  const lifted = await liftHead(store, leftovers);
  let putCount = 0;
  let renewed = 0;
  let newest: KeyedRecord | undefined;
  for (let afterKey: string | undefined; ; ) {
    signal.throwIfAborted();
    const page = await store.feed.all(afterKey, PAGE_RECORDS);
    if (page.length === 0) break;
    const missing = page.filter(({ key, record }) => remedyFor(record, leftovers.get(key)) === 'put');
    await put(missing);
    putCount += missing.length;
    const again = page.filter(({ key, record }) => remedyFor(record, leftovers.get(key)) === 'again').map(({ key }) => key);
    if (again.length > 0) renewed += await store.change((tx) => tx.feed.again(again));
    for (const keyed of page) {
      leftovers.delete(keyed.key);
      if (newest === undefined || keyed.record.seq > newest.record.seq) newest = keyed;
    }
    afterKey = page.at(-1)?.key;
  }
  renewed += await buryLeftovers(store, leftovers, signal);
  // A reader compares its position with the head's; without a record at the head it would seem behind until the next change.
  if (lifted && renewed === 0 && newest !== undefined) {
    const { key } = newest;
    renewed += await store.change((tx) => tx.feed.again([key]));
  }
  return { put: putCount, renewed };
}

async function ownOrigin(store: ReconcileOptions['store']): Promise<number | undefined> {
  const workspace = await store.workspaces.get(DEFAULT_WORKSPACE_ID);
  return workspace === undefined ? undefined : Date.parse(workspace.createdAt);
}

async function liftHead(store: ReconcileOptions['store'], held: ReadonlyMap<string, Held>): Promise<boolean> {
  let highest = 0;
  for (const { seq } of held.values()) highest = Math.max(highest, seq);
  if (highest <= (await store.feed.head())) return false;
  await store.change((tx) => tx.feed.raise(highest));
  return true;
}

async function buryLeftovers(store: ReconcileOptions['store'], leftovers: ReadonlyMap<string, Held>, signal: AbortSignal): Promise<number> {
  let buried = 0;
  for (const [key, { gone }] of leftovers) {
    const thing = gone ? undefined : thingOf(key);
    if (thing === undefined) continue;
    signal.throwIfAborted();
    await store.change((tx) => tx.feed.remove(thing));
    buried += 1;
  }
  return buried;
}
