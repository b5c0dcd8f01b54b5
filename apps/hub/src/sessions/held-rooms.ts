import type { ErrorCode } from '@carillon/wire';

/** Who has not come again by then has given up. Longer than anybody's backoff. */
const HELD_MAX_MS = 60_000;

interface Held {
  readonly ids: Set<string>;
  readonly code: ErrorCode;
  readonly sinceMs: number;
}

/**
 * The rooms of one publisher in which an event was refused for now: what comes behind it there is refused as well, until one of the
 * refused comes again. Rooms have an order of their own: another room, a live one for example, is not held up.
 */
export class HeldRooms {
  readonly #rooms = new Map<string, Held>();
  readonly #idsMax: number;
  #ids = 0;

  /** `idsMax`: refused events that are told apart; of a room with more of them those come again first that were refused first. */
  constructor(idsMax: number) {
    this.#idsMax = idsMax;
  }

  /** Why an event must wait for those before it; undefined: it need not, and its room is held no longer. */
  refusalOf({ id, room }: { readonly id: string; readonly room: string }): ErrorCode | undefined {
    if (this.#rooms.size === 0) return undefined;
    const held = this.#rooms.get(room);
    if (held === undefined) return undefined;
    if (!held.ids.has(id) && performance.now() - held.sinceMs <= HELD_MAX_MS) return held.code;
    this.#rooms.delete(room);
    this.#ids -= held.ids.size;
    return undefined;
  }

  hold({ id, room }: { readonly id: string; readonly room: string }, code: ErrorCode): void {
    let held = this.#rooms.get(room);
    if (held === undefined) {
      if (this.#ids >= this.#idsMax) return;
      held = { ids: new Set(), code, sinceMs: performance.now() };
      this.#rooms.set(room, held);
    }
    if (this.#ids >= this.#idsMax || held.ids.has(id)) return;
    held.ids.add(id);
    this.#ids += 1;
  }
}
