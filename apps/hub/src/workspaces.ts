import type { Workspace } from './workspace.ts';

/** A workspace without peers, tails and links is forgotten after so long: what it knew of duplicates is of no use by then. */
const EMPTY_MAX_MS = 60_000;

/** The workspaces that somebody uses at this hub. They share nothing that an event passes through. */
export class Workspaces {
  readonly #make: (id: string) => Workspace;
  readonly #now: () => number;
  readonly #all = new Map<string, { readonly workspace: Workspace; usedAtMs: number }>();

  /** `now`: milliseconds of a clock that does not go back. */
  constructor(options: { readonly make: (id: string) => Workspace; readonly now: () => number }) {
    this.#make = options.make;
    this.#now = options.now;
  }

  /** The workspace of somebody who was let in, made on demand. */
  of(id: string): Workspace {
    const nowMs = this.#now();
    let known = this.#all.get(id);
    if (known === undefined) {
      known = { workspace: this.#make(id), usedAtMs: nowMs };
      this.#all.set(id, known);
    }
    known.usedAtMs = nowMs;
    return known.workspace;
  }

  /** A workspace if somebody uses it. */
  known(id: string): Workspace | undefined {
    return this.#all.get(id)?.workspace;
  }

  *all(): Generator<Workspace> {
    for (const { workspace } of this.#all.values()) yield workspace;
  }

  /** Sums what each workspace has. */
  total(count: (workspace: Workspace) => number): number {
    let sum = 0;
    for (const workspace of this.all()) sum += count(workspace);
    return sum;
  }

  /** Forgets those that have been empty for a minute; called now and then. */
  sweep(): void {
    const nowMs = this.#now();
    for (const [id, known] of this.#all) {
      if (!known.workspace.isEmpty) known.usedAtMs = nowMs;
      else if (nowMs - known.usedAtMs >= EMPTY_MAX_MS) {
        this.#all.delete(id);
        known.workspace.close();
      }
    }
  }
}
