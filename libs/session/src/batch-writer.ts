import { compose, type Codec, type OutboundEvent } from './codec.ts';
import type { Lane } from './lane.ts';

/**
 * Fan-out. Events that arrive in one turn of the event loop are delivered together at its end: for every route one
 * concatenation, for every peer one write. On an idle hub they do not even wait for that, only for the end of their read.
 * What costs is the write system call for each peer, so a writer that has just made many and is asked again before as
 * long has passed as they took is under load: it holds the next batch for a few milliseconds and lets it grow.
 *
 *   add(event, route) … add(event, route)        then, at the end of the turn or of the hold, flush():
 *     lanes in one route    → all share the route's joined buffer
 *     lanes in several      → share a buffer with others in the same routes, events in the order they were added
 *     a lane that is itself the source of an event in the batch → a buffer of its own, without its events
 *
 * So every peer gets what it should get once and in the order in which the hub accepted it.
 */
export interface Route {
  /** Who gets the events of this route. Replaced, not changed, when subscriptions change. */
  readonly lanes: readonly Lane[];
  /** Events of the current batch; the batch writer's own. */
  pending: OutboundEvent[];
}

export function createRoute(lanes: readonly Lane[]): Route {
  return { lanes, pending: [] };
}

/** Flush early at this size: bounds memory, and keeps one write well under what a socket takes. */
const BATCH_MAX_BYTES = 262_144;

/** A batch that took fewer writes is over so quickly that holding the next one would cost more time than it saves. */
const HOLD_MIN_WRITES = 40;
/** What a write to a socket takes at the most (measured here: 3-8 µs); so many writes, so long the hub counts as busy. */
const WRITE_MS = 0.008;
/** The hold is half of what the last batch took, within these: Node's shortest timer, and what nobody notices. */
const HOLD_SHARE = 0.5;
const HOLD_MIN_MS = 1;
const HOLD_MAX_MS = 4;

/** A writer that has flushed nothing for so long is idle: the frames of one read go out without waiting for other sockets. */
const IDLE_MS = 0.05;

/** How a writer waits; the process's own clock and timers in a hub. */
export interface BatchClock {
  /** Runs a function when the present callback has returned, e.g. when all frames of one read have been handled. */
  readonly endOfCallback: (flush: () => void) => void;
  /** Runs a function at the end of the current turn, when every socket that had something was read. */
  readonly endOfTurn: (flush: () => void) => void;
  /** Runs a function after so many milliseconds. */
  readonly after: (flush: () => void, ms: number) => void;
  /** Milliseconds from any start. */
  readonly now: () => number;
}

export const PROCESS_CLOCK: BatchClock = { endOfCallback: process.nextTick, endOfTurn: setImmediate, after: setTimeout, now: () => performance.now() };

export interface BatchCounts {
  batches: number;
  deliveries: number;
  writes: number;
}

export class BatchWriter {
  readonly counts: BatchCounts = { batches: 0, deliveries: 0, writes: 0 };
  readonly #clock: BatchClock;
  readonly #flush = (): void => this.flush();
  #active: Route[] = [];
  #batch = 1;
  #order = 0;
  #last: OutboundEvent | undefined = undefined;
  #bytes = 0;
  #scheduled = false;
  #busyMs = 0;
  #flushedMs = Number.NEGATIVE_INFINITY;

  constructor(clock: BatchClock = PROCESS_CLOCK) {
    this.#clock = clock;
  }

  /** Gives an event to a route's lanes at the end of this turn. An event may be added to several routes, one after the other. */
  add(event: OutboundEvent, route: Route): void {
    if (route.lanes.length === 0) return;
    if (event !== this.#last) {
      // Only between events: the routes of one event may share lanes, which get it once within a batch.
      if (this.#bytes >= BATCH_MAX_BYTES) this.flush();
      this.#last = event;
      event.order = this.#order++;
    }
    if (route.pending.length === 0) this.#active.push(route);
    route.pending.push(event);
    if (event.source !== undefined) event.source.sourceBatch = this.#batch;
    this.#bytes += event.bytes.length;
    if (!this.#scheduled) {
      this.#scheduled = true;
      this.#schedule();
    }
  }

  #schedule(): void {
    const nowMs = this.#clock.now();
    if (nowMs < this.#flushedMs + this.#busyMs) this.#clock.after(this.#flush, Math.min(HOLD_MAX_MS, Math.max(HOLD_MIN_MS, Math.round(this.#busyMs * HOLD_SHARE))));
    else if (nowMs < this.#flushedMs + IDLE_MS) this.#clock.endOfTurn(this.#flush);
    else this.#clock.endOfCallback(this.#flush);
  }

  /** Writes what is pending now. */
  flush(): void {
    this.#scheduled = false;
    const routes = this.#active;
    if (routes.length === 0) return;
    const batch = this.#batch;
    this.#batch += 1;
    this.#active = [];
    this.#bytes = 0;
    this.#order = 0;
    this.#last = undefined;
    this.counts.batches += 1;
    const pending = routes.map((route) => {
      const events = route.pending;
      route.pending = [];
      return events;
    });
    const writesBefore = this.counts.writes;
    if (routes.length === 1) this.#writeOne(routes[0] as Route, pending[0] as OutboundEvent[], batch);
    else this.#writeSeveral(routes, pending, batch);
    const writes = this.counts.writes - writesBefore;
    this.#busyMs = writes < HOLD_MIN_WRITES ? 0 : writes * WRITE_MS;
    this.#flushedMs = this.#clock.now();
  }

  #writeOne(route: Route, events: readonly OutboundEvent[], batch: number): void {
    let joined: Map<Codec, Buffer> | undefined;
    let codec: Codec | undefined;
    let chunk: Buffer | undefined;
    const written = writtenBy(events);
    for (const lane of route.lanes) {
      if (lane.sourceBatch === batch || !lane.codec.shared) {
        this.#writeOwn(lane, events);
        continue;
      }
      if (lane.codec !== codec || chunk === undefined) {
        if (codec !== undefined && chunk !== undefined) (joined ??= new Map()).set(codec, chunk);
        codec = lane.codec;
        chunk = joined?.get(codec) ?? compose(events, codec);
      }
      this.#write(lane, chunk, written);
    }
  }

  #writeSeveral(routes: readonly Route[], pending: readonly OutboundEvent[][], batch: number): void {
    const touched: Lane[] = [];
    for (const [index, route] of routes.entries()) {
      for (const lane of route.lanes) {
        if (lane.batch !== batch) {
          lane.batch = batch;
          lane.firstRoute = index;
          lane.moreRoutes = undefined;
          touched.push(lane);
        } else {
          (lane.moreRoutes ??= []).push(index);
        }
      }
    }
    const merged = new Map<string, { readonly events: readonly OutboundEvent[]; readonly written: Written; readonly chunks: Map<Codec, Buffer> }>();
    for (const lane of touched) {
      const key = lane.moreRoutes === undefined ? `${lane.firstRoute}` : `${lane.firstRoute},${lane.moreRoutes.join(',')}`;
      let group = merged.get(key);
      if (group === undefined) {
        const of = [lane.firstRoute, ...(lane.moreRoutes ?? [])].map((index) => pending[index] as OutboundEvent[]);
        const events = of.length === 1 ? (of[0] as OutboundEvent[]) : merge(of);
        group = { events, written: writtenBy(events), chunks: new Map() };
        merged.set(key, group);
      }
      lane.moreRoutes = undefined;
      if (lane.sourceBatch === batch || !lane.codec.shared) {
        this.#writeOwn(lane, group.events);
        continue;
      }
      const chunk = group.chunks.get(lane.codec) ?? compose(group.events, lane.codec);
      group.chunks.set(lane.codec, chunk);
      this.#write(lane, chunk, group.written);
    }
  }

  #writeOwn(lane: Lane, events: readonly OutboundEvent[]): void {
    const own = events.filter((event) => event.source !== lane);
    if (own.length > 0) this.#write(lane, compose(own, lane.codec), writtenBy(own));
  }

  #write(lane: Lane, chunk: Buffer, { events, seq }: Written): void {
    if (!lane.closed) {
      this.counts.writes += 1;
      this.counts.deliveries += events;
    }
    lane.write(chunk, events, seq);
  }
}

/** What a lane is told of a chunk. */
interface Written {
  readonly events: number;
  /** Of the last event that has one; those of live rooms have none. */
  readonly seq: number;
}

function writtenBy(events: readonly OutboundEvent[]): Written {
  for (let at = events.length - 1; at >= 0; at -= 1) {
    const { seq } = events[at] as OutboundEvent;
    if (seq !== undefined) return { events: events.length, seq };
  }
  return { events: events.length, seq: 0 };
}

/** Events of several routes in the order they were added, each once. */
function merge(lists: readonly (readonly OutboundEvent[])[]): OutboundEvent[] {
  return [...new Set(lists.flat())].sort((left, right) => left.order - right.order);
}
