import { OutboxError, type Outbox, type OutboxRecord } from '@carillon/log/outbox';
import type { Logger } from '@carillon/runtime';
import { backoffMs, ERRORS, formatTagFields, isErrorCode, type BackoffOptions, type ErrorCode } from '@carillon/wire';

import { DrainPace } from './drain-pace.ts';
import type { QueuedFrame } from './frame-queue.ts';
import { HubClock } from './hub-clock.ts';
import { InFlight } from './in-flight.ts';
import type { RepeaterCounts } from './metrics.ts';
import { SendOrder } from './send-order.ts';
import type { EventTimes, UpstreamLink, UpstreamQueue } from './upstream-queue.ts';

/**
 * The upstream queue on disk. A frame is fsynced before anything else, handed over by `SendOrder`, and waits for the hub's
 * answer under its id:
 *
 *   kept ──take──▶ in flight ──published──▶ settled
 *     ▲                │ ├──refused for good──▶ dead
 *     │                │ └──refused for now──▶ wait, and again from there
 *     └── lost link ───┘
 *
 * A hub of the first protocol answers nothing: what it was handed is settled at once.
 */
export interface OutboxQueueOptions {
  readonly outbox: Outbox;
  readonly maxBytes: number;
  /** Events of the backlog a second; 0: as fast as the hub takes them. */
  readonly drainEventsPerSecond: number;
  readonly nextId: () => string;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** Milliseconds on a clock that does not go back. */
  readonly now: () => number;
  /** A hub that answers nothing for so long has lost what it was asked; ids make asking again harmless. */
  readonly answerTimeoutMs: number;
  /** How long to wait when the hub takes nothing for now. */
  readonly backoff: BackoffOptions;
  readonly counts: RepeaterCounts;
  readonly log: Logger;
}

const PAGE_RECORDS = 256;
/** A quarter of the pace's burst: fewer and larger writes. */
const PACE_WAIT_MIN_MS = 5;
/** Codes that a hub closes for when a frame is not as it should be. */
const FRAME_FAULTS: readonly string[] = ['FRAME_TOO_LARGE', 'FRAME_LINE_FEED_MISSING', 'ROOM_NAME_INVALID', 'TAG_LINE_INVALID'] satisfies ErrorCode[];

export class OutboxQueue implements UpstreamQueue {
  readonly #options: OutboxQueueOptions;
  readonly #order: SendOrder<OutboxRecord>;
  readonly #pace: DrainPace;
  readonly #inFlight = new InFlight();
  readonly #hubClock: HubClock;
  #page: readonly OutboxRecord[] = [];
  #pageAt = 0;
  #link: UpstreamLink | undefined = undefined;
  /** Set while nothing is handed over, because the hub asked for patience. */
  #patience: NodeJS.Timeout | undefined = undefined;
  #paced: NodeJS.Timeout | undefined = undefined;
  #unanswered: NodeJS.Timeout | undefined = undefined;
  #attempt = 0;
  #dropped = 0;
  /** Frames on their way to the disk. */
  #offered = 0;

  constructor(options: OutboxQueueOptions) {
    this.#options = options;
    const { drainEventsPerSecond, now, outbox } = options;
    this.#hubClock = new HubClock(options);
    this.#order = new SendOrder(outbox.lastKey);
    this.#pace = new DrainPace(drainEventsPerSecond, now());
  }

  get frames(): number {
    return this.#options.outbox.frames;
  }

  get heldBytes(): number {
    return this.#options.outbox.bytes;
  }

  get maxBytes(): number {
    return this.#options.maxBytes;
  }

  get oldestAgeMs(): number {
    return this.#options.outbox.oldestUnsentAgeMs;
  }

  /** What the hub's clock is ahead of this machine's, in milliseconds; undefined before a hub said its own. */
  get hubAheadMs(): number | undefined {
    return this.#hubClock.aheadMs;
  }

  /** Events that were handed over and wait for the hub's answer. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  get isFlushed(): boolean {
    return this.frames === 0 && this.#offered === 0;
  }

  fits(length: number): boolean {
    return this.#options.outbox.fits(length);
  }

  async offer(bytes: Buffer, tagEnd: number, { eventAtMs }: EventTimes = {}): Promise<ErrorCode | undefined> {
    const { clock, nextId, outbox } = this.#options;
    this.#offered += 1;
    try {
      const { record, prevKey } = await outbox.append({ id: nextId(), frame: bytes, tagEnd, recordedAtMs: clock(), eventAtMs, clockOffsetMs: this.#hubClock.aheadMs });
      this.#countDrops();
      this.#order.kept(record, prevKey);
      this.#link?.ready();
      return undefined;
    } catch (error) {
      if (error instanceof OutboxError) return error.code;
      this.#options.log.error({ error }, 'a frame could not be kept');
      return 'INTERNAL';
    } finally {
      this.#offered -= 1;
    }
  }

  take(): QueuedFrame | undefined {
    if (this.#link === undefined || this.#patience !== undefined) return undefined;
    if (this.#inFlight.isFull) return undefined;
    const record = this.#order.takeAhead() ?? this.#takeBacklog();
    if (record === undefined) return undefined;
    const { eventAtMs, frame, id, key, recordedAtMs, tagEnd } = record;
    if (this.#link.acks) {
      this.#inFlight.add(id, key);
      if (this.#unanswered === undefined) this.#waitAnew();
    } else {
      this.#settle([key]);
    }
    return { bytes: frame, tagEnd, offeredAtMs: recordedAtMs, fields: this.#link.acks ? formatTagFields({ id, at: this.#hubTimeOf(record), ...(eventAtMs === undefined ? {} : { et: eventAtMs }) }) : '' };
  }

  /** When it was recorded, by the hub's clock: as it was known then, or else as it is known now. */
  #hubTimeOf({ recordedAtMs, clockOffsetMs = this.#hubClock.aheadMs ?? 0 }: OutboxRecord): number {
    return Math.max(0, Math.round(recordedAtMs + clockOffsetMs));
  }

  attach(link: UpstreamLink): void {
    this.#link = link;
    if (link.aheadMs !== undefined) this.#hubClock.measured(link.aheadMs);
    this.#order.up();
    link.ready();
  }

  detach(code: string | undefined): void {
    const culprit = this.#inFlight.lost(code !== undefined && FRAME_FAULTS.includes(code));
    if (culprit !== undefined) this.#bury(culprit, code ?? 'FRAME_MALFORMED');
    this.#link = undefined;
    this.#order.down();
    this.#forget();
  }

  published(ids: readonly string[]): void {
    const keys = this.#inFlight.answered(ids);
    if (keys.length === 0) return;
    this.#attempt = 0;
    this.#answered();
    this.#settle(keys);
  }

  refused(id: string, code: string): boolean {
    const key = this.#inFlight.keyOf(id);
    if (key === undefined) return false;
    if (isErrorCode(code) && !ERRORS[code].retryable) {
      this.#inFlight.answered([id]);
      this.#bury(key, code);
      this.#answered();
    } else {
      // A code of a newer hub may pass; to give an event up for it would be to lose it.
      this.#again(key);
    }
    return true;
  }

  async close(): Promise<{ readonly frames: number; readonly areLost: boolean }> {
    this.#link = undefined;
    this.#forget();
    clearTimeout(this.#paced);
    await this.#options.outbox.close();
    this.#countDrops();
    return { frames: this.frames, areLost: false };
  }

  #takeBacklog(): OutboxRecord | undefined {
    const { now, outbox } = this.#options;
    while (this.#pageAt < this.#page.length || this.#order.hasBacklog) {
      if (this.#pageAt >= this.#page.length) {
        this.#page = outbox.next(this.#order.cursor, PAGE_RECORDS);
        this.#pageAt = 0;
        if (this.#page.length === 0) {
          this.#order.drained();
          return undefined;
        }
      }
      const record = this.#page[this.#pageAt] as OutboxRecord;
      if (this.#order.wentAhead(record.key)) {
        this.#pageAt += 1;
        this.#order.pass(record.key);
        continue;
      }
      if (!this.#pace.take(now())) {
        this.#paced ??= setTimeout(() => this.#goOn(), Math.max(PACE_WAIT_MIN_MS, this.#pace.waitMs()));
        return undefined;
      }
      this.#pageAt += 1;
      this.#order.pass(record.key);
      return record;
    }
    return undefined;
  }

  #goOn(): void {
    clearTimeout(this.#paced);
    this.#paced = undefined;
    this.#link?.ready();
  }

  #settle(keys: readonly number[]): void {
    void this.#options.outbox.settle(keys).then(() => {
      for (const key of keys) this.#gone(key);
    });
  }

  #bury(key: number, code: string): void {
    void this.#options.outbox.bury(key, code).then(() => this.#gone(key));
  }

  /** A record is not kept any more. One in the page at hand is still to be passed over there. */
  #gone(key: number): void {
    if (this.#pageAt >= this.#page.length || key > (this.#page.at(-1)?.key ?? 0)) this.#order.settled(key);
  }

  /** The hub said something of an event: it may have more. */
  #answered(): void {
    // Suspects that were dropped at the bound meanwhile are never answered.
    if (this.frames === 0) this.#inFlight.clearSuspects();
    this.#waitAnew();
    this.#link?.ready();
  }

  /** From now on the hub has its time to answer. */
  #waitAnew(): void {
    clearTimeout(this.#unanswered);
    this.#unanswered = this.#inFlight.size === 0 ? undefined : setTimeout(() => this.#giveUpWaiting(), this.#options.answerTimeoutMs);
  }

  /** From this event on everything goes again, after a while. */
  #again(fromKey: number): void {
    this.#inFlight.takeBack(fromKey);
    this.#rewind(fromKey - 1);
    this.#waitAnew();
    if (this.#patience !== undefined) return;
    const waitMs = backoffMs(this.#attempt, this.#options.backoff);
    this.#attempt += 1;
    this.#patience = setTimeout(() => {
      this.#patience = undefined;
      this.#link?.ready();
    }, waitMs);
  }

  #giveUpWaiting(): void {
    this.#unanswered = undefined;
    const first = this.#inFlight.firstKey;
    if (first === undefined) return;
    this.#options.log.warn({ events: this.#inFlight.size, afterMs: this.#options.answerTimeoutMs }, 'the hub answers nothing; what it was sent goes again');
    this.#again(first);
  }

  #rewind(afterKey: number): void {
    this.#order.rewind(afterKey);
    this.#page = [];
    this.#pageAt = 0;
  }

  #forget(): void {
    this.#rewind(0);
    clearTimeout(this.#patience);
    clearTimeout(this.#unanswered);
    this.#patience = undefined;
    this.#unanswered = undefined;
  }

  #countDrops(): void {
    const { dropped } = this.#options.outbox.counts;
    this.#options.counts.drop('hub-away', dropped - this.#dropped);
    this.#dropped = dropped;
  }
}
