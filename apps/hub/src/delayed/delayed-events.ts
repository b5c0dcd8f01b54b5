import { createHash, randomBytes } from 'node:crypto';

import { LogError, type EventLog, type StoredClass } from '@carillon/log';
import type { Logger } from '@carillon/runtime';
import { CarillonError } from '@carillon/wire';

import { DelayedScheduler, type Fire } from './delayed-scheduler.ts';
import { decodeHeld, encodeHeld, type HeldEvent } from './held-event.ts';
import { DELAY_MAX_MS, SYSTEM_WORKSPACES } from '../durable/system-log.ts';
import type { Trail } from '../trail/trail.ts';

/**
 * Events that are kept until they are due. They wait in the log, in a workspace of the system's, and all hubs share one durable
 * consumer of it (delayed-scheduler.ts): whoever of them is there when one is due gives it its place.
 */
export interface DelayedEventsOptions {
  readonly log: EventLog;
  readonly trail: Trail;
  readonly logger: Logger;
  /** Gives a due event its place. */
  readonly fire: Fire;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** How many may wait, of all workspaces together; 50,000 by default. */
  readonly waitingMax?: number;
}

/** Events that may wait, of all workspaces. What a scheduler has in hand at a time is bounded apart, above this. */
export const DELAYED_MAX = 50_000;
/** What a hub's clock may be ahead of another's. */
const CLOCK_SLACK_MS = 60_000;
/** How often the log is asked how many wait: in between a hub knows of its own only. */
const COUNT_INTERVAL_MS = 1_000;
const RANDOM_ID_BYTES = 18;

export class DelayedEvents {
  readonly scheduler: DelayedScheduler;
  readonly #options: DelayedEventsOptions;
  #timer: NodeJS.Timeout | undefined;
  /** As the log said, and what has come and gone here since. */
  #counted = 0;
  #since = 0;
  #isCounting = false;
  /** Events that were taken to be kept. */
  kept = 0;

  constructor(options: DelayedEventsOptions) {
    this.#options = options;
    this.scheduler = new DelayedScheduler({ ...options, waiting: () => this.waiting, done: () => (this.#since -= 1) });
  }

  /** About how many wait, of all hubs together. */
  get waiting(): number {
    return Math.max(0, this.#counted + this.#since);
  }

  start(): void {
    this.scheduler.start();
    this.#timer = setInterval(() => void this.#count(), COUNT_INTERVAL_MS).unref();
  }

  /** Lets go of what waits: other hubs take it over, or this one when it is back. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.scheduler.stop();
  }

  /**
   * Keeps an event until `dueMs`; resolves once it is stored. The same event of a publisher twice is one; of what goes back to a
   * consumer each is another. Rejects DELAY_INVALID, DELAYED_EXCEEDED, EVENT_ID_REUSED, and with the log's error.
   */
  async add(held: HeldEvent): Promise<StoredClass> {
    const { log, now, trail, waitingMax = DELAYED_MAX } = this.#options;
    const { consumer, dueMs, id, room, workspaceId } = held;
    if (dueMs === undefined || dueMs - now() > DELAY_MAX_MS + CLOCK_SLACK_MS) throw new CarillonError('DELAY_INVALID');
    if (this.waiting >= waitingMax) throw new CarillonError('DELAYED_EXCEEDED', `at most ${waitingMax}`);
    this.#since += 1;
    // One workspace of the log has the ids of all of ours.
    const entryId = consumer === undefined ? createHash('sha256').update(`${workspaceId}\n${id}`).digest('base64url') : randomBytes(RANDOM_ID_BYTES).toString('base64url');
    try {
      const { class: stored, duplicate } = await log.append({ workspaceId: SYSTEM_WORKSPACES.delayed, room: workspaceId, id: entryId, atMs: now(), fields: '', body: encodeHeld(held) });
      if (duplicate) this.#since -= 1;
      else this.kept += 1;
      if (consumer === undefined) trail.note(workspaceId, { kind: 'delayed', id, room, dueMs });
      return stored;
    } catch (error) {
      this.#since -= 1;
      // Sent again: it was due a little earlier the first time, and that counts.
      if (error instanceof LogError && error.code === 'EVENT_ID_REUSED' && (await this.#isKept(entryId, held))) return log.storedClass;
      throw error;
    }
  }

  async #isKept(entryId: string, held: HeldEvent): Promise<boolean> {
    const entry = await this.#options.log.find(SYSTEM_WORKSPACES.delayed, entryId);
    const known = entry === undefined ? undefined : decodeHeld(entry.body);
    return known !== undefined && known.room === held.room && Buffer.compare(known.body, held.body) === 0;
  }

  async #count(): Promise<void> {
    if (this.#isCounting) return;
    this.#isCounting = true;
    const before = this.#since;
    const counted = await this.scheduler.count();
    this.#isCounting = false;
    if (counted === undefined) return;
    this.#counted = counted;
    this.#since -= before;
  }
}
