import { eventNameOf, type Principal } from '@carillon/access';
import { createRoute, Subscriptions, type BatchWriter, type Lane, type OutboundEvent, type Route } from '@carillon/session';
import type { ErrorCode, SubscriptionChange } from '@carillon/wire';

import type { Device } from './devices.ts';

/**
 * Who hears what without the hub.
 *
 *   an event of …                | goes to devices that …
 *   a device, POST /send         | joined with the event's room, or subscribed to it   (`heard`)
 *   the hub                      | subscribed to it                                    (`subscribed`)
 *
 * Each gets an event once and never its own: `heard` holds both kinds of interest, so that one route answers. What the
 * permissions of a lane's principal do not let it receive, it does not get, whatever it joined with or subscribed to.
 */
interface Listener {
  readonly principal: Principal;
  /** Leads to this lane alone. */
  readonly own: Route;
  /** The room it is a member of by joining. */
  readonly room: string | undefined;
  readonly patterns: Set<string>;
}

/** A route as permissions leave it: one to the lanes that may receive the room, and those for which an event's name decides. */
interface Permitted {
  readonly epoch: number;
  readonly all: Route;
  readonly byEvent: readonly Listener[];
}

/** What of a subscription change was refused: the first pattern for each code. The others are in force. */
export type RefusedPatterns = ReadonlyMap<ErrorCode, string>;

export interface LocalRoomsOptions {
  readonly writer: BatchWriter;
  /** false: joining with a room does not make a member. */
  readonly joinedRooms: boolean;
  readonly patternsMax: number;
}

export class LocalRooms {
  readonly #options: LocalRoomsOptions;
  readonly #heard = new Subscriptions();
  readonly #subscribed = new Subscriptions();
  readonly #listeners = new Map<Lane, Listener>();
  /** By the route they were made of, which is another one when subscriptions change. */
  readonly #permitted = new WeakMap<Route, Permitted>();
  #epoch = 0;

  constructor(options: LocalRoomsOptions) {
    this.#options = options;
  }

  /** A connection joined with a room; another repeater is a member of none, since it carries the events of many. */
  join({ connection: { lane }, isRepeater, principal, room, route }: Device): void {
    const isMember = this.#options.joinedRooms && !isRepeater;
    this.#listeners.set(lane, { principal, own: route, room: isMember ? room : undefined, patterns: new Set() });
    if (isMember) this.#heard.add(room, lane);
  }

  leave(lane: Lane): void {
    const listener = this.#listeners.get(lane);
    if (listener === undefined) return;
    this.#listeners.delete(lane);
    for (const pattern of listener.patterns) this.#remove(lane, listener, pattern);
    if (listener.room !== undefined) this.#heard.remove(listener.room, lane);
    listener.principal.meter.unsubscribe(listener.patterns.size);
  }

  /** Permissions are not what they were: who gets what is found out anew. */
  permissionsChanged(): void {
    this.#epoch += 1;
  }

  /** Applies a subscription change and says what of it was refused: RECEIVE_DENIED, SUBSCRIPTIONS_EXCEEDED, ROOM_LIMIT_REACHED. */
  change(lane: Lane, { rooms, create }: SubscriptionChange): RefusedPatterns {
    const refused = new Map<ErrorCode, string>();
    const listener = this.#listeners.get(lane);
    if (listener === undefined) return refused;
    for (const pattern of rooms) {
      const code = create ? this.#add(pattern, lane, listener) : undefined;
      if (code !== undefined && !refused.has(code)) refused.set(code, pattern);
      if (create || !listener.patterns.delete(pattern)) continue;
      this.#remove(lane, listener, pattern);
      listener.principal.meter.unsubscribe(1);
    }
    return refused;
  }

  /** Gives an event of this site to whoever hears its room. */
  hear(room: string, event: OutboundEvent): void {
    this.#give(room, event, this.#heard.route(room));
  }

  /** Gives an event of the hub to whoever subscribed to its room, and says who that was. */
  hearFromHub(room: string, event: OutboundEvent): readonly Lane[] {
    return this.#give(room, event, this.#subscribed.route(room));
  }

  #give(room: string, event: OutboundEvent, route: Route): readonly Lane[] {
    const { writer } = this.#options;
    const { all, byEvent } = this.#permit(route, room);
    writer.add(event, all);
    if (byEvent.length === 0) return all.lanes;
    const name = eventNameOf(event.bytes.subarray(event.tagEnd + 1));
    const named = byEvent.filter(({ principal }) => principal.permissions.allows('receive', room, name));
    for (const { own } of named) writer.add(event, own);
    return [...all.lanes, ...named.flatMap(({ own }) => own.lanes)];
  }

  #permit(route: Route, room: string): Permitted {
    const known = this.#permitted.get(route);
    if (known?.epoch === this.#epoch) return known;
    const all: Lane[] = [];
    const byEvent: Listener[] = [];
    for (const lane of route.lanes) {
      const listener = this.#listeners.get(lane);
      const decision = listener?.principal.permissions.decide('receive', room) ?? 'deny';
      if (decision === 'allow') all.push(lane);
      else if (decision === 'by-event' && listener !== undefined) byEvent.push(listener);
    }
    const permitted: Permitted = { epoch: this.#epoch, all: all.length === route.lanes.length ? route : createRoute(all), byEvent };
    this.#permitted.set(route, permitted);
    return permitted;
  }

  #add(pattern: string, lane: Lane, { patterns, principal }: Listener): ErrorCode | undefined {
    if (patterns.has(pattern)) return undefined;
    if (patterns.size >= this.#options.patternsMax) return 'SUBSCRIPTIONS_EXCEEDED';
    if (!principal.permissions.covers('receive', pattern)) return 'RECEIVE_DENIED';
    const refusal = principal.meter.subscribe();
    if (refusal !== undefined) return refusal;
    patterns.add(pattern);
    this.#subscribed.add(pattern, lane);
    this.#heard.add(pattern, lane);
    return undefined;
  }

  #remove(lane: Lane, listener: Listener, pattern: string): void {
    this.#subscribed.remove(pattern, lane);
    if (pattern !== listener.room) this.#heard.remove(pattern, lane);
  }
}
