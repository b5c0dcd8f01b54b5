import { openClusterBus, startHub } from '@carillon/hub';
import { startRepeater } from '@carillon/repeater';
import { formatAddress, type ListenAddress, type ProcessContext } from '@carillon/runtime';

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
  const bus = openClusterBus(config.hub, { name: 'carillon-standalone', log: context.log });
  const hub = await startHub({ config: config.hub, version, pages: createPage({ demo }), ...(bus === undefined ? {} : { bus }) }, context);
  const hubUrl = `ws://${formatAddress(reachable(hub.address))}`;
  const repeater = await startRepeater({ ...config.repeater, hub: { ...config.repeater.hub, url: hubUrl } }, context);
  if (demo) {
    const building = startDemo({ hubUrl, repeaterUrl: `ws://${formatAddress(reachable(repeater.address))}`, signal: context.signal, random: Math.random });
    context.add({ name: 'demo', stop: () => building.stop() });
  }
  return { hub: hub.address, repeater: repeater.address };
}
