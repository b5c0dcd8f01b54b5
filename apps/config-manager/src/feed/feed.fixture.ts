import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { connectNats, createInProcessExchange, type Bus, type BusLog, type KeyValues } from '@carillon/bus';
import { FEED_BUCKET, type FeedRecord, type RoomEntry } from '@carillon/schemas';
import { openStore, startEmbeddedPostgres, type EmbeddedPostgres, type Store } from '@carillon/store';
import { startNatsServer, type NatsServer } from '@carillon/testing';

import { recordBytes } from './put-records.ts';

/** A log that keeps its lines. */
export function keptLog(): { readonly log: BusLog; readonly lines: string[] } {
  const lines: string[] = [];
  return { lines, log: ({ level, text, fields }) => lines.push(`${level} ${text} ${JSON.stringify(fields)}`) };
}

export const noLog: BusLog = () => undefined;

export interface Database {
  readonly url: string;
  open(): Promise<Store>;
  /** As the kernel does it. */
  kill(): void;
  /** Brings it back after `kill`. */
  restart(): Promise<void>;
  /** Copies its files while it stands still. */
  backUp(): Promise<void>;
  /** Puts the copy in place of its files. */
  restore(): Promise<void>;
  stop(): Promise<void>;
}

/** A PostgreSQL of its own; what it writes need not outlive the machine. */
export async function startDatabase(): Promise<Database> {
  const folder = await mkdtemp(join(tmpdir(), 'carillon-feed-'));
  const dir = join(folder, 'postgres');
  const copy = join(folder, 'copy');
  const launch = () => startEmbeddedPostgres({ dir, settings: { fsync: 'off', max_connections: '60' } });
  let server: EmbeddedPostgres = await launch();
  const { url } = server;
  return {
    url,
    open: () => openStore({ url, dataDir: folder, log: noLog }),
    kill: () => server.kill(),
    restart: async () => void (server = await launch()),
    backUp: async () => {
      await server.stop();
      await cp(dir, copy, { recursive: true, preserveTimestamps: true });
      server = await launch();
    },
    restore: async () => {
      await server.stop();
      await rm(dir, { recursive: true });
      await cp(copy, dir, { recursive: true, preserveTimestamps: true });
      server = await launch();
    },
    stop: async () => {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export interface TestBus {
  /** A handle of its own on the same bus. */
  connect(): Bus;
  /** Ends all handles and the bus. */
  stop(): Promise<void>;
}

export function inProcessBus(): TestBus {
  const exchange = createInProcessExchange();
  return closing(() => exchange.connect());
}

export interface NatsTestBus extends TestBus {
  readonly server: NatsServer;
  /** Ends the server, forgets all that it stored, and starts it again. */
  wipe(): Promise<void>;
}

export async function natsBus(): Promise<NatsTestBus> {
  const storeDir = await mkdtemp(join(tmpdir(), 'carillon-feed-nats-'));
  const server = await startNatsServer({ jetstream: true, storeDir });
  const bus = closing(() => connectNats({ servers: [server.url], name: 'feed test' }));
  return {
    server,
    connect: bus.connect,
    wipe: async () => {
      await server.kill();
      await rm(storeDir, { recursive: true, force: true });
      await server.restart();
    },
    stop: async () => {
      await bus.stop();
      await server.stop();
      await rm(storeDir, { recursive: true, force: true });
    },
  };
}

function closing(connect: () => Bus): TestBus {
  const handles: Bus[] = [];
  return {
    connect: () => {
      const handle = connect();
      handles.push(handle);
      return handle;
    },
    stop: async () => void (await Promise.all(handles.map((handle) => handle.close()))),
  };
}

export const room = (id: string, pattern: string): RoomEntry => ({ type: 'room', id, workspaceId: 'ws_feed', pattern, lane: 'live', retention: { maxAgeSeconds: null, maxBytes: null } });

/** Makes one change as a request does. */
export function changeRoom(store: Store, id: string, pattern: string): Promise<number> {
  return store.change((tx) => tx.feed.put(room(id, pattern)));
}

/** All that the database wants the bucket to hold, by key, as text. */
export async function wanted(store: Store): Promise<ReadonlyMap<string, string>> {
  const records = new Map<string, string>();
  for (let after: string | undefined; ; ) {
    const page = await store.feed.all(after, 500);
    if (page.length === 0) return records;
    for (const { key, record } of page) records.set(key, textOf(record));
    after = page.at(-1)?.key;
  }
}

export const textOf = (record: FeedRecord): string => Buffer.from(recordBytes(record)).toString('utf8');

/** What a reader that comes now finds in the bucket, by key, as text. */
export async function found(values: KeyValues): Promise<ReadonlyMap<string, string>> {
  const entries = new Map<string, string>();
  let watch: ReturnType<KeyValues['watch']> | undefined;
  await new Promise<void>((resolve) => {
    watch = values.watch({ entry: ({ key, value }) => entries.set(key, Buffer.from(value).toString('utf8')), synced: resolve });
  });
  await watch?.stop();
  return entries;
}

export const feedBucket = (bus: Bus): KeyValues => bus.keyValues(FEED_BUCKET);

/** Throws unless the bucket holds what the database wants, and nothing else that is alive. */
export async function requireSame(store: Store, bus: Bus): Promise<void> {
  const [should, does] = [await wanted(store), await found(feedBucket(bus))];
  for (const [key, text] of should) if (does.get(key) !== text) throw new Error(`${key} should be ${text} and is ${does.get(key) ?? 'missing'}`);
  for (const [key, text] of does) if (!should.has(key) && !text.endsWith('"entry":null}')) throw new Error(`${key} is left over: ${text}`);
  if ((await store.feed.pending(1)).length > 0) throw new Error('something is still pending');
}
