import { matchesPattern } from '@carillon/wire';

import type { RetentionPolicy } from './event-log.ts';

/** The policy that counts for a room: of those that select it the one with the longest pattern, of equals the first. */
export function policyFor(room: string, policies: readonly RetentionPolicy[]): RetentionPolicy | undefined {
  let chosen: RetentionPolicy | undefined;
  for (const policy of policies) if ((chosen === undefined || policy.pattern.length > chosen.pattern.length) && matchesPattern(policy.pattern, room)) chosen = policy;
  return chosen;
}

/** An event as a sweep sees it; what is damaged has no time. */
export interface Aged {
  readonly bytes: number;
  readonly storedAtMs: number | undefined;
}

/**
 * How many of a room's oldest events go: `oldest` first, out of `bytes` that the whole room has. A damaged one goes when what
 * is behind it would, or when the room is too large.
 */
export function excessCount(oldest: Iterable<Aged>, bytes: number, { policy, nowMs }: { readonly policy: RetentionPolicy; readonly nowMs: number }): number {
  const { maxAgeMs, maxBytes } = policy;
  const bornBeforeMs = maxAgeMs === null ? -Infinity : nowMs - maxAgeMs;
  let left = bytes;
  let seen = 0;
  let count = 0;
  for (const event of oldest) {
    seen += 1;
    const isTooMuch = maxBytes !== null && left > maxBytes;
    const isTooOld = event.storedAtMs !== undefined && event.storedAtMs < bornBeforeMs;
    if (isTooMuch || isTooOld) count = seen;
    else if (event.storedAtMs !== undefined) break;
    left -= event.bytes;
  }
  return count;
}
