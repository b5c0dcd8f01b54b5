import { setTimeout as sleep } from 'node:timers/promises';

import pg from 'pg';

/*
 * A connection outside the pool, for what belongs to one session of the server: LISTEN, and advisory locks.
 *
 * dial ─▶ use: `established` once, then `beat` every second ─▶ lost ─▶ pause ─▶ dial …
 */

const BEAT_MS = 1_000;
/** An answer that takes this long does not come: the connection is given up. */
const ANSWER_TIMEOUT_MS = 3_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** Between loss and redial, with full jitter; not doubled: there are one or two of these in a process. */
const PAUSE_MS = 500;

export interface OwnConnectionUse {
  /** Asked before each dial. */
  readonly url: () => string;
  /** For the server's list of its sessions. */
  readonly name: string;
  /** The session is there, fresh. A rejection ends it. */
  readonly established: (client: pg.Client) => Promise<void>;
  /** Once a second; a rejection ends the session. */
  readonly beat: (client: pg.Client) => Promise<void>;
  /** The session is over; called once for each that was `established`, or about to be. */
  readonly lost: (error: unknown) => void;
}

/** Keeps a session alive until it is stopped. */
export class OwnConnection {
  readonly #use: OwnConnectionUse;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(use: OwnConnectionUse) {
    this.#use = use;
    this.#running = this.#run();
  }

  /** Resolves when the session is over; idempotent. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#session(signal).catch((error: unknown) => this.#use.lost(error));
      await sleep(Math.random() * PAUSE_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #session(signal: AbortSignal): Promise<void> {
    const { url, name, established, beat } = this.#use;
    const client = new pg.Client({ connectionString: url(), application_name: name, keepAlive: true, connectionTimeoutMillis: CONNECT_TIMEOUT_MS, query_timeout: ANSWER_TIMEOUT_MS });
    const over = new AbortController();
    let failure: unknown;
    const end = (error?: unknown) => {
      failure ??= error;
      over.abort();
    };
    const stopped = () => end();
    client.on('error', end);
    client.on('end', () => end(new Error('Connection terminated')));
    signal.addEventListener('abort', stopped);
    try {
      await client.connect();
      if (!signal.aborted) await established(client);
      while (!over.signal.aborted) {
        await sleep(BEAT_MS, undefined, { signal: over.signal }).catch(() => undefined);
        if (!over.signal.aborted) await beat(client);
      }
      if (!signal.aborted) throw failure;
    } finally {
      signal.removeEventListener('abort', stopped);
      await hangUp(client);
    }
  }
}

/** In order if the server answers at once, else by cutting the socket. */
async function hangUp(client: pg.Client): Promise<void> {
  const cut = new AbortController();
  const ended = client.end().catch(() => undefined).finally(() => cut.abort());
  await Promise.race([ended, sleep(ANSWER_TIMEOUT_MS, undefined, { signal: cut.signal }).catch(() => undefined)]);
  const { connection } = client as unknown as { connection: { stream: { destroy(): void } } };
  connection.stream.destroy();
}
