import type { IncomingMessage } from 'node:http';
import { isIP, isIPv4, isIPv6 } from 'node:net';

import { isLoopback } from '@carillon/runtime';

/** Where a request came from. */
export interface Source {
  /** An IP address, without brackets or port. */
  readonly address: string;
  /** It came from this machine, and no proxy says that it carries it for somebody else. */
  readonly isLocal: boolean;
}

const FORWARDED_HEADERS = ['forwarded', 'x-forwarded-for', 'x-real-ip'] as const;
/** How many addresses of `X-Forwarded-For` are looked at: whoever writes more is no chain of proxies. */
const FORWARDED_MAX = 32;

/**
 * The peer's address or, behind that many trusted proxies, the one that the outermost of them saw. Each proxy appends the
 * address it was called from, so only that many entries from the right are worth anything: what stands left of them the
 * caller wrote itself.
 */
export function sourceOf(req: IncomingMessage, trustedHops: number): Source {
  const peer = plain(req.socket.remoteAddress ?? '') ?? 'unknown';
  const isForwarded = FORWARDED_HEADERS.some((name) => req.headers[name] !== undefined);
  return { address: trustedHops === 0 ? peer : forwardedFor(req, trustedHops) ?? peer, isLocal: !isForwarded && isLoopback(peer) };
}

/** What buckets and the audit log's coalescing are kept under: a household of IPv6 has a /64 of its own. */
export function sourceGroup(address: string): string {
  if (!isIPv6(address)) return address;
  const [left = '', right] = address.split('::');
  const groups = left === '' ? [] : left.split(':');
  const after = right === undefined || right === '' ? [] : right.split(':');
  const all = right === undefined ? groups : [...groups, ...Array.from({ length: Math.max(0, 8 - groups.length - after.length) }, () => '0'), ...after];
  return `${all.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`;
}

function forwardedFor(req: IncomingMessage, trustedHops: number): string | undefined {
  const header = req.headers['x-forwarded-for'];
  if (header === undefined) return undefined;
  const entries = (Array.isArray(header) ? header.join(',') : header).split(',').slice(-FORWARDED_MAX);
  return plain((entries[Math.max(0, entries.length - trustedHops)] ?? '').trim());
}

/** Without brackets, port, zone and the IPv4-mapped prefix; undefined for what is no address. */
function plain(text: string): string | undefined {
  const bare = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(text)?.[1] ?? /^(\d{1,3}(?:\.\d{1,3}){3}):\d{1,5}$/.exec(text)?.[1] ?? text;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1];
  if (mapped !== undefined && isIPv4(mapped)) return mapped;
  const unzoned = bare.split('%', 1)[0] as string;
  return isIP(unzoned) === 0 ? undefined : unzoned.toLowerCase();
}
