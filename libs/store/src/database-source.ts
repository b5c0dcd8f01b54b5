import { startEmbeddedPostgres, type EmbeddedOptions, type EmbeddedPostgres } from './embedded/embedded-postgres.ts';
import type { StoreLog } from './store-log.ts';

/** A server that dies again and again is started at most this often. */
const REVIVE_PAUSE_MS = 1_000;

/** Where the database is. */
export interface DatabaseSource {
  readonly kind: 'embedded' | 'server';
  /** Holds the password: not for logs. */
  readonly url: string;
  /** The database does not answer: does what can be done about it, by itself and in its own time. */
  revive(): void;
  /** Calls `listener` with the new address when it has another. */
  onMoved(listener: (url: string) => void): void;
  /** Stops a server that is ours. */
  close(): Promise<void>;
}

/** A server of somebody else's: who runs it brings it back. */
export function serverSource(url: string): DatabaseSource {
  return { kind: 'server', url, revive: () => undefined, onMoved: () => undefined, close: async () => undefined };
}

export interface EmbeddedSourceOptions extends EmbeddedOptions {
  readonly log: StoreLog;
}

/** The embedded server: started or adopted, and again when it is gone, be it that it was killed or that its owner has stopped it. */
export class EmbeddedSource implements DatabaseSource {
  readonly kind = 'embedded';
  readonly #options: EmbeddedSourceOptions;
  #server: EmbeddedPostgres;
  #reviving: Promise<void> | undefined;
  #lastTryMs = -Infinity;
  #closed = false;
  #moved: (url: string) => void = () => undefined;

  private constructor(server: EmbeddedPostgres, options: EmbeddedSourceOptions) {
    this.#server = server;
    this.#options = options;
  }

  static async open(options: EmbeddedSourceOptions): Promise<EmbeddedSource> {
    const server = await startEmbeddedPostgres(options);
    options.log({ level: 'info', text: server.adopted ? 'Uses the embedded PostgreSQL that runs already' : 'Started the embedded PostgreSQL', fields: { dir: options.dir, pid: server.pid, port: server.port } });
    return new EmbeddedSource(server, options);
  }

  get url(): string {
    return this.#server.url;
  }

  revive(): void {
    if (this.#closed || this.#reviving !== undefined || performance.now() - this.#lastTryMs < REVIVE_PAUSE_MS) return;
    this.#lastTryMs = performance.now();
    this.#reviving = this.#restart().finally(() => (this.#reviving = undefined));
  }

  onMoved(listener: (url: string) => void): void {
    this.#moved = listener;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#reviving;
    if (this.#server.owned) await this.#server.stop();
  }

  async #restart(): Promise<void> {
    const { log } = this.#options;
    const before = this.#server;
    try {
      const server = await startEmbeddedPostgres(this.#options);
      // The one that we know, still running: it stays ours if it was.
      if (server.pid === before.pid) return;
      this.#server = server;
      log({ level: 'warn', text: server.adopted ? 'Another process has started the embedded PostgreSQL anew' : 'Started the embedded PostgreSQL anew', fields: { pid: server.pid, port: server.port } });
      this.#moved(server.url);
    } catch (error) {
      log({ level: 'error', text: 'The embedded PostgreSQL cannot be started', fields: { error } });
    }
  }
}
