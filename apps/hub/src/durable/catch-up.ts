import type { EventLog, LogGap, LogPage, StoredEvent } from '@carillon/log';

import type { TailListener } from './durable-lane.ts';

/**
 * How a reader that is behind comes to live:
 *
 *   reading ──last page──▶ holding ──what it read meets what it holds──▶ live
 *
 * It reads the log page by page, each when the socket has taken the one before, so that its memory is one page. At the
 * end of the log it begins to hold what the tail brings (bounded: a reader that cannot keep up with it reads on), reads once more
 * up to there, goes live and gives what it holds in the same turn: nothing is left out, nothing comes twice.
 */
export interface CatchUpOptions {
  readonly log: Pick<EventLog, 'read'>;
  readonly workspaceId: string;
  readonly rooms: readonly string[];
  /** Events after this sequence. */
  readonly after: number;
  readonly wants: (room: string) => boolean;
  /** Writes events to the peer, in order. */
  readonly give: (events: readonly StoredEvent[]) => void;
  readonly gap: (gap: LogGap) => void;
  /** Waits until the peer has taken what was written. */
  readonly clear: () => Promise<void>;
  /** The highest sequence that the tail has brought, of whatever room: the log has at least that. */
  readonly heardSeq: () => number;
  /** Who hears the tail. */
  readonly listeners: Set<TailListener>;
  /** It has everything up to this sequence: it is live from this very call on. */
  readonly live: (seq: number) => void;
  /** Called right after that with what the tail brought since: as what comes live, it may run ahead of an event that the tail does not know yet. */
  readonly held: (events: readonly StoredEvent[]) => void;
  readonly signal: AbortSignal;
}

/** A page: one write of a quarter of a megabyte costs no other peer more than a millisecond. */
const PAGE_MAX_EVENTS = 1_000;
const PAGE_MAX_BYTES = 262_144;
const HELD_MAX_EVENTS = 4_096;
const HELD_MAX_BYTES = 262_144;

/** A log that says less than its tail has brought (a server that was a leader once, and does not know better yet) is asked again after so long. */
const STALE_RETRY_MS = 50;

/** Brings a reader to live. Rejects with the log's error; resolves early when the signal aborts. */
export async function catchUp(options: CatchUpOptions): Promise<void> {
  const { signal, listeners } = options;
  let after = options.after;
  let hold: Hold | undefined;
  try {
    while (!signal.aborted) {
      const page = await readPage(options, after);
      if (signal.aborted) return;
      givePage(options, page);
      after = Math.max(after, page.next);
      if (hold !== undefined && page.isLast && after < hold.from) await new Promise((resolve) => setTimeout(resolve, STALE_RETRY_MS));
      await options.clear();
      if (signal.aborted) return;
      if (hold !== undefined && !hold.isFull && page.isLast && after >= hold.from) {
        options.live(after);
        options.held(hold.take(after));
        return;
      }
      if (page.isLast && (hold === undefined || hold.isFull)) {
        if (hold !== undefined) listeners.delete(hold);
        // What the tail has brought up to now is in the log, which is read once more.
        hold = new Hold(options.heardSeq(), options.wants);
        listeners.add(hold);
      }
    }
  } finally {
    if (hold !== undefined) listeners.delete(hold);
  }
}

function readPage({ log, workspaceId, rooms }: CatchUpOptions, after: number): Promise<LogPage> {
  return log.read({ workspaceId, rooms, after, maxEvents: PAGE_MAX_EVENTS, maxBytes: PAGE_MAX_BYTES });
}

/** Gaps in their place among the events. */
function givePage({ give, gap }: CatchUpOptions, { events, gaps }: LogPage): void {
  let from = 0;
  for (const each of gaps) {
    let to = from;
    while (to < events.length && (events[to] as StoredEvent).seq < each.from) to += 1;
    if (to > from) give(events.slice(from, to));
    from = to;
    gap(each);
  }
  if (from < events.length) give(from === 0 ? events : events.slice(from));
}

/** What the tail brings while a reader reads its last page. */
class Hold implements TailListener {
  /** What the tail brought before it began to hold. */
  readonly from: number;
  readonly wants: (room: string) => boolean;
  isFull = false;
  #events: StoredEvent[] = [];
  #bytes = 0;

  constructor(from: number, wants: (room: string) => boolean) {
    this.from = from;
    this.wants = wants;
  }

  event(event: StoredEvent): void {
    if (this.isFull) return;
    this.#events.push(event);
    this.#bytes += event.body.length;
    if (this.#events.length <= HELD_MAX_EVENTS && this.#bytes <= HELD_MAX_BYTES) return;
    this.isFull = true;
    this.#events = [];
  }

  take(after: number): readonly StoredEvent[] {
    return this.#events.filter(({ seq }) => seq > after);
  }
}
