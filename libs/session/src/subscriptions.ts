import { isExactPattern, matchesPattern } from '@carillon/wire';

import { createRoute, type Route } from './batch-writer.ts';
import type { Lane } from './lane.ts';

/**
 * Who wants which rooms. Exact names are found by hash, patterns are tried one by one; the answer for a room is kept as
 * a route until a subscription that concerns it changes. A lane that several of its patterns lead to is in a route once.
 */
const ROUTES_MAX = 16_384;
/** Lanes that all kept routes name together, 8 bytes each: rooms are a publisher's to invent, and `*` is in every one. */
const ROUTE_LANES_MAX = 1_048_576;

export interface InterestListener {
  /** The first subscription to a pattern came. */
  added(pattern: string): void;
  /** The last subscription to a pattern went. */
  removed(pattern: string): void;
}

export class Subscriptions {
  readonly #exact = new Map<string, Set<Lane>>();
  readonly #patterns = new Map<string, Set<Lane>>();
  readonly #routes = new Map<string, Route>();
  #routeLanes = 0;
  readonly #interest: InterestListener | undefined;

  constructor(interest?: InterestListener) {
    this.#interest = interest;
  }

  /** Every pattern somebody has subscribed to. */
  *wanted(): Generator<string> {
    yield* this.#exact.keys();
    yield* this.#patterns.keys();
  }

  /** Adds a lane to a pattern; false when it is there already. */
  add(pattern: string, lane: Lane): boolean {
    const index = isExactPattern(pattern) ? this.#exact : this.#patterns;
    let lanes = index.get(pattern);
    if (lanes?.has(lane) === true) return false;
    const first = lanes === undefined;
    if (lanes === undefined) index.set(pattern, (lanes = new Set()));
    lanes.add(lane);
    this.#forget(pattern);
    if (first) this.#interest?.added(pattern);
    return true;
  }

  /** Takes a lane from a pattern; false when it was not there. */
  remove(pattern: string, lane: Lane): boolean {
    const index = isExactPattern(pattern) ? this.#exact : this.#patterns;
    const lanes = index.get(pattern);
    if (lanes === undefined || !lanes.delete(lane)) return false;
    if (lanes.size === 0) index.delete(pattern);
    this.#forget(pattern);
    if (lanes.size === 0) this.#interest?.removed(pattern);
    return true;
  }

  /** The lanes that get an event of a room. */
  route(room: string): Route {
    const known = this.#routes.get(room);
    if (known !== undefined) return known;
    const lanes = new Set(this.#exact.get(room));
    for (const [pattern, members] of this.#patterns) {
      if (matchesPattern(pattern, room)) for (const lane of members) lanes.add(lane);
    }
    const route = createRoute([...lanes]);
    // Publishers may name any number of rooms: start over rather than grow. A dropped route with pending events
    // is still held by the batch writer and delivers them.
    if (this.#routes.size >= ROUTES_MAX || this.#routeLanes + lanes.size > ROUTE_LANES_MAX) this.#clear();
    this.#routes.set(room, route);
    this.#routeLanes += lanes.size;
    return route;
  }

  #forget(pattern: string): void {
    if (!isExactPattern(pattern)) {
      // Thousands of clients that restore their patterns at once pay for one walk, not for one each.
      this.#clear();
      return;
    }
    this.#routeLanes -= this.#routes.get(pattern)?.lanes.length ?? 0;
    this.#routes.delete(pattern);
  }

  #clear(): void {
    this.#routes.clear();
    this.#routeLanes = 0;
  }
}
