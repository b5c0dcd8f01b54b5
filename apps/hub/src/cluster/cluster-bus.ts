import { connectNats, natsLogin, type Bus } from '@carillon/bus';
import type { Logger } from '@carillon/runtime';

import type { HubConfig } from '../config.ts';

/** The bus of the cluster that the configuration names, or undefined when the hub stands alone. */
export function openClusterBus(config: HubConfig, { name, log }: { readonly name: string; readonly log: Logger }): Bus | undefined {
  const { natsUrl, natsCredsFile, outboundMaxBytes } = config.cluster;
  if (natsUrl.length === 0) return undefined;
  return connectNats({
    ...natsLogin(natsUrl), name, outboundMaxBytes, ...(natsCredsFile === undefined ? {} : { credsFile: natsCredsFile }),
    log: ({ level, text, fields }) => log[level](fields, text),
  });
}
