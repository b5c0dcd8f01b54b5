import { isExactPattern, matchesPattern } from '@carillon/wire';

/** Of one workspace: patterns whose rooms are remembered. */
const PATTERNS_MAX_COUNT = 256;

/** What is stored of a room: numbers of its events, which change with every commit. */
export interface RoomTally {
  /** Sequence of its last event, also of one that is gone; 0: none yet. */
  readonly last: number;
  /** The highest sequence of it that was deleted; 0: all are there. */
  readonly lostTo: number;
  readonly count: number;
  readonly bytes: number;
}

export const EMPTY_TALLY: RoomTally = { last: 0, lostTo: 0, count: 0, bytes: 0 };

export interface BookWorkspace {
  readonly number: number;
  readonly id: string;
  readonly rooms: Map<string, BookRoom>;
  readonly patterns: Map<string, BookRoom[]>;
}

export interface BookRoom {
  readonly number: number;
  readonly workspace: BookWorkspace;
  readonly workspaceId: string;
  readonly name: string;
  /** As it is committed. */
  tally: RoomTally;
  /** As `tally.lostTo`, with what a commit under way deletes: a reader may see that before it is told that it is kept. */
  losingTo: number;
}

/** The rooms and workspaces that a log knows, by name and by the number that stands for them in records; all in memory. */
export class RoomBook {
  readonly #workspaces = new Map<string, BookWorkspace>();
  readonly #rooms = new Map<number, BookRoom>();
  #lastWorkspace = 0;
  #lastRoom = 0;

  /** Takes what is stored already. */
  restoreWorkspace(number: number, id: string): BookWorkspace {
    const workspace = { number, id, rooms: new Map<string, BookRoom>(), patterns: new Map<string, BookRoom[]>() };
    this.#workspaces.set(id, workspace);
    this.#lastWorkspace = Math.max(this.#lastWorkspace, number);
    return workspace;
  }

  restoreRoom(workspace: BookWorkspace, number: number, name: string, tally: RoomTally): BookRoom {
    const room = { number, workspace, workspaceId: workspace.id, name, tally, losingTo: tally.lostTo };
    workspace.rooms.set(name, room);
    this.#rooms.set(number, room);
    this.#lastRoom = Math.max(this.#lastRoom, number);
    for (const [pattern, selected] of workspace.patterns) if (matchesPattern(pattern, name)) selected.push(room);
    return room;
  }

  /** Makes sure that no number is given twice, though what had it is gone. */
  reserve(lastWorkspace: number, lastRoom: number): void {
    this.#lastWorkspace = Math.max(this.#lastWorkspace, lastWorkspace);
    this.#lastRoom = Math.max(this.#lastRoom, lastRoom);
  }

  get lastNumbers(): { readonly workspace: number; readonly room: number } {
    return { workspace: this.#lastWorkspace, room: this.#lastRoom };
  }

  /** The room of that name, which is made when it is new; it is empty until something is committed. */
  room(workspaceId: string, name: string): BookRoom {
    const workspace = this.#workspaces.get(workspaceId) ?? this.restoreWorkspace(this.#lastWorkspace + 1, workspaceId);
    return workspace.rooms.get(name) ?? this.restoreRoom(workspace, this.#lastRoom + 1, name, EMPTY_TALLY);
  }

  roomOf(number: number): BookRoom | undefined {
    return this.#rooms.get(number);
  }

  workspace(id: string): BookWorkspace | undefined {
    return this.#workspaces.get(id);
  }

  workspaces(): IterableIterator<BookWorkspace> {
    return this.#workspaces.values();
  }

  forget(workspace: BookWorkspace): void {
    for (const room of workspace.rooms.values()) this.#rooms.delete(room.number);
    this.#workspaces.delete(workspace.id);
  }

  remember(workspace: BookWorkspace): void {
    for (const room of workspace.rooms.values()) this.#rooms.set(room.number, room);
    this.#workspaces.set(workspace.id, workspace);
  }

  /** Rooms that any of the patterns selects, each once. */
  select(workspaceId: string, patterns: readonly string[]): readonly BookRoom[] {
    const workspace = this.#workspaces.get(workspaceId);
    if (workspace === undefined) return [];
    const [only] = patterns;
    if (patterns.length === 1 && only !== undefined) return this.#selected(workspace, only);
    return [...new Set(patterns.flatMap((pattern) => this.#selected(workspace, pattern)))];
  }

  #selected(workspace: BookWorkspace, pattern: string): readonly BookRoom[] {
    if (isExactPattern(pattern)) {
      const room = workspace.rooms.get(pattern);
      return room === undefined ? [] : [room];
    }
    const known = workspace.patterns.get(pattern);
    if (known !== undefined) return known;
    const selected = [...workspace.rooms.values()].filter((room) => matchesPattern(pattern, room.name));
    const [oldest] = workspace.patterns.keys();
    if (workspace.patterns.size >= PATTERNS_MAX_COUNT && oldest !== undefined) workspace.patterns.delete(oldest);
    workspace.patterns.set(pattern, selected);
    return selected;
  }
}
