import { connectNats, createInProcessExchange, natsLogin, type Bus } from '@carillon/bus';
import type { Logger } from '@carillon/runtime';

import type { ConfigManagerConfig } from './config.ts';

/** The bus on which hubs watch the configuration; without NATS one that nobody outside this process hears. */
export function openFeedBus({ bus: { natsUrl, natsCredsFile } }: ConfigManagerConfig, log: Logger): Bus {
  const busLog = ({ level, text, fields }: { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly text: string; readonly fields: object }): void => log[level](fields, text);
  if (natsUrl.length === 0) return createInProcessExchange({ log: busLog }).connect();
  return connectNats({ ...natsLogin(natsUrl), name: 'carillon-config-manager', log: busLog, ...(natsCredsFile === undefined ? {} : { credsFile: natsCredsFile }) });
}
