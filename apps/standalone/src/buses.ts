import { connectNats, createInProcessExchange, natsLogin, type Bus } from '@carillon/bus';
import { openClusterBus } from '@carillon/hub';
import type { Logger } from '@carillon/runtime';

import type { StandaloneConfig } from './config.ts';

/** The buses of a standalone's parts: NATS when it is configured, else one inside this process, which no cluster is made of. */
export interface Buses {
  readonly cluster: Bus | undefined;
  /** Where the hub hears of access. */
  readonly hubFeed: Bus;
  /** Where config-manager tells it; another handle, since nothing comes back to the handle that published it. */
  readonly managerFeed: Bus;
}

export function openBuses({ hub, configManager }: StandaloneConfig, log: Logger): Buses {
  const busLog = ({ level, text, fields }: { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly text: string; readonly fields: object }): void => log[level](fields, text);
  const cluster = openClusterBus(hub, { name: 'carillon-standalone', log });
  if (cluster !== undefined) {
    const { natsUrl, natsCredsFile } = configManager.bus;
    const managerFeed = connectNats({ ...natsLogin(natsUrl), name: 'carillon-standalone-config', log: busLog, ...(natsCredsFile === undefined ? {} : { credsFile: natsCredsFile }) });
    return { cluster, hubFeed: cluster, managerFeed };
  }
  const exchange = createInProcessExchange({ log: busLog });
  return { cluster: undefined, hubFeed: exchange.connect(), managerFeed: exchange.connect() };
}
