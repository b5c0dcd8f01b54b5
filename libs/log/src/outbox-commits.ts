import { sizeOfRecords } from './disk-room.ts';
import { OutboxError, outboxFault, storedBytes, type OutboxHead, type OutboxStore } from './outbox-store.ts';
import { OutboxPlan, type PlanBounds } from './outbox-plan.ts';

/*
 *   append ──▶ waiting ──(end of turn)──────┐
 *   settle ──▶ waiting ──(SETTLE_WAIT_MS)───┴─▶ plan ─▶ write ─▶ fsync ─▶ told, in order
 *
 * One commit at a time: what comes meanwhile shares the next one. A commit that fails refuses its appends; what was to be settled is
 * tried again until it is, because whoever sent it will not say so twice.
 */

/** An event with its place. */
export interface Placed {
  readonly key: number;
  readonly prevKey: number;
}

interface WaitingAppend {
  readonly record: Buffer;
  readonly resolve: (placed: Placed) => void;
  readonly reject: (error: OutboxError) => void;
}

interface WaitingSettle {
  readonly keys: readonly number[];
  /** Set: refused for good. */
  readonly dead: { readonly code: string; readonly atMs: number } | undefined;
  readonly resolve: () => void;
}

/** What happened since the start. */
export interface OutboxCounts {
  /** Oldest events that went for newer ones. */
  dropped: number;
  /** Events that a newer one of the same room and key took the place of. */
  replaced: number;
  /** Events that were not taken. */
  refused: number;
  /** Records that could not be read. */
  damaged: number;
  /** Commits, and those that failed. */
  commits: number;
  failedCommits: number;
}

export interface CommitsOptions extends PlanBounds {
  readonly store: OutboxStore;
  readonly head: OutboxHead;
  /** Events that wait for their commit, bytes; beyond it `append` refuses. */
  readonly waitingMaxBytes: number;
  readonly handedOutTo: () => number;
  readonly warn: (fields: Readonly<Record<string, unknown>>, text: string) => void;
}

/** One commit takes at most so much: a bound for how long it keeps others waiting. */
const COMMIT_MAX_BYTES = 4 * 1024 * 1024;
const COMMIT_MAX_SETTLED = 16_384;
/** Acks come one after the other; this many milliseconds of them share a commit when nothing else asks for one. */
const SETTLE_WAIT_MS = 20;
const RETRY_MS = 1_000;

export class OutboxCommits {
  readonly counts: OutboxCounts = { dropped: 0, replaced: 0, refused: 0, damaged: 0, commits: 0, failedCommits: 0 };
  readonly #options: CommitsOptions;
  #head: OutboxHead;
  #appends: WaitingAppend[] = [];
  #settles: WaitingSettle[] = [];
  #waitingBytes = 0;
  #waitingStoredBytes = 0;
  #timer: NodeJS.Timeout | undefined = undefined;
  #running: Promise<void> | undefined = undefined;
  /** The last commit did. */
  #hasFailed = false;
  #isClosed = false;

  constructor(options: CommitsOptions) {
    this.#options = options;
    this.#head = options.head;
  }

  /** The totals as the last commit left them. */
  get head(): OutboxHead {
    return this.#head;
  }

  /** Whether a record of this length has room without another's going, all that waits counted. */
  fits(length: number): boolean {
    const { maxBytes, waitingMaxBytes } = this.#options;
    return this.#head.bytes + this.#waitingStoredBytes + storedBytes(length) <= maxBytes && this.#waitingBytes + length <= waitingMaxBytes;
  }

  append(record: Buffer): Promise<Placed> {
    if (this.#isClosed) return this.#refuse(new OutboxError('LOG_UNAVAILABLE', 'The outbox is closed.'));
    if (this.#waitingBytes + record.length > this.#options.waitingMaxBytes) return this.#refuse(new OutboxError('UPSTREAM_QUEUE_FULL', 'As many bytes as may wait for the disk already do.'));
    return new Promise((resolve, reject) => {
      this.#appends.push({ record, resolve, reject });
      this.#waitingBytes += record.length;
      this.#waitingStoredBytes += storedBytes(record.length);
      this.#start();
    });
  }

  /** Takes records out, or buries them; resolves once that is kept. */
  settle(keys: readonly number[], dead?: { readonly code: string; readonly atMs: number }): Promise<void> {
    return new Promise((resolve) => {
      this.#settles.push({ keys, dead, resolve });
      this.#startLater(SETTLE_WAIT_MS);
    });
  }

  /** Commits what waits, once, and takes no more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    while (this.#running !== undefined) await this.#running;
    if (this.#settles.length > 0) await this.#commit();
    // What could not be settled comes again after the next start.
    for (const { resolve } of this.#settles.splice(0)) resolve();
  }

  #refuse(error: OutboxError): Promise<never> {
    this.counts.refused += 1;
    return Promise.reject(error);
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#appends.length > 0) this.#start();
      else if (this.#settles.length > 0) this.#startLater(this.#hasFailed ? RETRY_MS : SETTLE_WAIT_MS);
    });
  }

  #startLater(ms: number): void {
    if (this.#isClosed || this.#running !== undefined) return;
    this.#timer ??= setTimeout(() => this.#start(), ms);
  }

  async #run(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#appends.length > 0 || this.#settles.length > 0) {
      if (!(await this.#commit()) && this.#appends.length === 0) return;
    }
  }

  #takeAppends(): WaitingAppend[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#appends.length && bytes < COMMIT_MAX_BYTES) {
      bytes += this.#appends[count]?.record.length ?? 0;
      count += 1;
    }
    return this.#appends.splice(0, count);
  }

  #takeSettles(): WaitingSettle[] {
    let keys = 0;
    let count = 0;
    while (count < this.#settles.length && keys < COMMIT_MAX_SETTLED) {
      keys += this.#settles[count]?.keys.length ?? 0;
      count += 1;
    }
    return this.#settles.splice(0, count);
  }

  /** false: it failed, and nothing is changed. */
  async #commit(): Promise<boolean> {
    const { store } = this.#options;
    const appends = this.#refuseBeyondDisk(this.#takeAppends());
    const settles = this.#takeSettles();
    if (appends.length + settles.length === 0) return false;
    const plan = new OutboxPlan(store, this.#head, this.#options);
    let placed: readonly (Placed | undefined)[];
    try {
      placed = this.#plan(plan, appends, settles);
      await store.commit(plan.size, () => plan.write());
    } catch (error) {
      this.#failed(outboxFault(error), appends, settles);
      return false;
    }
    this.#hasFailed = false;
    this.#head = plan.head;
    this.counts.commits += 1;
    this.counts.dropped += plan.dropped;
    this.counts.replaced += plan.replaced;
    this.counts.damaged += plan.damaged;
    if (plan.damaged > 0) this.#options.warn({ records: plan.damaged }, 'records of the outbox cannot be read; they are passed over');
    this.#leave(appends);
    for (const { resolve } of settles) resolve();
    for (const [index, { resolve, reject }] of appends.entries()) {
      const place = placed[index];
      if (place !== undefined) {
        resolve(place);
        continue;
      }
      this.counts.refused += 1;
      reject(new OutboxError('UPSTREAM_QUEUE_FULL', 'The outbox holds as many bytes as it may.'));
    }
    return true;
  }

  /** What leaves may still go when what comes has no room. */
  #refuseBeyondDisk(appends: WaitingAppend[]): WaitingAppend[] {
    if (appends.length === 0) return appends;
    const fault = this.#options.store.roomFault(sizeOfRecords(appends.map(({ record }) => record.length)));
    if (fault === undefined) return appends;
    this.#failed(fault, appends, []);
    return [];
  }

  #plan(plan: OutboxPlan, appends: readonly WaitingAppend[], settles: readonly WaitingSettle[]): readonly (Placed | undefined)[] {
    for (const { keys, dead } of settles) {
      if (dead === undefined) plan.settle(keys);
      else for (const key of keys) plan.bury(key, dead.code, dead.atMs);
    }
    const handedOutTo = this.#options.handedOutTo();
    return appends.map(({ record }) => plan.append(record, handedOutTo));
  }

  #failed(fault: OutboxError, appends: readonly WaitingAppend[], settles: readonly WaitingSettle[]): void {
    this.#hasFailed = true;
    this.counts.failedCommits += 1;
    this.counts.refused += appends.length;
    this.#options.warn({ code: fault.code, error: fault.message, appends: appends.length }, 'the outbox could not be written');
    this.#leave(appends);
    this.#settles.unshift(...settles);
    for (const { reject } of appends) reject(fault);
  }

  #leave(appends: readonly WaitingAppend[]): void {
    for (const { record } of appends) {
      this.#waitingBytes -= record.length;
      this.#waitingStoredBytes -= storedBytes(record.length);
    }
  }
}
