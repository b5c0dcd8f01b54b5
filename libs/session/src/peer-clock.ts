/** What a door's clock said when it let a peer in: milliseconds since 1970. */
export const TIME_HEADER = 'carillon-time';

/** What the clock of a door was ahead of ours, in milliseconds, and by how much that may be wrong. */
export interface PeerClock {
  readonly aheadMs: number;
  readonly uncertaintyMs: number;
}

/** Before this a clock has not been set. */
const PLAUSIBLE_FROM_MS = 1_577_836_800_000;

/**
 * Reads the header of an answer. The door looked at its clock between the asking, `tookMs` ago, and now: half of that is what the
 * middle can be wrong by. Undefined for a door that does not say, or says nothing that is a time.
 */
export function readPeerClock(header: string | readonly string[] | undefined, { nowMs, tookMs }: { readonly nowMs: number; readonly tookMs: number }): PeerClock | undefined {
  if (typeof header !== 'string' || !/^[0-9]{1,15}$/.test(header)) return undefined;
  const peerMs = Number(header);
  if (peerMs < PLAUSIBLE_FROM_MS) return undefined;
  const uncertaintyMs = tookMs / 2;
  return { aheadMs: peerMs - (nowMs - uncertaintyMs), uncertaintyMs };
}
