import { join } from 'node:path';

import { startConfigManager } from '@carillon/config-manager';
import { openHubLog, startHub } from '@carillon/hub';
import { startRepeater } from '@carillon/repeater';
import { formatAddress, keepSecret, type Component, type ListenAddress, type ProcessContext } from '@carillon/runtime';
import { openStore } from '@carillon/store';

import { openBuses } from './buses.ts';
import type { StandaloneConfig } from './config.ts';
import { startDemo } from './demo.ts';
import { firstKey, PASSWORD_FILE, repeaterKey } from './first-secrets.ts';
import { createPage } from './page.ts';
import { reachable } from './reachable.ts';

/** Hub, repeater and config-manager in one process, the page on the hub, and the simulated building when it is asked for. */
export interface Standalone {
  readonly hub: ListenAddress;
  readonly repeater: ListenAddress;
  readonly configManager: ListenAddress;
  readonly access: StandaloneConfig['hub']['access']['mode'];
  /** At the first start of a data folder: what was made, to be shown once. */
  readonly first: { readonly username: string; readonly password: string | undefined; readonly accessKey: string } | undefined;
}

export async function startStandalone(config: StandaloneConfig, { demo, version }: { readonly demo: boolean; readonly version: string }, context: ProcessContext): Promise<Standalone> {
  const { log } = context;
  const { dataDir } = config.common;
  const parts = new InOrder();
  context.add(parts);
  const inner: ProcessContext = { ...context, add: (part) => parts.add(part) };

  const { database, first } = config.configManager;
  const store = await openStore({ dataDir, poolMax: database.poolMax, log: ({ level, text, fields }) => log[level](fields, text), ...(database.url === undefined ? {} : { url: database.url }) });
  inner.add({ name: 'store', stop: () => store.close() });
  const buses = openBuses(config, log);
  inner.add({ name: 'feed bus', stop: () => buses.managerFeed.close() });
  const manager = await startConfigManager({ config: config.configManager, version, store, feedBus: buses.managerFeed, keepPassword: (password) => keepSecret(join(dataDir, PASSWORD_FILE), password) }, inner);
  const accessKey = await firstKey(store, dataDir);
  const key = config.repeater.key ?? (await repeaterKey(store, dataDir));

  const eventLog = await openHubLog(config.hub, { name: 'carillon-standalone', log });
  const hub = await startHub({ config: config.hub, version, pages: createPage({ demo }), ...(eventLog === undefined ? {} : { eventLog }), feedBus: buses.hubFeed, ...(buses.cluster === undefined ? {} : { bus: buses.cluster }) }, inner);
  const hubUrl = `ws://${formatAddress(reachable(hub.address))}`;
  const repeater = await startRepeater({ ...config.repeater, key, hub: { ...config.repeater.hub, url: hubUrl } }, inner);
  if (demo) {
    const building = startDemo({ hubUrl, repeaterUrl: `ws://${formatAddress(reachable(repeater.address))}`, signal: context.signal, random: Math.random });
    inner.add({ name: 'demo', stop: () => building.stop() });
  }
  return {
    hub: hub.address, repeater: repeater.address, configManager: manager.address, access: config.hub.access.mode,
    first: accessKey === undefined ? undefined : { username: first.username, password: manager.adminPassword, accessKey },
  };
}

/**
 * The parts of a standalone as one. A process drains its parts side by side; here the repeater drains into the hub, so
 * they go one after the other, last started first.
 */
class InOrder implements Component {
  readonly name = 'standalone';
  readonly #parts: Component[] = [];

  add(part: Component): void {
    this.#parts.unshift(part);
  }

  async drain(signal: AbortSignal): Promise<void> {
    for (const part of this.#parts) await part.drain?.(signal);
  }

  async stop(): Promise<void> {
    const failures: unknown[] = [];
    for (const part of this.#parts) await part.stop().catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw new AggregateError(failures, 'not every part stopped');
  }
}
