import { BlockList, isIPv4, isIPv6 } from 'node:net';

/** Where a server listens: a host name or an IP address without brackets, and a port; port 0 lets the system choose. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** What `parseListenAddress` decided; the reason is a sentence for the person who wrote the text. */
export type ListenAddressResult =
  | { readonly ok: true; readonly address: ListenAddress }
  | { readonly ok: false; readonly reason: string };

const MAX_PORT = 65_535;
/** RFC 1123 §2.1: labels of letters, digits and hyphens. */
const HOST_NAME = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i;
const LOOKS_LIKE_IPV4 = /^[\d.]+$/;

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Reads `host:port`; an IPv6 address stands in brackets, and the host is never left out, so that nothing is opened to the world by a slip. */
export function parseListenAddress(text: string): ListenAddressResult {
  const colon = text.lastIndexOf(':');
  if (colon === -1) return refuse('needs a host and a port, as in 127.0.0.1:7100');
  if (colon === 0) return refuse('has no host: write 127.0.0.1 for this machine alone or 0.0.0.0 for every interface');
  const host = readHost(text.slice(0, colon));
  if (!host.ok) return host;
  const portText = text.slice(colon + 1);
  const port = Number(portText);
  if (!/^\d{1,5}$/.test(portText) || port > MAX_PORT) return refuse(`needs a port from 0 to ${MAX_PORT} after the last colon`);
  return { ok: true, address: { host: host.host, port } };
}

/** Writes an address as `parseListenAddress` reads it, IPv6 in brackets. */
export function formatAddress(address: ListenAddress): string {
  return `${isIPv6(address.host) ? `[${address.host}]` : address.host}:${address.port}`;
}

/** Whether only this machine can reach the host: 127.0.0.0/8, ::1, their IPv4-mapped form, or `localhost`; brackets are allowed. */
export function isLoopback(host: string): boolean {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  if (isIPv4(bare)) return loopback.check(bare, 'ipv4');
  if (isIPv6(bare)) return loopback.check(bare, 'ipv6');
  return bare.toLowerCase() === 'localhost';
}

function readHost(text: string): { readonly ok: true; readonly host: string } | { readonly ok: false; readonly reason: string } {
  if (text.startsWith('[') && text.endsWith(']')) {
    const inner = text.slice(1, -1);
    return isIPv6(inner) ? { ok: true, host: inner } : refuse('has no IPv6 address between its brackets');
  }
  if (text.includes(':')) return refuse('needs brackets around an IPv6 address, as in [::1]:7100');
  if (LOOKS_LIKE_IPV4.test(text) ? !isIPv4(text) : !HOST_NAME.test(text)) return refuse('needs a host name or an IP address before the port');
  return { ok: true, host: text };
}

function refuse(reason: string): { readonly ok: false; readonly reason: string } {
  return { ok: false, reason };
}
