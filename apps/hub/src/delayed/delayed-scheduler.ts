import { createHash } from 'node:crypto';

import { LogError, type Delivery, type EventLog, type LogConsumer, type StoredEvent } from '@carillon/log';
import type { Logger } from '@carillon/runtime';
import { ERRORS } from '@carillon/wire';

import { DelayedPace } from './delayed-pace.ts';
import { logErrorCode } from '../durable/durable-lane.ts';
import { decodeHeld, type HeldEvent } from './held-event.ts';
import { SYSTEM_WORKSPACES } from '../durable/system-log.ts';

/**
 * The hubs' shared consumer of the events that wait. What it is given and is not due, it puts back for about as long:
 *
 *   given ──far off──▶ put back, looked at again now and then ──overtaken by many──▶ stored anew at the end of the log
 *     └──soon──▶ in hand ──due──▶ fired ──stored──▶ acked
 *
 * A crash between the last two gives it again within the ack time-out, and its id has it stored once.
 */
export type FireOutcome = 'fired' | 'returned' | 'expired' | 'dropped';
export type Fire = (held: HeldEvent, entryId: string) => Promise<FireOutcome>;

export interface DelayedSchedulerOptions {
  readonly log: EventLog;
  readonly logger: Logger;
  readonly fire: Fire;
  readonly now: () => number;
  readonly waiting: () => number;
  /** One waits no more. */
  readonly done: () => void;
}

/** Far below the 10 minutes for which JetStream knows an id. */
const ACK_TIMEOUT_MS = 10_000;
/** Both bodies of the log count what was put back; above what may wait, so that nothing due stands behind what is not. */
const IN_FLIGHT_MAX = 65_536;
/** Looked at every 10 s for 6 days it is given 52,000 times. */
const DELIVERIES_MAX = 1_000_000;
const PULL_MAX = 256;
/** What is due so soon stays in hand: putting back is not exact to the millisecond. */
const IN_HAND_MS = 2_000;
const IN_HAND_MAX = 1_024;
/** What was put back is asked for so long before it is due. */
const LEAD_MS = 1_000;
const RETRY_MS = 1_000;
/** What all hubs share. */
export const SCHEDULER = {
  workspaceId: SYSTEM_WORKSPACES.delayed, name: 'scheduler', rooms: ['*'], from: 'start', ackTimeoutMs: ACK_TIMEOUT_MS, maxDeliveries: DELIVERIES_MAX, maxInFlight: IN_FLIGHT_MAX,
} as const;

export class DelayedScheduler {
  /** What became of events that were due, by outcome; `moved`: stored anew. */
  readonly counts: Record<FireOutcome | 'moved', number> = { fired: 0, returned: 0, expired: 0, dropped: 0, moved: 0 };
  readonly #options: DelayedSchedulerOptions;
  readonly #pace: DelayedPace;
  readonly #ending = new AbortController();
  readonly #inHand = new Set<NodeJS.Timeout>();
  readonly #work = new Set<Promise<void>>();
  #member: LogConsumer | undefined;
  #running: Promise<void> | undefined;

  constructor(options: DelayedSchedulerOptions) {
    this.#options = options;
    this.#pace = new DelayedPace(options);
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    for (const timer of this.#inHand) clearTimeout(timer);
    this.#inHand.clear();
    await this.#running;
    await Promise.all(this.#work);
    await this.#member?.close().catch(() => undefined); // what it had comes back by its time-out
  }

  /** How many wait in the log; undefined while that cannot be known. */
  async count(): Promise<number | undefined> {
    const info = await this.#member?.info().catch(() => undefined);
    return info === undefined ? undefined : info.pending + info.inFlight;
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        const member = (this.#member ??= await this.#join(signal));
        const deliveries = (await member?.pull(PULL_MAX, signal)) ?? [];
        await Promise.all(deliveries.map((delivery) => this.#look(delivery)));
      } catch (error) {
        if (signal.aborted || (error instanceof LogError && error.code === 'LOG_CLOSED')) return;
        this.#options.logger.warn({ error }, 'delayed events cannot be looked at; it is tried again');
        if (error instanceof LogError && error.code === 'CONSUMER_UNKNOWN') this.#member = undefined;
        await pause(RETRY_MS, signal);
      }
    }
  }

  /** A log that is away lets us wait until it is back or closed: whoever stops does not. */
  async #join(signal: AbortSignal): Promise<LogConsumer | undefined> {
    const joining = this.#options.log.consumer(SCHEDULER, ({ event }) => this.#move(event));
    const aborted = new Promise<undefined>((resolve) => signal.addEventListener('abort', () => resolve(undefined), { once: true }));
    const member = await Promise.race([joining, aborted]);
    if (signal.aborted) joining.then((late) => late.close()).catch(() => undefined); // nobody else's either
    return signal.aborted ? undefined : member;
  }

  async #look(delivery: Delivery): Promise<void> {
    const { logger, now } = this.#options;
    const { event } = delivery;
    const held = decodeHeld(event.body);
    const isOvertaken = this.#pace.seen(event.seq);
    if (held?.dueMs === undefined) {
      logger.warn({ id: event.id }, 'a delayed event is not of this version and waits for one that knows it');
      return this.#putBack(delivery, this.#pace.periodMs);
    }
    const leftMs = held.dueMs - now();
    if (leftMs <= 0) return this.#fire(delivery, held);
    if (leftMs <= IN_HAND_MS && this.#inHand.size < IN_HAND_MAX) return this.#keepInHand(delivery, leftMs);
    if (isOvertaken && leftMs > this.#pace.periodMs) {
      // An LMDB consumer remembers what is settled behind what is not: one that waits for days would come to stand for all of it.
      const isMoved = await this.#move(event).then(() => true, () => false);
      if (isMoved) return this.#settle(delivery);
    }
    await this.#putBack(delivery, Math.min(leftMs > IN_HAND_MS ? leftMs - LEAD_MS : leftMs, this.#pace.periodMs));
  }

  #keepInHand(delivery: Delivery, leftMs: number): void {
    const timer = setTimeout(() => {
      this.#inHand.delete(timer);
      const work = this.#look(delivery).finally(() => this.#work.delete(work));
      this.#work.add(work);
    }, leftMs);
    timer.unref();
    this.#inHand.add(timer);
  }

  async #fire(delivery: Delivery, held: HeldEvent): Promise<void> {
    const { fire, logger } = this.#options;
    try {
      const outcome = await fire(held, delivery.event.id);
      this.counts[outcome] += 1;
    } catch (error) {
      const code = logErrorCode(error);
      if (ERRORS[code].retryable) {
        logger.warn({ code, workspace: held.workspaceId, id: held.id }, 'a delayed event is due and cannot be stored; it is tried again');
        return this.#putBack(delivery, RETRY_MS);
      }
      logger.warn({ code, workspace: held.workspaceId, id: held.id }, 'a delayed event was refused when it was due');
      this.counts.dropped += 1;
    }
    await this.#settle(delivery);
    this.#options.done();
  }

  /** Stores what waits anew; its id says of which entry it is the next, so that twice is once. */
  async #move({ id, seq, room, body }: StoredEvent): Promise<void> {
    const { log, now } = this.#options;
    const next = createHash('sha256').update(`${id}\n${seq}`).digest('base64url');
    await log.append({ workspaceId: SYSTEM_WORKSPACES.delayed, room, id: next, atMs: now(), fields: '', body });
    this.counts.moved += 1;
  }

  async #settle(delivery: Delivery): Promise<void> {
    this.#pace.forget(delivery.event.seq);
    // Not acked: it is given again, and its id has it stored once.
    await delivery.ack().catch(() => undefined);
  }

  async #putBack(delivery: Delivery, delayMs: number): Promise<void> {
    // Not put back: it comes again by its time-out.
    await delivery.nack({ delayMs: Math.max(1, Math.round(delayMs)), reason: 'not due' }).catch(() => undefined);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
  });
}
