import { freePort, spawnService, type SpawnedService } from '@carillon/testing';

import type { WatchedProcess } from './process-watch.ts';

export interface RepeaterProcessOptions {
  readonly dataDir: string;
  readonly env: Readonly<Record<string, string>>;
}

/** One repeater as a process of its own, which keeps its port and its folder over kills and restarts. */
export class RepeaterProcess implements WatchedProcess {
  readonly name = 'repeater';
  readonly url: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #readyUrl: string;
  #service: SpawnedService | undefined;

  private constructor(hubUrl: string, { dataDir, env }: RepeaterProcessOptions, ports: { readonly port: number; readonly adminPort: number }) {
    this.url = `http://127.0.0.1:${ports.port}`;
    this.#readyUrl = `http://127.0.0.1:${ports.adminPort}/livez`;
    this.#env = {
      CARILLON_REPEATER_LISTEN: `127.0.0.1:${ports.port}`, CARILLON_REPEATER_ADMIN_LISTEN: `127.0.0.1:${ports.adminPort}`, CARILLON_REPEATER_ID: 'CHAOS-CP1',
      CARILLON_REPEATER_ACCESS: 'open', CARILLON_REPEATER_HUB_URL: hubUrl, CARILLON_DATA_DIR: dataDir,
      CARILLON_REPEATER_HUB_RETRY_FIRST_MS: '50', CARILLON_REPEATER_HUB_RETRY_CAP_MS: '500', CARILLON_LOG_LEVEL: 'error', ...env,
    };
  }

  static async start(hubUrl: string, options: RepeaterProcessOptions): Promise<RepeaterProcess> {
    const repeater = new RepeaterProcess(hubUrl, options, { port: await freePort(), adminPort: await freePort() });
    await repeater.start();
    return repeater;
  }

  get isUp(): boolean {
    return this.#service !== undefined;
  }

  /** Resolves when it is alive, whether it has a hub or not. */
  async start(): Promise<void> {
    this.#service = await spawnService({ command: 'apps/repeater/src/main.ts', env: this.#env, readyWhen: this.#readyUrl });
  }

  /** Resident memory; 0 while it is down. */
  rssBytes(): number {
    return this.#service?.rssBytes() ?? 0;
  }

  lastWords(): string {
    return this.#service === undefined ? '' : lastWords(this.#service);
  }

  signal(signal: NodeJS.Signals): void {
    this.#service?.kill(signal);
  }

  /** kill -9; resolves when the process is gone. */
  async kill(): Promise<void> {
    const service = this.#service;
    this.#service = undefined;
    service?.kill('SIGKILL');
    await service?.stop();
  }
}

const LAST_WORDS_CHARACTERS = 2_000;

/** The end of what a process printed. */
export function lastWords(service: SpawnedService): string {
  return `${service.stdout()}${service.stderr()}`.slice(-LAST_WORDS_CHARACTERS);
}
