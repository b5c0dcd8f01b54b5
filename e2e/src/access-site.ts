import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { eventually, freePort, spawnService, startNatsServer, stopEmbeddedPostgres, type NatsServer, type SpawnedService } from '@carillon/testing';

import { HubProcess } from './hub-process.ts';

/**
 * A site with access keys: NATS, a config-manager on a PostgreSQL of its own, hubs that take nobody without a key. All
 * are processes; each can be killed and started again on its ports and files.
 */
const PASSWORD = 'a password for this run only';

export interface MadeKey {
  readonly id: string;
  readonly accessKey: string;
}

export interface Permissions {
  readonly send?: readonly unknown[];
  readonly receive?: readonly unknown[];
}

export class AccessSite {
  readonly nats: NatsServer;
  readonly port: number;
  readonly adminPort: number;
  readonly folder: string;
  readonly hubs: HubProcess[] = [];
  /** Everything the processes printed that has ended. */
  readonly #printed: string[] = [];
  readonly secrets: string[] = [PASSWORD];
  #manager: SpawnedService | undefined;
  #token = '';

  private constructor(nats: NatsServer, ports: { readonly port: number; readonly adminPort: number }, folder: string) {
    this.nats = nats;
    this.port = ports.port;
    this.adminPort = ports.adminPort;
    this.folder = folder;
  }

  static async start({ hubs = 2 }: { readonly hubs?: number } = {}): Promise<AccessSite> {
    const nats = await startNatsServer({ jetstream: true });
    const site = new AccessSite(nats, { port: await freePort(), adminPort: await freePort() }, await mkdtemp(join(tmpdir(), 'carillon-site-')));
    await site.startManager();
    await site.signIn();
    for (let at = 0; at < hubs; at += 1) site.hubs.push(await HubProcess.start(`hub-${at}`, { env: site.hubEnv(`hub-${at}`) }));
    return site;
  }

  hubEnv(name: string): Record<string, string> {
    return { CARILLON_NATS_URL: this.nats.url, CARILLON_HUB_ACCESS: 'keys', CARILLON_HUB_LOG: 'off', CARILLON_DATA_DIR: join(this.folder, name), CARILLON_LOG_LEVEL: 'debug' };
  }

  get manager(): SpawnedService {
    if (this.#manager === undefined) throw new Error('config-manager is down');
    return this.#manager;
  }

  async startManager(): Promise<void> {
    this.#manager = await spawnService({
      command: 'apps/config-manager/src/main.ts',
      env: {
        CARILLON_CONFIG_MANAGER_LISTEN: `127.0.0.1:${this.port}`,
        CARILLON_CONFIG_MANAGER_ADMIN_LISTEN: `127.0.0.1:${this.adminPort}`,
        CARILLON_CONFIG_MANAGER_ADMIN_PASSWORD: PASSWORD,
        CARILLON_CONFIG_MANAGER_RATE_PER_SECOND: '100000', CARILLON_CONFIG_MANAGER_RATE_BURST: '100000', CARILLON_CONFIG_MANAGER_SOURCE_RATE_PER_SECOND: '100000', CARILLON_CONFIG_MANAGER_SOURCE_RATE_BURST: '100000',
        CARILLON_NATS_URL: this.nats.url,
        CARILLON_DATA_DIR: join(this.folder, 'manager'),
        CARILLON_LOG_LEVEL: 'debug',
      },
      readyWhen: `http://127.0.0.1:${this.adminPort}/readyz`,
      readyTimeoutMs: 60_000,
    });
  }

  /** kill -9 of config-manager; its PostgreSQL goes on, as it would. */
  async killManager(): Promise<void> {
    const { manager } = this;
    this.#manager = undefined;
    manager.kill('SIGKILL');
    await manager.stop();
    this.#printed.push(manager.stdout(), manager.stderr());
  }

  /** Ends PostgreSQL as a power cut would. */
  killPostgres(): Promise<void> {
    return stopEmbeddedPostgres(join(this.folder, 'manager'));
  }

  async signIn(): Promise<void> {
    const { token } = await this.call<{ token: string }>('POST', '/sessions', { username: 'admin', password: PASSWORD });
    this.#token = token;
    this.secrets.push(token);
  }

  /** Calls the management API as the administrator; throws for anything but 2xx. */
  async call<T = unknown>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.fetch(method, path, body);
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  fetch(method: string, path: string, body?: unknown): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.port}/api/v1${path}`, {
      method,
      headers: { ...(this.#token === '' ? {} : { authorization: `Bearer ${this.#token}` }), ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  async makeKey(kind: string, permissions: Permissions, { workspaceId = 'default', name = `${kind} of a test` }: { readonly workspaceId?: string; readonly name?: string } = {}): Promise<MadeKey> {
    const { key, accessKey } = await this.call<{ key: { id: string }; accessKey: string }>('POST', `/workspaces/${workspaceId}/keys`, { kind, name, permissions });
    this.secrets.push(accessKey);
    return { id: key.id, accessKey };
  }

  /** Waits until every hub has applied all that was published. */
  async settled(): Promise<void> {
    await eventually(async () => {
      const feed = await this.call<{ head: number; published: number; hubs: readonly { seq: number }[] }>('GET', '/feed');
      if (feed.published < feed.head || feed.hubs.length < this.hubs.filter((hub) => hub.isUp).length || feed.hubs.some(({ seq }) => seq < feed.head)) throw new Error(JSON.stringify(feed));
    }, { timeoutMs: 20_000, intervalMs: 20, what: 'every hub to apply the feed' });
  }

  /** Everything that was printed and is still held, for the search for secrets. */
  printed(): string {
    const running = [...(this.#manager === undefined ? [] : [this.#manager]), ...this.hubs.filter((hub) => hub.isUp).map((hub) => hub.service)];
    return [...this.#printed, ...running.flatMap((service) => [service.stdout(), service.stderr()])].join('\n');
  }

  /** The secrets of this run that somebody printed; ids of keys are no secrets. */
  leaked(): readonly string[] {
    const printed = this.printed();
    return this.secrets.filter((secret) => printed.includes(secret.startsWith('ck_') ? (secret.split('_')[2] ?? secret) : secret));
  }

  async stop(): Promise<void> {
    for (const hub of this.hubs) if (hub.isUp) await hub.stop();
    await this.#manager?.stop();
    this.#manager = undefined;
    await this.killPostgres();
    await this.nats.stop();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
