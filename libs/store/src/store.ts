import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { CarillonError } from '@carillon/wire';

import { Database, type QueryCounts } from './database.ts';
import { EmbeddedSource, serverSource, type DatabaseSource } from './database-source.ts';
import { FeedWake } from './feed-wake.ts';
import { holdLead, type Lead, type LeadListeners } from './lead.ts';
import { migrate } from './migrate.ts';
import { repositoriesOn, type Repositories } from './repositories/repositories.ts';
import type { StoreLog } from './store-log.ts';

const POOL_MAX_DEFAULT = 10;
const PING_TIMEOUT_MS = 1_000;

export interface StoreOptions {
  /** `postgresql://…` of a server, reached without a pooler that parts sessions; unset: the embedded one under `<dataDir>/postgres`. */
  readonly url?: string | undefined;
  readonly dataDir: string;
  readonly log: StoreLog;
  /** Connections at most, 10 by default; leading and listening take one more each. */
  readonly poolMax?: number | undefined;
  /** Settings of the embedded server, for tests. */
  readonly embeddedSettings?: Readonly<Record<string, string>> | undefined;
}

/** Opens the database and brings it to this program's schema; safe when several do at once. `STORE_UNAVAILABLE` says what to do. */
export async function openStore({ url, dataDir, log, poolMax = POOL_MAX_DEFAULT, embeddedSettings }: StoreOptions): Promise<Store> {
  const source = url === undefined ? await EmbeddedSource.open({ dir: join(dataDir, 'postgres'), settings: embeddedSettings, log }) : serverSource(url);
  try {
    const applied = await migrate(source.url);
    if (applied.length > 0) log({ level: 'info', text: 'Migrated the database', fields: { applied } });
    return new Store(source, { poolMax, log });
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** The only way to the database. Every method may throw `STORE_UNAVAILABLE`; it heals by itself when the database is back. */
export class Store implements Repositories {
  readonly kind: 'embedded' | 'server';
  /** How many statements were asked, and how many failed for reasons of the database's. */
  readonly counts: Readonly<QueryCounts>;
  readonly workspaces: Repositories['workspaces'];
  readonly users: Repositories['users'];
  readonly members: Repositories['members'];
  readonly sessions: Repositories['sessions'];
  readonly keys: Repositories['keys'];
  readonly definitions: Repositories['definitions'];
  readonly roomPolicies: Repositories['roomPolicies'];
  readonly devices: Repositories['devices'];
  readonly audit: Repositories['audit'];
  readonly idempotency: Repositories['idempotency'];
  readonly knownSources: Repositories['knownSources'];
  readonly feed: Repositories['feed'];
  readonly #source: DatabaseSource;
  readonly #database: Database;
  readonly #wake: FeedWake;
  readonly #leads = new Set<Lead>();
  #closed: Promise<void> | undefined;

  constructor(source: DatabaseSource, { poolMax, log }: { readonly poolMax: number; readonly log: StoreLog }) {
    const counts = { queries: 0, failures: 0 };
    this.kind = source.kind;
    this.counts = counts;
    this.#source = source;
    this.#database = new Database({
      url: source.url, poolMax, counts,
      unavailable: () => source.revive(),
      away: (fault) => log({ level: 'warn', text: 'The database does not answer', fields: { error: fault } }),
      back: () => log({ level: 'info', text: 'The database answers again', fields: {} }),
    });
    source.onMoved((url) => this.#database.redirect(url));
    this.#wake = new FeedWake({ url: () => source.url, lost: () => source.revive() });
    ({
      workspaces: this.workspaces, users: this.users, members: this.members, sessions: this.sessions, keys: this.keys, definitions: this.definitions, roomPolicies: this.roomPolicies,
      devices: this.devices, audit: this.audit, idempotency: this.idempotency, knownSources: this.knownSources, feed: this.feed,
    } = repositoriesOn(this.#database));
  }

  /**
   * One transaction. What `run` throws rolls it back and is thrown on; so does any failed statement, also one that `run` caught. `run` is
   * called again from its beginning, at most three times, after a serialization failure or a deadlock. It has ten seconds.
   */
  async change<T>(run: (tx: Repositories) => Promise<T>): Promise<T> {
    return this.#database.atomically(async (connection) => run(repositoriesOn(connection)));
  }

  /** Whether the database answers within a second; never throws. */
  async ping(): Promise<boolean> {
    const answered = new AbortController();
    const answer = this.#database.sql.query('ping', 'SELECT 1').then(() => true, () => false).finally(() => answered.abort());
    return Promise.race([answer, sleep(PING_TIMEOUT_MS, false, { signal: answered.signal }).catch(() => answer)]);
  }

  /**
   * Leads while it holds the lock of this name: one process among all on this database. It hears within seconds that it does no longer, and
   * another leads only after its session has ended; what it has under way then must not matter.
   */
  lead(name: string, listeners: LeadListeners): Lead {
    this.#refuseIfClosed();
    const held = holdLead(name, { ...listeners, url: () => this.#source.url, away: () => this.#source.revive() });
    const lead: Lead = {
      stop: async () => {
        this.#leads.delete(lead);
        await held.stop();
      },
    };
    this.#leads.add(lead);
    return lead;
  }

  /** Calls `listener`, which must not throw, when the feed got something, and after each time the connection was away; gives what ends it. */
  onFeed(listener: () => void): () => void {
    this.#refuseIfClosed();
    return this.#wake.listen(listener);
  }

  /** Ends leading and listening, lets what is under way end, and stops an embedded server that it has started. Idempotent. */
  async close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  #refuseIfClosed(): void {
    if (this.#closed !== undefined) throw new CarillonError('STORE_UNAVAILABLE', 'the store is closed');
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#leads].map(async (lead) => lead.stop()));
    await this.#wake.close();
    await this.#database.close();
    await this.#source.close();
  }
}
