import type { AccessCopy, PermissionSet, Principal } from '@carillon/access';
import type { ErrorCode } from '@carillon/wire';

/*
 * A live connection comes by another key. All of it or nothing: what the new key's limits do not allow is found before
 * anything is changed, and both keys are of one workspace, whose own counts stay as they are.
 */

/** What all keys of a workspace use together. */
export type SharedUse = ReturnType<AccessCopy['usage']>;

/** What a connection counts for. */
export interface ConnectionUse {
  /** Rooms and patterns that it is subscribed to. */
  readonly rooms: number;
}

/** Why another key may not take over a connection with so many subscriptions; `shared` is what all keys of the workspace use. */
export function takeoverRefusal(next: Principal, { rooms }: ConnectionUse, shared: SharedUse): ErrorCode | undefined {
  const [own, all] = [next.limits, shared.limits];
  // Over a bound of the workspace that was lowered meanwhile nothing can be counted anew.
  if (next.meter.connections >= (own.connections ?? Infinity) || shared.connections > (all.connections ?? Infinity)) return 'CONNECTION_LIMIT_REACHED';
  if (next.meter.rooms + rooms > (own.rooms ?? Infinity) || shared.rooms > (all.rooms ?? Infinity)) return 'ROOM_LIMIT_REACHED';
  return undefined;
}

/** Counts a connection for another key instead; `takeoverRefusal` has had nothing against it. */
export function moveUse(from: Principal, to: Principal, { rooms }: ConnectionUse): void {
  from.meter.unsubscribe(rooms);
  from.meter.disconnect();
  to.meter.connect();
  for (let counted = 0; counted < rooms; counted += 1) to.meter.subscribe();
}

/** Of requests and their rooms: those that may not be had any more, with the room that is denied. */
export function deniedRequests(requests: ReadonlyMap<string, readonly string[]>, permissions: PermissionSet): ReadonlyMap<string, string> {
  const denied = new Map<string, string>();
  for (const [request, rooms] of requests) {
    const room = rooms.find((pattern) => !permissions.covers('receive', pattern));
    if (room !== undefined) denied.set(request, room);
  }
  return denied;
}
