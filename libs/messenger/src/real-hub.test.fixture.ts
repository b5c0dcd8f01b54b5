import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, spawnService, type SpawnedService } from '@carillon/testing';
import { connect } from './connect.ts';
import type { Messenger } from './messenger.ts';

/** A hub of ours as a process of its own, with a log that survives its restarts, and the messengers at it. */
export class RealHub {
  readonly errors: Error[] = [];
  readonly #dataDir: string;
  readonly #port: number;
  readonly #adminPort: number;
  readonly #messengers: Messenger[] = [];
  #service: SpawnedService | undefined;

  private constructor(dataDir: string, port: number, adminPort: number) {
    this.#dataDir = dataDir;
    this.#port = port;
    this.#adminPort = adminPort;
  }

  static async start(): Promise<RealHub> {
    const hub = new RealHub(await mkdtemp(join(tmpdir(), 'carillon-messenger-')), await freePort(), await freePort());
    await hub.restart();
    return hub;
  }

  /** Starts it again where it was, after `kill` or `drain`. */
  async restart(): Promise<void> {
    this.#service = await spawnService({
      command: 'apps/hub/src/main.ts',
      env: {
        CARILLON_HUB_LISTEN: `127.0.0.1:${this.#port}`, CARILLON_HUB_ADMIN_LISTEN: `127.0.0.1:${this.#adminPort}`, CARILLON_HUB_ACCESS: 'open',
        CARILLON_HUB_COME_BACK_MIN_MS: '10', CARILLON_HUB_COME_BACK_MAX_MS: '50', CARILLON_LOG_LEVEL: 'warn', CARILLON_DATA_DIR: this.#dataDir,
      },
      readyWhen: `http://127.0.0.1:${this.#adminPort}/readyz`,
    });
  }

  /** kill -9; resolves when it is gone. */
  async kill(): Promise<void> {
    this.#service?.kill('SIGKILL');
    await this.#service?.stop();
  }

  /** SIGTERM; resolves when it has drained. */
  async drain(): Promise<void> {
    await this.#service?.stop();
  }

  join(): Messenger {
    const messenger = connect(`ws://127.0.0.1:${this.#port}`, { backoff: { firstMs: 20, capMs: 200 } });
    messenger.on('error', (error) => this.errors.push(error));
    this.#messengers.push(messenger);
    return messenger;
  }

  /** Ends what one test has begun. */
  async leave(): Promise<void> {
    await Promise.all(this.#messengers.splice(0).map((messenger) => messenger.close()));
    this.errors.length = 0;
  }

  async stop(): Promise<void> {
    await this.leave();
    await this.#service?.stop();
    await rm(this.#dataDir, { recursive: true, force: true });
  }
}
