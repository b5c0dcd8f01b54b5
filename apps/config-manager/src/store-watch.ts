import type { Logger } from '@carillon/runtime';
import type { Store } from '@carillon/store';

const PING_MS = 2_000;

/** Whether the database answers, asked every two seconds, so that a probe waits for nothing. */
export class StoreWatch {
  readonly #store: Store;
  readonly #log: Logger;
  #isUp = true;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;
  #pinging: Promise<void> = Promise.resolve();

  constructor(store: Store, log: Logger) {
    this.#store = store;
    this.#log = log;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  async start(): Promise<void> {
    this.#pinging = this.#ping();
    await this.#pinging;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#pinging;
  }

  async #ping(): Promise<void> {
    const isUp = await this.#store.ping();
    if (this.#stopped) return;
    if (isUp !== this.#isUp) this.#log[isUp ? 'info' : 'warn']({ isUp }, isUp ? 'the database answers again' : 'the database does not answer');
    this.#isUp = isUp;
    this.#timer = setTimeout(() => {
      this.#pinging = this.#ping();
    }, PING_MS);
  }
}
