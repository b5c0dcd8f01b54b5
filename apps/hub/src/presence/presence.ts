import type { EventLog } from '@carillon/log';
import type { Logger } from '@carillon/runtime';
import { CarillonError, type ErrorCode } from '@carillon/wire';

import { OwnMembers, type EnterTold, type Entering } from './own-members.ts';
import type { PageTurns } from '../durable/page-turns.ts';
import type { PresenceFact } from './presence-facts.ts';
import { PresenceFold, type FactPlace, type Person } from './presence-fold.ts';
import { PresenceReader } from './presence-reader.ts';
import type { PresenceWatcher } from './presence-watcher.ts';

/**
 * Who is in the rooms of one workspace, as this hub knows it (docs/adr/0015):
 *
 *   members of this hub ──facts──▶ log ──reader──▶ fold ──changes──▶ watchers
 *           ▲                                       │
 *           └────────── what is missing ────────────┘
 *
 * What its own members do it says, and takes for true when it reads it, as every other hub does. A fact that is not stored is
 * not queued: every tick compares who is to be there with who is, and says what is missing.
 */
export interface PresenceOptions {
  readonly workspaceId: string;
  readonly hubId: string;
  readonly log: EventLog;
  readonly turns: PageTurns;
  readonly logger: Logger;
  readonly nextId: () => string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** A hub that has members, or knows of some, says so often that it lives. */
const BEAT_MS = 2_000;
/** Four beats that were not stored: its members have left. */
const SILENT_MAX_MS = 8_000;
/** A log that was away so shortly ago has not taken the beats of others either. */
const TROUBLE_MAX_MS = 12_000;
/** How long somebody who only looks waits for the log. */
const LOOK_MAX_MS = 5_000;

export interface RoomPresence {
  readonly people: readonly Person[];
  readonly lastSeen: readonly (readonly [name: string, atMs: number])[];
}

export class Presence {
  readonly #options: PresenceOptions;
  readonly #own: OwnMembers;
  readonly #reader: PresenceReader;
  readonly #watchers = new Map<string, Set<PresenceWatcher>>();
  readonly #rechecks = new Set<() => void>();
  readonly #waiting = new Set<() => void>();
  #fold = this.#newFold();
  #timer: NodeJS.Timeout | undefined = undefined;
  #unlisten: () => void = () => undefined;
  #troubledAtMs = -Infinity;
  #isClosed = false;

  constructor(options: PresenceOptions) {
    this.#options = options;
    const troubled = (): void => void (this.#troubledAtMs = performance.now());
    this.#own = new OwnMembers({ ...options, troubled });
    this.#reader = new PresenceReader({
      ...options, gap: troubled,
      begun: () => {
        this.#fold = this.#newFold();
        this.#own.follow(undefined);
      },
      fact: (fact, place) => this.#apply(fact, place),
      live: () => this.#live(),
    });
  }

  /** Members that came in at this hub. */
  get members(): number {
    return this.#own.size;
  }

  get watchers(): number {
    let sum = 0;
    for (const each of this.#watchers.values()) sum += each.size;
    return sum;
  }

  /** Somebody comes in; the answer ends it. Codes: PRESENCE_EXCEEDED; told later: PRESENCE_NAME_IN_USE, PRESENCE_EXCEEDED, LOG_UNAVAILABLE, the log's. */
  enter(entering: Entering, told: EnterTold): (() => void) | ErrorCode {
    const left = this.#own.add(entering, told);
    this.#open();
    return left;
  }

  /** Has a watcher told who is there, and who comes and goes; the answer ends it. */
  watch(watcher: PresenceWatcher): () => void {
    const { room } = watcher;
    const watching = this.#watchers.get(room) ?? new Set();
    this.#watchers.set(room, watching.add(watcher));
    if (this.#reader.isLive) watcher.begin(this.#fold);
    this.#open();
    return () => {
      watcher.end();
      if (watching.delete(watcher) && watching.size === 0) this.#watchers.delete(room);
    };
  }

  /** Who is in a room now. Codes (thrown): LOG_UNAVAILABLE, DRAINING. */
  async look(room: string): Promise<RoomPresence> {
    this.#open();
    if (!this.#reader.isLive) await this.#untilLive();
    return { people: [...this.#fold.people(room).values()], lastSeen: [...this.#fold.lastSeen(room)] };
  }

  /** Asked again when somebody's rights may have changed; the answer ends it. */
  onRights(recheck: () => void): () => void {
    this.#rechecks.add(recheck);
    return () => void this.#rechecks.delete(recheck);
  }

  recheck(): void {
    for (const each of [...this.#rechecks]) each();
  }

  /** The log is another one: who is there is said anew. */
  beginAnew(): void {
    this.#reader.beginAnew();
  }

  close(): void {
    this.#isClosed = true;
    this.#reader.close();
    clearInterval(this.#timer);
    this.#unlisten();
    this.#endWaiting();
  }

  #newFold(): PresenceFold {
    return new PresenceFold((room, name, atMs) => {
      if (!this.#reader.isLive) return;
      for (const watcher of this.#watchers.get(room) ?? []) watcher.changed(name, atMs);
    });
  }

  #open(): void {
    if (!this.#reader.isIdle || this.#isClosed) return;
    this.#unlisten = this.#options.log.onState(() => this.#lookAtLog());
    this.#timer = setInterval(() => this.#tick(), BEAT_MS).unref();
    this.#reader.open();
  }

  #live(): void {
    this.#own.follow(this.#fold);
    for (const watching of this.#watchers.values()) for (const watcher of watching) watcher.begin(this.#fold);
    this.#tick();
    this.#endWaiting();
  }

  #apply(fact: PresenceFact, place: FactPlace): void {
    const outcome = this.#fold.apply(fact, place);
    if (fact.hub !== this.#options.hubId || !this.#reader.isLive) return;
    if (fact.type === 'beat') this.#judge(place.storedAtMs);
    else this.#own.heard(fact, outcome);
  }

  /** Says of hubs whose beats the log has not got while it took ours that they are gone. By the log's time and order: whoever is slow to read takes nobody for dead. */
  #judge(nowMs: number): void {
    if (performance.now() - this.#troubledAtMs < TROUBLE_MAX_MS) return;
    const { hubId, logger, workspaceId } = this.#options;
    for (const { hub, seq, atMs } of this.#fold.silent(nowMs - SILENT_MAX_MS)) {
      if (hub === hubId) continue;
      logger.info({ workspace: workspaceId, hub }, 'a hub is gone, and whoever was present by it');
      // Hubs that find it out at the same time say the same.
      this.#own.say({ type: 'gone', hub, seq, atMs }, `gone-${hub}-${seq}`);
    }
  }

  #tick(): void {
    this.#lookAtLog();
    if (this.#reader.isLive && (this.#own.size > 0 || this.#fold.members > 0)) this.#own.beat();
    this.#own.tick();
  }

  #lookAtLog(): void {
    if (this.#options.log.state !== 'open') this.#troubledAtMs = performance.now();
  }

  #untilLive(): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting = (): void => {
        clearTimeout(timer);
        if (this.#isClosed) reject(new CarillonError('DRAINING'));
        else resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(waiting);
        reject(new CarillonError('LOG_UNAVAILABLE'));
      }, LOOK_MAX_MS).unref();
      this.#waiting.add(waiting);
    });
  }

  #endWaiting(): void {
    for (const waiting of this.#waiting) waiting();
    this.#waiting.clear();
  }
}
