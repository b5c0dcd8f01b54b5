import type { RoomEntry, RoomLane } from '@carillon/schemas';
import { matchesPattern } from '@carillon/wire';

/** Publishers may name any number of rooms: start over rather than grow. */
const ROOMS_MAX = 16_384;

/** Which lane the rooms of a workspace have: that of the longest policy that selects the room, of equals the first. */
export class Lanes {
  readonly #policies: () => readonly RoomEntry[];
  readonly #fallback: RoomLane;
  readonly #known = new Map<string, RoomLane>();

  constructor({ policies, fallback }: { readonly policies: () => readonly RoomEntry[]; readonly fallback: RoomLane }) {
    this.#policies = policies;
    this.#fallback = fallback;
  }

  of(room: string): RoomLane {
    const known = this.#known.get(room);
    if (known !== undefined) return known;
    if (this.#known.size >= ROOMS_MAX) this.#known.clear();
    let chosen: RoomEntry | undefined;
    for (const policy of this.#policies()) {
      if ((chosen === undefined || policy.pattern.length > chosen.pattern.length) && matchesPattern(policy.pattern, room)) chosen = policy;
    }
    const lane = chosen?.lane ?? this.#fallback;
    this.#known.set(room, lane);
    return lane;
  }

  /** The policies have changed. */
  refresh(): void {
    this.#known.clear();
  }
}
