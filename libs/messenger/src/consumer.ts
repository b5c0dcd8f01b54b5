import type { Since } from '@carillon/wire';
import type { SignalOptions } from './messenger.ts';
import type { ReceivedEvent } from './received-event.ts';

/**
 * One of those who share the events of a durable consumer: each event goes to one member, again if that does not settle
 * it. Read it with `for await`; leaving the loop closes it, several loops share the deliveries between them. It joins again
 * after each reconnect. It ends when it is closed or its messenger is, and throws what ended it otherwise: the hub's code
 * (CONSUMER_EXISTS, CONSUMER_INVALID, CONSUMER_UNKNOWN when it was deleted, CONSUMERS_EXCEEDED, RECEIVE_DENIED, LOG_ABSENT: no log
 * at this hub, or a hub of the first protocol), or ABORTED when its signal aborted.
 */
export interface Consumer<T = unknown> extends AsyncIterable<Delivery<T>> {
  readonly name: string;
  /** The rooms and patterns as they were asked for, without repeats. */
  readonly rooms: readonly string[];
  readonly closed: boolean;
  /** Resolves when the hub has taken it as a member, now or the next time. Codes: what ended it; ABORTED when it was closed; MESSENGER_CLOSED. */
  ready(): Promise<void>;
  /**
   * Leaves, once what is being settled is settled; what was not settled goes to other members at once. Idempotent. The
   * consumer itself stays at the hub and keeps its place, also without members.
   */
  close(): Promise<void>;
}

/** Options of `consume`. The hub's ranges: CONSUMER_INVALID. Members of one consumer say the same of the first four: CONSUMER_EXISTS. */
export interface ConsumeOptions extends SignalOptions {
  /** Where the consumer begins when this call makes it: as `since` of a subscription. Default: now. */
  readonly since?: Since;
  /** A delivery that is not settled by then goes out again. Default: the hub's, 30,000. */
  readonly ackTimeoutMs?: number;
  /** How often an event is tried before it becomes a dead letter. Default: the hub's, 5. */
  readonly maxDeliveries?: number;
  /** Deliveries that all members together may have unsettled. Default: the hub's, 1,000. */
  readonly maxInFlight?: number;
  /** Deliveries that this member may have unsettled, read or not. Default 64. */
  readonly window?: number;
}

/** Options of `nack` and `defer`. */
export interface AgainOptions {
  /** Milliseconds before it is due again. Default 0. */
  readonly delayMs?: number;
  /** Kept with the event; the last one is the reason of a dead letter. Cut after 1,024 characters. */
  readonly reason?: string;
}

/**
 * One event given to one member, to be settled once. Each of the four resolves when the hub has kept it, and rejects with
 * DELIVERY_UNKNOWN when there was nothing to settle: settled before, timed out and given out again, or the connection that it
 * came on is gone (then it may have been settled, or comes again). With another code (LOG_UNAVAILABLE, DELAYED_EXCEEDED, DELAY_INVALID)
 * the hub could not keep it or another of the same time, and it may be settled again. A RangeError is for a delay that is no whole number.
 */
export interface Delivery<T = unknown> {
  readonly event: ReceivedEvent<T>;
  /** Which try this is, 1 the first. */
  readonly attempt: number;
  /** Done with it. Those of one turn of the program go to the hub together. */
  ack(): Promise<void>;
  /** It failed: again, to whichever member, or dead after the last try. */
  nack(options?: AgainOptions): Promise<void>;
  /** Not now: again, later; does not count as a try. */
  defer(options?: AgainOptions): Promise<void>;
  /** Nobody should try again: it becomes a dead letter. */
  discard(reason?: string): Promise<void>;
}
