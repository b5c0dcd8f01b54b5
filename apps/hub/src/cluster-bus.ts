import { connectNats, type Bus } from '@carillon/bus';
import type { Logger } from '@carillon/runtime';

import type { HubConfig } from './config.ts';

/** The bus of the cluster that the configuration names, or undefined when the hub stands alone. */
export function openClusterBus(config: HubConfig, { name, log }: { readonly name: string; readonly log: Logger }): Bus | undefined {
  const { natsUrl, natsCredsFile, outboundMaxBytes } = config.cluster;
  if (natsUrl.length === 0) return undefined;
  return connectNats({
    ...natsLogin(natsUrl), name, outboundMaxBytes, ...(natsCredsFile === undefined ? {} : { credsFile: natsCredsFile }),
    log: ({ level, text, fields }) => log[level](fields, text),
  });
}

export interface NatsLogin {
  /** The URLs without what they log in with, which must not reach logs. */
  readonly servers: readonly string[];
  readonly user?: string;
  readonly pass?: string;
  readonly token?: string;
}

/** Takes `user:password@` or `token@` out of NATS URLs, as NATS's own tools read them; the first that has one is for all. */
export function natsLogin(urls: readonly string[]): NatsLogin {
  const parsed = urls.map((url) => new URL(url));
  const named = parsed.find(({ username }) => username !== '');
  const servers = parsed.map(({ protocol, host }) => `${protocol}//${host}`);
  if (named === undefined) return { servers };
  const user = decodeURIComponent(named.username);
  return named.password === '' ? { servers, token: user } : { servers, user, pass: decodeURIComponent(named.password) };
}
