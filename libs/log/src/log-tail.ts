import { isExactPattern, matchesPattern } from '@carillon/wire';

import type { LogTail, StoredEvent, TailOptions } from './event-log.ts';
import { closedFault, type LogLog } from './log-faults.ts';

// Rooms whose tails are remembered; beyond it all are worked out anew.
const ROUTES_MAX_COUNT = 20_000;

/** The tails of one workspace. A room's tails are worked out once, until a tail wants something else. */
class WorkspaceTails {
  readonly tails = new Set<Tail>();
  readonly #routes = new Map<string, readonly Tail[]>();

  route(room: string): readonly Tail[] {
    let route = this.#routes.get(room);
    if (route !== undefined) return route;
    route = [...this.tails].filter((tail) => tail.wants(room));
    if (this.#routes.size >= ROUTES_MAX_COUNT) this.#routes.clear();
    this.#routes.set(room, route);
    return route;
  }

  changed(pattern: string): void {
    if (isExactPattern(pattern)) this.#routes.delete(pattern);
    else this.#routes.clear();
  }

  ended(tail: Tail): void {
    this.tails.delete(tail);
    this.#routes.clear();
  }
}

class Tail implements LogTail {
  readonly #owner: LogTails;
  readonly #workspaceId: string;
  readonly #rooms = new Set<string>();
  readonly #patterns = new Set<string>();
  readonly options: TailOptions;
  #isClosed = false;

  constructor(owner: LogTails, workspaceId: string, options: TailOptions) {
    this.#owner = owner;
    this.#workspaceId = workspaceId;
    this.options = options;
  }

  get certain(): number {
    return this.#owner.givenSeq;
  }

  wants(room: string): boolean {
    if (this.#rooms.has(room)) return true;
    for (const pattern of this.#patterns) if (matchesPattern(pattern, room)) return true;
    return false;
  }

  async add(pattern: string): Promise<number> {
    if (this.#isClosed || this.#owner.isClosed) throw closedFault();
    (isExactPattern(pattern) ? this.#rooms : this.#patterns).add(pattern);
    const workspace = this.#owner.workspace(this.#workspaceId);
    workspace.tails.add(this);
    workspace.changed(pattern);
    return this.#owner.givenSeq;
  }

  remove(pattern: string): void {
    this.#rooms.delete(pattern);
    this.#patterns.delete(pattern);
    this.#owner.workspace(this.#workspaceId).changed(pattern);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#owner.ended(this.#workspaceId, this);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }
}

/** All tails of a log: one event is decoded once, and given to each tail that wants its room. */
export class LogTails {
  readonly #workspaces = new Map<string, WorkspaceTails>();
  readonly #log: LogLog;
  readonly #now: () => number;
  /** The last event that was given to those who wanted it. */
  givenSeq: number;
  isClosed = false;

  constructor(options: { readonly log: LogLog; readonly now: () => number; readonly head: number }) {
    this.#log = options.log;
    this.#now = options.now;
    this.givenSeq = options.head;
  }

  tail(workspaceId: string, options: TailOptions): LogTail {
    return new Tail(this, workspaceId, options);
  }

  workspace(id: string): WorkspaceTails {
    let workspace = this.#workspaces.get(id);
    if (workspace === undefined) this.#workspaces.set(id, (workspace = new WorkspaceTails()));
    return workspace;
  }

  ended(workspaceId: string, tail: Tail): void {
    const workspace = this.#workspaces.get(workspaceId);
    workspace?.ended(tail);
    if (workspace?.tails.size === 0) this.#workspaces.delete(workspaceId);
  }

  /** Gives an event to whoever wants its room; called in log order. */
  give(event: StoredEvent): void {
    this.givenSeq = event.seq;
    const route = this.#workspaces.get(event.workspaceId)?.route(event.room);
    if (route === undefined) return;
    const hasExpired = event.expiresAtMs !== undefined && event.expiresAtMs <= this.#now();
    for (const tail of route) {
      if (tail.isClosed) continue;
      try {
        if (hasExpired) tail.options.gap({ from: event.seq, to: event.seq, reason: 'retention' });
        else tail.options.event(event);
      } catch (error) {
        this.#log.warn({ error: error instanceof Error ? error.message : String(error), room: event.room, seq: event.seq }, 'a tail threw');
      }
    }
  }

  close(): void {
    this.isClosed = true;
    this.#workspaces.clear();
  }
}
