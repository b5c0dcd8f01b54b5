import type { EventLog } from '@carillon/log';

import { TrailJournal, type TrailCounts } from './trail-journal.ts';
import { WorkspaceTrail } from './trail-workspace.ts';
import type { Trail, TrailFact } from './trail.ts';

/** The trails of all workspaces of a hub. */
export interface TrailKeeperOptions {
  readonly hub: string;
  readonly log: Pick<EventLog, 'append'>;
  readonly nextId: () => string;
  readonly eventMaxBytes: number;
  /** Writes what waits in batches. */
  readonly flush: () => void;
}

interface Kept {
  readonly trail: WorkspaceTrail;
  readonly journal: TrailJournal;
  /** A workspace of the hub notes there. */
  isHeld: boolean;
}

/** What is noted is kept so often. Every other time it is said how far everybody is. */
const FLUSH_MS = 250;
/** A log that does not answer must not hold up a stop for longer. */
const LAST_FLUSH_MS = 1_000;

export class TrailKeeper implements Trail {
  readonly counts: TrailCounts = { kept: 0, missed: 0 };
  readonly #options: TrailKeeperOptions;
  readonly #kept = new Map<string, Kept>();
  #timer: NodeJS.Timeout | undefined = undefined;
  #beats = 0;
  #named = 0;

  constructor(options: TrailKeeperOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => this.#beat(), FLUSH_MS).unref();
  }

  note(workspaceId: string, fact: TrailFact): void {
    this.#keptOf(workspaceId).journal.note(fact);
  }

  /** For a workspace of the hub, until it lets go. */
  hold(workspaceId: string): WorkspaceTrail {
    const kept = this.#keptOf(workspaceId);
    kept.isHeld = true;
    return kept.trail;
  }

  release(workspaceId: string): void {
    const kept = this.#kept.get(workspaceId);
    if (kept !== undefined) kept.isHeld = false;
  }

  /** Keeps what was noted so far, or gives up on it after a second. */
  async flush(): Promise<void> {
    for (const { trail } of this.#kept.values()) trail.beat({ isTold: true });
    let timer: NodeJS.Timeout | undefined;
    // Twice: one that is under way does not have what came since.
    const all = Promise.all([...this.#kept.values()].map(async ({ journal }) => journal.flush().then(() => journal.flush())));
    await Promise.race([all, new Promise((resolve) => (timer = setTimeout(resolve, LAST_FLUSH_MS)))]);
    clearTimeout(timer);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }

  #beat(): void {
    this.#beats += 1;
    for (const [workspaceId, { trail, journal, isHeld }] of this.#kept) {
      trail.beat({ isTold: this.#beats % 2 === 0 });
      if (!journal.isEmpty) void journal.flush();
      else if (!isHeld && trail.isIdle) this.#kept.delete(workspaceId);
    }
  }

  #keptOf(workspaceId: string): Kept {
    let kept = this.#kept.get(workspaceId);
    if (kept === undefined) {
      const { hub, log, nextId, eventMaxBytes, flush } = this.#options;
      const journal = new TrailJournal({ workspaceId, hub, log, nextId, now: Date.now, eventMaxBytes, counts: this.counts });
      const trail = new WorkspaceTrail({ journal, clock: () => performance.now(), flush, nextName: () => `${hub}.${(this.#named += 1).toString(36)}` });
      kept = { trail, journal, isHeld: false };
      this.#kept.set(workspaceId, kept);
    }
    return kept;
  }
}
