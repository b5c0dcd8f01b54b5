import { Subscriptions, type BatchWriter, type Lane, type OutboundEvent } from '@carillon/session';
import type { ErrorCode, SubscriptionChange } from '@carillon/wire';

/**
 * Who hears what without the hub.
 *
 *   an event of …                | goes to devices that …
 *   a device, POST /send         | joined with the event's room, or subscribed to it   (`heard`)
 *   the hub                      | subscribed to it                                    (`subscribed`)
 *
 * Each gets an event once and never its own: `heard` holds both kinds of interest, so that one route answers.
 */
interface Listener {
  /** The room it is a member of by joining. */
  readonly room: string | undefined;
  readonly patterns: Set<string>;
}

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

  constructor(options: LocalRoomsOptions) {
    this.#options = options;
  }

  /** A connection joined with a room; another repeater is a member of none, since it carries the events of many. */
  join(lane: Lane, { room, isRepeater }: { readonly room: string; readonly isRepeater: boolean }): void {
    const isMember = this.#options.joinedRooms && !isRepeater;
    this.#listeners.set(lane, { room: isMember ? room : undefined, patterns: new Set() });
    if (isMember) this.#heard.add(room, lane);
  }

  leave(lane: Lane): void {
    const listener = this.#listeners.get(lane);
    if (listener === undefined) return;
    this.#listeners.delete(lane);
    for (const pattern of listener.patterns) this.#remove(lane, listener, pattern);
    if (listener.room !== undefined) this.#heard.remove(listener.room, lane);
  }

  /** Applies a subscription change; SUBSCRIPTIONS_EXCEEDED leaves what fitted. */
  change(lane: Lane, { rooms, create }: SubscriptionChange): ErrorCode | undefined {
    const listener = this.#listeners.get(lane);
    if (listener === undefined) return undefined;
    for (const pattern of rooms) {
      if (!create) {
        if (listener.patterns.delete(pattern)) this.#remove(lane, listener, pattern);
      } else if (!listener.patterns.has(pattern)) {
        if (listener.patterns.size >= this.#options.patternsMax) return 'SUBSCRIPTIONS_EXCEEDED';
        listener.patterns.add(pattern);
        this.#subscribed.add(pattern, lane);
        this.#heard.add(pattern, lane);
      }
    }
    return undefined;
  }

  /** Gives an event of this site to whoever hears its room. */
  hear(room: string, event: OutboundEvent): void {
    this.#options.writer.add(event, this.#heard.route(room));
  }

  /** Gives an event of the hub to whoever subscribed to its room, and says who that was. */
  hearFromHub(room: string, event: OutboundEvent): readonly Lane[] {
    const route = this.#subscribed.route(room);
    this.#options.writer.add(event, route);
    return route.lanes;
  }

  #remove(lane: Lane, listener: Listener, pattern: string): void {
    this.#subscribed.remove(pattern, lane);
    if (pattern !== listener.room) this.#heard.remove(pattern, lane);
  }
}
