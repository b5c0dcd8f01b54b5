import { openClusterBus, startHub } from '@carillon/hub';
import { startRepeater } from '@carillon/repeater';
import { formatAddress, type Component, type ListenAddress, type ProcessContext } from '@carillon/runtime';

import type { StandaloneConfig } from './config.ts';
import { startDemo } from './demo.ts';
import { createPage } from './page.ts';
import { reachable } from './reachable.ts';

/** Hub and repeater in one process, the page on the hub, and the simulated building when it is asked for. */
export interface Standalone {
  readonly hub: ListenAddress;
  readonly repeater: ListenAddress;
}

export async function startStandalone(config: StandaloneConfig, { demo, version }: { readonly demo: boolean; readonly version: string }, context: ProcessContext): Promise<Standalone> {
  const parts = new InOrder();
  context.add(parts);
  const inner: ProcessContext = { ...context, add: (part) => parts.add(part) };
  const bus = openClusterBus(config.hub, { name: 'carillon-standalone', log: context.log });
  const hub = await startHub({ config: config.hub, version, pages: createPage({ demo }), ...(bus === undefined ? {} : { bus }) }, inner);
  const hubUrl = `ws://${formatAddress(reachable(hub.address))}`;
  const repeater = await startRepeater({ ...config.repeater, hub: { ...config.repeater.hub, url: hubUrl } }, inner);
  if (demo) {
    const building = startDemo({ hubUrl, repeaterUrl: `ws://${formatAddress(reachable(repeater.address))}`, signal: context.signal, random: Math.random });
    inner.add({ name: 'demo', stop: () => building.stop() });
  }
  return { hub: hub.address, repeater: repeater.address };
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
