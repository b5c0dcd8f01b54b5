import type { LogGap } from './event-log.ts';

/** Puts gaps in order and joins those of one reason that overlap or touch: what lies between was other rooms'. */
export function joinGaps(gaps: readonly LogGap[]): readonly LogGap[] {
  if (gaps.length < 2) return gaps;
  const joined: LogGap[] = [];
  for (const reason of ['retention', 'damaged'] as const) {
    let open: LogGap | undefined;
    for (const gap of gaps.filter((one) => one.reason === reason).sort((one, other) => one.from - other.from)) {
      if (open !== undefined && gap.from <= open.to + 1) {
        open = { ...open, to: Math.max(open.to, gap.to) };
        continue;
      }
      if (open !== undefined) joined.push(open);
      open = gap;
    }
    if (open !== undefined) joined.push(open);
  }
  return joined.sort((one, other) => one.from - other.from);
}

/** An event that is there, of one room, with the sequence before it. */
export interface ChainLink {
  readonly seq: number;
  readonly prevSeq: number;
}

export interface ChainBounds {
  readonly after: number;
  readonly upTo: number;
  /** The room's last sequence. */
  readonly last: number;
}

/**
 * What of one room is gone in `after` < seq ≤ `upTo`: wherever an event's predecessor is not the one that was seen before it.
 * `links` are the events of the room after `after` in order, the first one behind `upTo` included when there is one.
 */
export function chainGaps(links: Iterable<ChainLink>, { after, upTo, last }: ChainBounds): LogGap[] {
  const gaps: LogGap[] = [];
  let seen = after;
  for (const { seq, prevSeq } of links) {
    const to = Math.min(prevSeq, upTo);
    if (to > seen) gaps.push({ from: seen + 1, to, reason: 'retention' });
    if (seq > upTo) return gaps;
    seen = seq;
  }
  const to = Math.min(last, upTo);
  if (to > seen) gaps.push({ from: seen + 1, to, reason: 'retention' });
  return gaps;
}
