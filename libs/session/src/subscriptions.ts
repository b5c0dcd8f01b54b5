import { isExactPattern, matchesPattern } from '@carillon/wire';

import { createRoute, type Route } from './batch-writer.ts';
import type { Lane } from './lane.ts';

/**
 * Who wants which rooms, and may have them. Exact names are found by hash, patterns are tried one by one; the answer for
 * a room is kept as a route until a subscription that concerns it, or a right, changes. A lane that several of its
 * patterns lead to is in a route once. Rights cost a delivery nothing: they are asked for when a route is made.
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

/** Who may have what it wants. Its answers are kept until `invalidate`. */
export interface DeliveryFilter {
  /** `by-event`: it depends on the event's name. */
  decide(lane: Lane, room: string): 'allow' | 'deny' | 'by-event';
  /** Asked of lanes that are `by-event`; undefined: the event has no readable name. */
  allows(lane: Lane, room: string, event: string | undefined): boolean;
}

export interface RoomRoute extends Route {
  /** Some lane takes events of this room by their name and is not in this route: `routeForEvent` says which events it is in. */
  readonly byEvent: boolean;
  /** The lanes that want these events and may not have them. */
  readonly denied: readonly Lane[];
}

export class Subscriptions {
  readonly #exact = new Map<string, Set<Lane>>();
  readonly #patterns = new Map<string, Set<Lane>>();
  readonly #routes = new Map<string, RoomRoute>();
  /** By room and event name, of rooms whose route is by event. */
  readonly #eventRoutes = new Map<string, Map<string | undefined, RoomRoute>>();
  #routeCount = 0;
  #routeLanes = 0;
  readonly #interest: InterestListener | undefined;
  readonly #filter: DeliveryFilter | undefined;

  constructor(interest?: InterestListener, filter?: DeliveryFilter) {
    this.#interest = interest;
    this.#filter = filter;
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

  /** The lanes that get every event of a room. */
  route(room: string): RoomRoute {
    const known = this.#routes.get(room);
    if (known !== undefined) return known;
    const filter = this.#filter;
    let byEvent = false;
    const lanes: Lane[] = [];
    const denied: Lane[] = [];
    for (const lane of this.#wanting(room)) {
      const decision = filter === undefined ? 'allow' : filter.decide(lane, room);
      if (decision === 'allow') lanes.push(lane);
      else if (decision === 'by-event') byEvent = true;
      else denied.push(lane);
    }
    const route = this.#remember(lanes, { byEvent, denied });
    this.#routes.set(room, route);
    return route;
  }

  /** The lanes that get an event of a room, where `route` says that it depends on the event's name; undefined: it has none. */
  routeForEvent(room: string, event: string | undefined): RoomRoute {
    const known = this.#eventRoutes.get(room)?.get(event);
    if (known !== undefined) return known;
    const filter = this.#filter;
    const lanes: Lane[] = [];
    const denied: Lane[] = [];
    for (const lane of this.#wanting(room)) {
      const decision = filter === undefined ? 'allow' : filter.decide(lane, room);
      const isAllowed = decision === 'allow' || (decision === 'by-event' && filter?.allows(lane, room, event) === true);
      (isAllowed ? lanes : denied).push(lane);
    }
    const route = this.#remember(lanes, { byEvent: true, denied });
    const ofRoom = this.#eventRoutes.get(room) ?? new Map<string | undefined, RoomRoute>();
    this.#eventRoutes.set(room, ofRoom.set(event, route));
    return route;
  }

  /** What lanes may have has changed: forgets every route. Subscriptions stay. */
  invalidate(): void {
    this.#routes.clear();
    this.#eventRoutes.clear();
    this.#routeCount = 0;
    this.#routeLanes = 0;
  }

  #wanting(room: string): Set<Lane> {
    const lanes = new Set(this.#exact.get(room));
    for (const [pattern, members] of this.#patterns) {
      if (matchesPattern(pattern, room)) for (const lane of members) lanes.add(lane);
    }
    return lanes;
  }

  /**
   * Publishers may name any number of rooms and events: start over rather than grow. A dropped route with pending events
   * is still held by the batch writer and delivers them.
   */
  #remember(lanes: readonly Lane[], { byEvent, denied }: { readonly byEvent: boolean; readonly denied: readonly Lane[] }): RoomRoute {
    const named = lanes.length + denied.length;
    if (this.#routeCount >= ROUTES_MAX || this.#routeLanes + named > ROUTE_LANES_MAX) this.invalidate();
    this.#routeCount += 1;
    this.#routeLanes += named;
    return { ...createRoute(lanes), byEvent, denied };
  }

  #forget(pattern: string): void {
    if (!isExactPattern(pattern)) {
      // Thousands of clients that restore their patterns at once pay for one walk, not for one each.
      this.invalidate();
      return;
    }
    for (const route of [this.#routes.get(pattern), ...(this.#eventRoutes.get(pattern)?.values() ?? [])]) {
      if (route === undefined) continue;
      this.#routeCount -= 1;
      this.#routeLanes -= route.lanes.length + route.denied.length;
    }
    this.#routes.delete(pattern);
    this.#eventRoutes.delete(pattern);
  }
}
