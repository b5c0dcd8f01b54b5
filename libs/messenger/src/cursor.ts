import type { Since } from '@carillon/wire';
import type { EventGap } from './gap.ts';

/**
 * What the hub does for a subscription (SPEC.md, "A subscription"); rows are states, columns what the hub says:
 *
 *                 asked    subscribed    live   behind        lost   event with `re`   event without
 *   away          asked    -             -      -             away   -                 -
 *   asked         asked    catching-up*  live   catching-up   away   new ones          -
 *   catching-up   asked    catching-up   live   catching-up   away   new ones          -
 *   live          asked    catching-up   live   catching-up   away   new ones          new ones
 *
 * (*) A hub without a log says no sequence, and nothing more: its rooms are all live.
 * The position is a sequence up to which it has everything. What comes live is in the order of each room, not of all: in a cluster
 * an event of one room may come after a later one of another. So it does not move the position, which is moved by what comes from
 * the log (in its order) and by `live`, said again and again; above the position the last sequence of each room is kept. New is an
 * event above both. Events of live rooms have none and are always new. While it is
 * paused (its reader has no room) it is asked from now on, for the sake of live rooms, and no sequence is new.
 */
/**
 * Rooms whose last sequence is kept, between two times that the hub says how far it is (seconds); 100 bytes each. Beyond it the
 * longest known half is forgotten: then an event may come twice after a reconnect, and none is lost.
 */
const ROOMS_MAX = 262_144;

type CursorState = 'away' | 'asked' | 'catching-up' | 'live';

/** Where a subscription is in the log, and whether the hub has brought it up to now. */
export class Cursor {
  readonly #since: Since | undefined;
  #state: CursorState = 'away';
  #position: number | undefined;
  #epoch: string | undefined;
  #isPaused = false;
  /** The last sequence of each room that came live, where it is above the position. */
  readonly #taken = new Map<string, number>();

  /** `since` is what the caller asked for; it counts until there is a position. */
  constructor(since: Since | undefined) {
    this.#since = since;
  }

  /** Of the log that its sequences count in. */
  get epoch(): string | undefined {
    return this.#epoch;
  }

  /** What to ask for; undefined: from now on. */
  get start(): Since | undefined {
    if (this.#isPaused) return undefined;
    if (this.#position === undefined) return this.#since;
    return this.#epoch === undefined ? { seq: this.#position } : { seq: this.#position, epoch: this.#epoch };
  }

  /** Whether the hub has taken the subscription. */
  get isInForce(): boolean {
    return this.#state === 'catching-up' || this.#state === 'live';
  }

  asked(): void {
    this.#state = 'asked';
  }

  /** The connection is gone. */
  lost(): void {
    this.#state = 'away';
  }

  subscribed(seq: number | undefined, epoch: string | undefined): void {
    this.#state = 'catching-up';
    if (this.#isPaused || seq === undefined) return;
    // Sequences of a log that was made anew say nothing about those of the old one, and may be lower.
    if (epoch === this.#epoch) this.advance(seq);
    else {
      this.#position = seq;
      this.#taken.clear();
    }
    this.#epoch = epoch;
  }

  live(seq: number): void {
    this.#state = 'live';
    if (this.#isPaused) return;
    this.advance(seq);
    for (const [room, taken] of this.#taken) if (taken <= seq) this.#taken.delete(room);
  }

  behind(): void {
    this.#state = 'catching-up';
  }

  /** What of a gap is news. The gap of an epoch is a fact about the old log, and no position in the new one. */
  gap(gap: EventGap): EventGap | undefined {
    if (this.#isPaused) return undefined;
    if (gap.reason === 'epoch') return gap;
    const known = this.#position ?? -1;
    if (gap.to <= known) return undefined;
    this.#position = gap.to;
    return { ...gap, from: Math.max(gap.from, known + 1) };
  }

  /** Whether an event is new to it; `isAnswer` when it came with `re`. */
  wants(seq: number, { room, isAnswer }: { readonly room: string; readonly isAnswer: boolean }): boolean {
    if (this.#isPaused || (!isAnswer && this.#state !== 'live')) return false;
    return (this.#position === undefined || seq > this.#position) && seq > (this.#taken.get(room) ?? -1);
  }

  /** It has an event that it wanted. */
  took(seq: number, { room, isAnswer }: { readonly room: string; readonly isAnswer: boolean }): void {
    if (isAnswer) {
      this.advance(seq);
      return;
    }
    this.#taken.delete(room); // so that the rooms are in the order of their last events
    this.#taken.set(room, seq);
    if (this.#taken.size <= ROOMS_MAX) return;
    let surplus = ROOMS_MAX / 2;
    for (const known of this.#taken.keys()) {
      if ((surplus -= 1) < 0) break;
      this.#taken.delete(known);
    }
  }

  /** It has everything up to there. */
  advance(seq: number): void {
    this.#position = Math.max(this.#position ?? 0, seq);
  }

  /** There is no room for events of the log. */
  pause(): void {
    this.#isPaused = true;
    this.#begin();
  }

  resume(): void {
    this.#isPaused = false;
    this.#begin();
  }

  /** What comes until it was asked for anew is of the place before. */
  #begin(): void {
    if (this.#state !== 'away') this.#state = 'asked';
  }
}
