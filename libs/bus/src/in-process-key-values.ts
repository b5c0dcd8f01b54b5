import { BusError, type BusLog } from './bus.ts';
import { PutBacklog, requireFilter, requireKey, requireValue, type KeyValues, type KvEntry, type KvWatch, type KvWatchOptions } from './key-values.ts';
import { matchesTokens } from './subject-routes.ts';

/*
 * Puts, gets and the beginnings of watches are steps of later turns of the event loop, one after the other for all handles: a
 * watch that begins between two puts has the first in its entries and the second among its changes, and nothing twice.
 */

interface Watch {
  readonly tokens: readonly string[];
  readonly entry: (entry: KvEntry) => void;
}

/** What all handles of an exchange share of one bucket. */
export class InProcessBucket {
  readonly watches = new Set<Watch>();
  /** In the order of revisions. */
  readonly #entries = new Map<string, KvEntry>();
  #revision = 0;

  put(key: string, value: Uint8Array): number {
    const entry = { key, value, revision: (this.#revision += 1) };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    for (const watch of [...this.watches]) if (matchesTokens(watch.tokens, key.split('.'))) watch.entry(entry);
    return entry.revision;
  }

  get(key: string): KvEntry | undefined {
    return this.#entries.get(key);
  }

  /** Gives all entries that match; changes come from now on. */
  begin(watch: Watch): void {
    for (const entry of [...this.#entries.values()]) if (matchesTokens(watch.tokens, entry.key.split('.'))) watch.entry(entry);
    this.watches.add(watch);
  }
}

export interface InProcessKeyValuesOptions {
  readonly payloadMaxBytes: number;
  readonly outboundMaxBytes: number;
  readonly log: BusLog;
  /** Runs `step` in a later turn of the event loop, after the steps before it. */
  readonly nextTurn: (step: () => void) => void;
}

/** One handle's view of a bucket. */
export class InProcessKeyValues implements KeyValues {
  readonly #bucket: InProcessBucket;
  readonly #options: InProcessKeyValuesOptions;
  readonly #backlog: PutBacklog;
  readonly #watches = new Set<KvWatch>();
  readonly #pending = new Set<(error: BusError) => void>();
  #isClosed = false;

  constructor(bucket: InProcessBucket, options: InProcessKeyValuesOptions) {
    this.#bucket = bucket;
    this.#options = options;
    this.#backlog = new PutBacklog(options.outboundMaxBytes);
  }

  async put(key: string, value: Uint8Array): Promise<number> {
    requireKey(key);
    requireValue(value, this.#options.payloadMaxBytes);
    const kept = new Uint8Array(value);
    return this.#backlog.hold(value.length, () => this.#later(() => this.#bucket.put(key, kept)));
  }

  async get(key: string): Promise<KvEntry | undefined> {
    requireKey(key);
    return this.#later(() => this.#bucket.get(key));
  }

  watch({ filter = '>', entry, synced }: KvWatchOptions): KvWatch {
    requireFilter(filter);
    if (this.#isClosed) throw new BusError('BUS_CLOSED', 'The bus is closed.');
    const { nextTurn } = this.#options;
    let isEnded = false;
    const given = (call: () => void) => {
      if (isEnded) return;
      try {
        call();
      } catch (error) {
        this.#options.log({ level: 'error', text: 'A watch of key-values threw', fields: { filter, error } });
      }
    };
    const own: Watch = { tokens: filter.split('.'), entry: (changed) => given(() => entry(changed)) };
    nextTurn(() => {
      if (isEnded) return;
      this.#bucket.begin(own);
      given(synced);
      if (isEnded) this.#bucket.watches.delete(own);
    });
    const watch: KvWatch = {
      stop: () => {
        isEnded = true;
        this.#watches.delete(watch);
        this.#bucket.watches.delete(own);
        return new Promise((resolve) => nextTurn(resolve));
      },
    };
    this.#watches.add(watch);
    return watch;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const reject of [...this.#pending]) reject(new BusError('BUS_CLOSED', 'The bus was closed.'));
    await Promise.all([...this.#watches].map((watch) => watch.stop()));
  }

  #later<Value>(step: () => Value): Promise<Value> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(new BusError('BUS_CLOSED', 'The bus is closed.'));
      this.#pending.add(reject);
      this.#options.nextTurn(() => {
        if (this.#pending.delete(reject) && !this.#isClosed) resolve(step());
      });
    });
  }
}
