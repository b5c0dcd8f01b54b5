/** Names that have left a room, and when each was last seen; the oldest are forgotten. */
const ROOM_NAMES_MAX = 1_000;
const WORKSPACE_NAMES_MAX = 50_000;

/** Of one workspace. In the order in which they left: rooms have no line feeds, so that one key holds both. */
export class LastSeen {
  readonly #rooms = new Map<string, Map<string, number>>();
  readonly #all = new Map<string, readonly [room: string, name: string]>();

  get size(): number {
    return this.#all.size;
  }

  set(room: string, name: string, atMs: number): void {
    this.delete(room, name);
    const names = this.#rooms.get(room) ?? new Map<string, number>();
    this.#rooms.set(room, names);
    names.set(name, atMs);
    this.#all.set(`${room}\n${name}`, [room, name]);
    const [oldest] = names.keys();
    if (names.size > ROOM_NAMES_MAX && oldest !== undefined) this.delete(room, oldest);
    const [[oldRoom, oldName] = []] = this.#all.values();
    if (this.#all.size > WORKSPACE_NAMES_MAX && oldRoom !== undefined && oldName !== undefined) this.delete(oldRoom, oldName);
  }

  delete(room: string, name: string): void {
    const names = this.#rooms.get(room);
    if (names?.delete(name) !== true) return;
    if (names.size === 0) this.#rooms.delete(room);
    this.#all.delete(`${room}\n${name}`);
  }

  /** Of one room, who left first comes first. */
  of(room: string): ReadonlyMap<string, number> {
    return this.#rooms.get(room) ?? NOBODY;
  }
}

const NOBODY: ReadonlyMap<string, number> = new Map();
