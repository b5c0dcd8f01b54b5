import type { Principal } from '@carillon/access';
import { LogError, type LogGap, type StoredEvent } from '@carillon/log';
import type { Logger } from '@carillon/runtime';
import { compose, SSE, type Codec, type Lane, type OutboundEvent, type Subscriptions } from '@carillon/session';
import type { GapReason } from '@carillon/wire';

import { catchUp } from './catch-up.ts';
import type { DurableLane } from './durable-lane.ts';
import { mayRead } from './event-reader.ts';
import { formatPlace } from './log-position.ts';
import type { PageTurns } from './page-turns.ts';
import { roomSet } from './room-set.ts';
import type { TrailReader } from '../trail/trail-reader.ts';

/**
 * What a live tail gets of durable rooms:
 *
 *   starting ──▶ catching-up ──caught up──▶ live ──the tail of the log missed something──▶ catching-up      any ──gone──▶ ended
 *
 * It is in the index of the durable lane while it is live and only then. A tail whose lane overflows is cut and comes back
 * with the last place it was shown.
 */
type State = 'starting' | 'catching-up' | 'live' | 'ended';

/** Where a tail begins: with what comes from now on, or after a sequence. */
export type FollowStart = 'now' | { readonly after: number; /** The reader came with this position of a log that is no more. */ readonly lostSeq?: number };

export interface FollowerParts {
  /** A valid room or pattern. */
  readonly pattern: string;
  readonly lane: Lane;
  readonly principal: Principal;
  readonly durable: DurableLane;
  /** Who gets what of durable rooms. */
  readonly subscriptions: Subscriptions;
  readonly turns: PageTurns;
  /** Writes what waits in batches. */
  readonly flush: () => void;
  readonly log: Logger;
  /** Where it is noted what it gets. */
  readonly trail: TrailReader | undefined;
}

/** How soon a log that failed is asked again. */
const RETRY_MS = 500;

/**
 * `id:` is a place in the log and nothing else: the id of an event of a live room in its stead would be what the reader
 * comes back with, and say nothing of where it was.
 */
export const PLACES_ONLY_SSE: Codec = {
  ...SSE,
  size: (event) => SSE.size(withoutId(event)),
  write: (event, target, at) => SSE.write(withoutId(event), target, at),
};

function withoutId(event: OutboundEvent): OutboundEvent {
  return event.place !== undefined || event.fields === '' ? event : { ...event, fields: '' };
}

export class LogFollower {
  readonly #parts: FollowerParts;
  readonly #wants: (room: string) => boolean;
  readonly #ending = new AbortController();
  #state: State = 'starting';
  #position = 0;
  #isInterested = false;

  constructor(parts: FollowerParts) {
    this.#parts = parts;
    this.#wants = roomSet([parts.pattern]);
  }

  start(from: FollowStart): void {
    void this.#start(from).catch((error: unknown) => {
      this.#loseInterest();
      this.#later(error, () => this.start(from));
    });
  }

  /** Idempotent. */
  end(): void {
    if (this.#state === 'ended') return;
    this.#leave();
    this.#state = 'ended';
    this.#parts.trail?.end('gone');
    this.#ending.abort();
    this.#loseInterest();
  }

  /** What the tail could not give is looked for in the log, which says why it is gone. Some of what came last may come again. */
  tailMissed(from: number): void {
    if (this.#state !== 'live') return;
    const { durable, flush } = this.#parts;
    this.#leave();
    // What waits in a batch was before it.
    flush();
    if (this.#isEnded()) return;
    this.#position = Math.max(this.#position, Math.min(durable.certain, from - 1));
    this.#parts.trail?.behind(this.#position);
    this.#catchUp();
  }

  async #start(from: FollowStart): Promise<void> {
    const { durable, pattern } = this.#parts;
    this.#isInterested = true;
    await durable.interests.add(pattern);
    if (this.#isEnded()) return;
    // A log that has just come may not have said yet which one it is: a place would be none.
    if (durable.epoch === '') throw new LogError('LOG_UNAVAILABLE', 'The epoch of the log is not known yet.');
    // Asked for now that the tail brings what comes: whoever wanted the pattern first may have done so long ago.
    this.#position = from === 'now' ? (await durable.log.bounds()).head : from.after;
    if (this.#isEnded()) return;
    this.#parts.trail?.begin(this.#position);
    if (from !== 'now' && from.lostSeq !== undefined) this.#tellGap({ from: from.lostSeq + 1, to: from.lostSeq + 1, reason: 'epoch' });
    this.#catchUp();
  }

  #catchUp(): void {
    const { durable, lane, pattern, principal, turns } = this.#parts;
    this.#state = 'catching-up';
    const clear = async (): Promise<void> => {
      await new Promise<void>((resolve) => lane.whenClear(resolve));
      // A lane that takes no more is clear for ever: nobody needs the rest of the log.
      if (lane.closed) return this.end();
      this.#parts.trail?.taken();
      await turns.next();
    };
    void catchUp({
      log: durable.log, workspaceId: principal.workspaceId, rooms: [pattern], after: this.#position, wants: this.#wants, clear,
      give: (events) => this.#give(events), gap: (gap: LogGap) => this.#tellGap(gap), held: (events) => this.#write(events, durable.certain),
      heardSeq: () => durable.heardSeq, listeners: durable.listeners, live: (seq) => this.#goLive(seq), signal: this.#ending.signal,
    }).catch((error: unknown) => this.#later(error, () => this.#catchUp()));
  }

  #give(events: readonly StoredEvent[]): void {
    this.#position = Math.max(this.#position, events.at(-1)?.seq ?? 0);
    this.#parts.trail?.gave(this.#position);
    this.#write(events, Infinity);
  }

  /** A reader that has one of them goes on behind it, or behind `certain` if that is before it. */
  #write(events: readonly StoredEvent[], certain: number): void {
    const { durable, lane } = this.#parts;
    const due = events.filter((event) => this.#mayRead(event)).map((event) => durable.outboundOf(event, { place: Math.min(event.seq, certain) }));
    if (due.length > 0) lane.write(compose(due, lane.codec), due.length);
  }

  #mayRead(event: StoredEvent): boolean {
    const { principal, trail } = this.#parts;
    if (mayRead(principal, event)) return true;
    trail?.denied(event);
    return false;
  }

  /** Without a place: events in between may be of other rooms, and still to come. */
  #tellGap(gap: { readonly from: number; readonly to: number; readonly reason: GapReason }): void {
    const { from, to, reason } = gap;
    this.#parts.trail?.gap(gap);
    this.#parts.lane.write(Buffer.from(`event: gap\ndata: ${JSON.stringify({ from, to, reason })}\n\n`), 0);
  }

  /** From here on it gets what everybody gets; the reader is told, and has a place to come back to before the first event. */
  #goLive(seq: number): void {
    const { durable, lane, pattern, subscriptions } = this.#parts;
    if (this.#isEnded()) return;
    this.#state = 'live';
    this.#position = seq;
    this.#parts.trail?.live(seq);
    lane.write(Buffer.from(`id: ${formatPlace(durable.epoch, seq)}\nevent: live\ndata: ${JSON.stringify({ seq })}\n\n`), 0);
    subscriptions.add(pattern, lane);
    durable.liveReaders.add(this);
  }

  #leave(): void {
    if (this.#state !== 'live') return;
    const { durable, lane, pattern, subscriptions } = this.#parts;
    subscriptions.remove(pattern, lane);
    durable.liveReaders.delete(this);
  }

  #later(error: unknown, again: () => void): void {
    if (this.#isEnded()) return;
    const { log, pattern } = this.#parts;
    log.warn({ error, pattern }, 'a live tail could not read the log; it tries again');
    setTimeout(() => {
      if (!this.#isEnded()) again();
    }, RETRY_MS).unref();
  }

  #loseInterest(): void {
    if (!this.#isInterested) return;
    this.#isInterested = false;
    this.#parts.durable.interests.remove(this.#parts.pattern);
  }

  #isEnded(): boolean {
    return this.#state === 'ended';
  }
}
