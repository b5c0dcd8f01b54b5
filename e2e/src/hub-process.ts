import { freePort, spawnService, type ProcessExit, type SpawnedService } from '@carillon/testing';

import { readMetrics, type MetricValues } from './metric-values.ts';

export interface HubProcessOptions {
  readonly env?: Readonly<Record<string, string>>;
}

/** One hub as a process of its own, which keeps its ports over kills and restarts. */
export class HubProcess {
  readonly name: string;
  readonly port: number;
  readonly adminPort: number;
  readonly #env: Readonly<Record<string, string>>;
  #service: SpawnedService | undefined;

  private constructor(name: string, ports: { readonly port: number; readonly adminPort: number }, env: Readonly<Record<string, string>>) {
    this.name = name;
    this.port = ports.port;
    this.adminPort = ports.adminPort;
    this.#env = env;
  }

  /** Starts a hub and waits until it is ready. */
  static async start(name: string, { env = {} }: HubProcessOptions = {}): Promise<HubProcess> {
    const hub = new HubProcess(name, { port: await freePort(), adminPort: await freePort() }, env);
    await hub.start();
    return hub;
  }

  /** Starts a hub that is not going to be ready; waits until it is alive. */
  static async startUnready(name: string, { env = {} }: HubProcessOptions = {}): Promise<HubProcess> {
    const hub = new HubProcess(name, { port: await freePort(), adminPort: await freePort() }, env);
    await hub.#launch('/livez');
    return hub;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  get isUp(): boolean {
    return this.#service !== undefined;
  }

  get service(): SpawnedService {
    if (this.#service === undefined) throw new Error(`hub ${this.name} is down`);
    return this.#service;
  }

  /** Starts it again on its ports; resolves when /readyz says so. */
  async start(): Promise<void> {
    await this.#launch('/readyz');
  }

  /** Starts it again with other settings on top; resolves when `readyPath` of its admin port says so. */
  async startWith(env: Readonly<Record<string, string>>, readyPath: string): Promise<void> {
    await this.#launch(readyPath, env);
  }

  async #launch(readyPath: string, more: Readonly<Record<string, string>> = {}): Promise<void> {
    this.#service = await spawnService({
      command: 'apps/hub/src/main.ts',
      env: {
        CARILLON_HUB_LISTEN: `127.0.0.1:${this.port}`,
        CARILLON_HUB_ADMIN_LISTEN: `127.0.0.1:${this.adminPort}`,
        CARILLON_HUB_NAME: this.name,
        CARILLON_HUB_ACCESS: 'open',
        // Tests of durable rooms say so.
        CARILLON_HUB_LOG: 'off',
        CARILLON_LOG_LEVEL: 'warn',
        ...this.#env,
        ...more,
      },
      readyWhen: `http://127.0.0.1:${this.adminPort}${readyPath}`,
    });
  }

  /** kill -9; resolves when the process is gone. */
  async kill(): Promise<void> {
    const { service } = this;
    this.#service = undefined;
    service.kill('SIGKILL');
    await service.stop();
  }

  /** SIGTERM; resolves when it has drained and ended. */
  async stop(): Promise<ProcessExit> {
    const { service } = this;
    this.#service = undefined;
    return service.stop();
  }

  /** A call over HTTP to the hub's own port. */
  call(method: string, path: string, body?: string): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.port}${path}`, { method, ...(body === undefined ? {} : { body }) });
  }

  /** A call to its admin port. */
  admin(path: string): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.adminPort}${path}`);
  }

  metrics(): Promise<MetricValues> {
    return readMetrics(this.adminPort);
  }
}
