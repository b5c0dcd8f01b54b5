import { createRoute, type DeliveryFilter, type Lane, type Route } from '@carillon/session';

/**
 * Which hub links an event goes out on. Rooms whose events go out on the same links share a route, so that a batch is
 * joined once for all of them however many rooms it is of; without rights in the way there is one.
 */
export class LinkRoutes {
  readonly #filter: DeliveryFilter | undefined;
  #lanes: readonly Lane[] = [];
  #all: Route = createRoute([]);
  /** By the numbers of the lanes in them. */
  readonly #subsets = new Map<string, Route>();
  readonly #rooms = new Map<string, RoomLinks>();
  #denied = new WeakMap<Route, readonly Lane[]>();

  constructor(filter?: DeliveryFilter) {
    this.#filter = filter;
  }

  get size(): number {
    return this.#lanes.length;
  }

  /** The links that a route leaves out: one list a route, for as long as it holds. */
  denied(route: Route): readonly Lane[] {
    if (route === this.#all) return [];
    let denied = this.#denied.get(route);
    if (denied === undefined) this.#denied.set(route, (denied = this.#lanes.filter((lane) => !route.lanes.includes(lane))));
    return denied;
  }

  add(lane: Lane): void {
    if (!this.#lanes.includes(lane)) this.#replace([...this.#lanes, lane]);
  }

  remove(lane: Lane): void {
    if (this.#lanes.includes(lane)) this.#replace(this.#lanes.filter((other) => other !== lane));
  }

  /** What links may carry has changed. */
  invalidate(): void {
    this.#rooms.clear();
  }

  /** The links of an event; `nameOf` is called only where a right depends on the event's name. */
  route(room: string, nameOf: () => string | undefined): Route {
    const filter = this.#filter;
    if (filter === undefined || this.#lanes.length === 0) return this.#all;
    let known = this.#rooms.get(room);
    if (known === undefined) {
      if (this.#rooms.size >= ROOMS_MAX) this.#rooms.clear();
      known = this.#decide(room, filter);
      this.#rooms.set(room, known);
    }
    if (known.byEvent.size === 0) return known.route;
    const name = nameOf();
    return this.#subset((lane) => known.route.lanes.includes(lane) || (known.byEvent.has(lane) && filter.allows(lane, room, name)));
  }

  #decide(room: string, filter: DeliveryFilter): RoomLinks {
    const decisions = new Map(this.#lanes.map((lane) => [lane, filter.decide(lane, room)]));
    return { route: this.#subset((lane) => decisions.get(lane) === 'allow'), byEvent: new Set(this.#lanes.filter((lane) => decisions.get(lane) === 'by-event')) };
  }

  #subset(has: (lane: Lane) => boolean): Route {
    const lanes = this.#lanes.filter(has);
    if (lanes.length === this.#lanes.length) return this.#all;
    const numbers = lanes.map((lane) => this.#lanes.indexOf(lane)).join(',');
    let route = this.#subsets.get(numbers);
    if (route === undefined) {
      // A dropped route with pending events is still held by the batch writer and delivers them.
      if (this.#subsets.size >= SUBSETS_MAX) this.#subsets.clear();
      route = createRoute(lanes);
      this.#subsets.set(numbers, route);
    }
    return route;
  }

  #replace(lanes: readonly Lane[]): void {
    this.#lanes = lanes;
    this.#all = createRoute(lanes);
    this.#subsets.clear();
    this.#rooms.clear();
    this.#denied = new WeakMap();
  }
}

interface RoomLinks {
  /** The links that carry every event of the room. */
  readonly route: Route;
  readonly byEvent: ReadonlySet<Lane>;
}

/** Rooms are a publisher's to invent: start over rather than grow. */
const ROOMS_MAX = 16_384;
const SUBSETS_MAX = 1_024;
