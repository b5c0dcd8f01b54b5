import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, afterEach, beforeAll } from 'vitest';

import { askOnce } from './ask-once.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded/embedded-postgres.ts';
import { openStore, type Store, type StoreOptions } from './store.ts';
import type { StoreLog } from './store-log.ts';

/** What a power cut would lose does not matter to a test; what is committed still survives the server's own death. */
export const FAST = { fsync: 'off', full_page_writes: 'off' } as const;

/** A directory that is gone after the file's tests, and what was started in it before. */
export function useTemporaryDirectory(): { readonly path: string; /** Stops these first, whatever the tests have done. */ own(...servers: readonly EmbeddedPostgres[]): void } {
  let path = '';
  const owned = new Set<EmbeddedPostgres>();
  const killAll = () => {
    for (const { pid } of owned) killIfAlive(pid);
  };
  beforeAll(async () => {
    path = await mkdtemp(join(tmpdir(), 'carillon-store-'));
    process.on('exit', killAll);
  });
  afterAll(async () => {
    for (const server of owned) await server.stop().catch(() => killIfAlive(server.pid));
    process.off('exit', killAll);
    await rm(path, { recursive: true, force: true });
  });
  return {
    get path() {
      return path;
    },
    own: (...servers) => {
      for (const server of servers) owned.add(server);
    },
  };
}

export interface TestPostgres {
  readonly url: string;
  /** The address of a new, empty database. */
  create(): Promise<string>;
  /** A store on a new database, or on that of `url`; closed after the test. */
  open(options?: Partial<StoreOptions>): Promise<Store>;
  /** One statement, past the store. */
  ask(url: string, text: string, values?: readonly unknown[]): Promise<readonly Record<string, unknown>[]>;
}

/** One PostgreSQL for the tests of a file. */
export function usePostgres({ settings = {} }: { readonly settings?: Readonly<Record<string, string>> } = {}): TestPostgres {
  const directory = useTemporaryDirectory();
  let server: EmbeddedPostgres | undefined;
  let databases = 0;
  const stores: Store[] = [];
  beforeAll(async () => {
    server = await startEmbeddedPostgres({ dir: join(directory.path, 'postgres'), settings: { ...FAST, ...settings } });
    directory.own(server);
  });
  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close();
  });
  const url = () => server?.url ?? '';
  const create = async () => {
    databases += 1;
    await askOnce(url(), `CREATE DATABASE test_${databases}`);
    return Object.assign(new URL(url()), { pathname: `/test_${databases}` }).href;
  };
  return {
    get url() {
      return url();
    },
    ask: askOnce,
    create,
    open: async (options = {}) => {
      const store = await openStore({ url: options.url ?? (await create()), dataDir: directory.path, log: silent, ...options });
      stores.push(store);
      return store;
    },
  };
}

export const silent: StoreLog = () => undefined;

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It is gone.
  }
}
