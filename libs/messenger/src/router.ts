import type { ReceivedEvent } from './received-event.ts';
import type { RoomSubscription } from './subscription.ts';

/**
 * Decides which subscriptions are offered an event. Rooms by name are looked up, only wildcards are compared. The lists are
 * replaced, never changed, so that a callback may subscribe and close while an event is handed round: who was there
 * when the event came gets it, unless it has closed since.
 */
export class Router {
  readonly #byRoom = new Map<string, readonly RoomSubscription[]>();
  #withPatterns: readonly RoomSubscription[] = [];

  add(subscription: RoomSubscription): void {
    for (const room of subscription.exactRooms) this.#byRoom.set(room, [...(this.#byRoom.get(room) ?? []), subscription]);
    if (subscription.patterns.length > 0) this.#withPatterns = [...this.#withPatterns, subscription];
  }

  remove(subscription: RoomSubscription): void {
    for (const room of subscription.exactRooms) {
      const left = this.#byRoom.get(room)?.filter((other) => other !== subscription) ?? [];
      if (left.length === 0) this.#byRoom.delete(room);
      else this.#byRoom.set(room, left);
    }
    if (subscription.patterns.length > 0) this.#withPatterns = this.#withPatterns.filter((other) => other !== subscription);
  }

  /** Hands an event to every subscription that wants its room, once each; `isOwn` when this messenger published it. */
  dispatch(event: ReceivedEvent, isOwn: boolean): void {
    const offer = { isAnswer: false, isOwn };
    const named = this.#byRoom.get(event.room);
    const withPatterns = this.#withPatterns;
    if (named !== undefined) for (const subscription of named) subscription.receive(event, offer);
    for (const subscription of withPatterns) {
      if (named?.includes(subscription) !== true && subscription.matches(event.room)) subscription.receive(event, offer);
    }
  }

  /** Every subscription. */
  all(): ReadonlySet<RoomSubscription> {
    return new Set([...this.#byRoom.values()].flat().concat(this.#withPatterns));
  }
}
