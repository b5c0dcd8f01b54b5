import type { ListenAddress } from '@carillon/runtime';

const ON_THIS_MACHINE: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

/** Where this machine itself reaches a server: an address that stands for every interface is one to listen on, not one to dial. */
export function reachable({ host, port }: ListenAddress): ListenAddress {
  return { host: ON_THIS_MACHINE[host] ?? host, port };
}
