import { OwnConnection } from './own-connection.ts';

/** The channel of PostgreSQL's on which each transaction that changes the feed says so when it commits. */
export const FEED_CHANNEL = 'carillon_feed';

/** Calls its listeners when the feed got something, and after each (re)connection, when something may have been missed. */
export class FeedWake {
  readonly #options: { readonly url: () => string; readonly lost: () => void };
  readonly #listeners = new Set<() => void>();
  #connection: OwnConnection | undefined;
  #closing: Promise<void> = Promise.resolve();

  constructor(options: { readonly url: () => string; /** The database does not answer. */ readonly lost: () => void }) {
    this.#options = options;
  }

  /** Listens from now on; the function given back ends it. The connection lasts from the first listener to the last. */
  listen(listener: () => void): () => void {
    // Wrapped, so that the same function given twice is two listeners.
    const own = () => listener();
    this.#listeners.add(own);
    this.#connection ??= this.#connect();
    return () => {
      this.#listeners.delete(own);
      if (this.#listeners.size === 0) this.#disconnect();
    };
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    this.#disconnect();
    await this.#closing;
  }

  #connect(): OwnConnection {
    const wake = () => {
      for (const listener of this.#listeners) listener();
    };
    return new OwnConnection({
      ...this.#options, name: 'carillon-feed',
      established: async (client) => {
        client.on('notification', wake);
        await client.query(`LISTEN ${FEED_CHANNEL}`);
        wake();
      },
      beat: async (client) => void (await client.query('SELECT 1')),
    });
  }

  #disconnect(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection !== undefined) this.#closing = Promise.all([this.#closing, connection.stop()]).then(() => undefined);
  }
}
