import type { NatsConnection, Subscription } from '@nats-io/transport-node';

import { BusError, type BusDelivery, type BusLog, type PublishOutcome } from './bus.ts';
import { within } from './within.ts';

/*
 * One connection from its opening to its loss; a reconnection is a new link. So nothing that was published on one can come out
 * of the next: nats-core's own reconnecting would keep and later send what is published while it dials.
 *
 * nats-core has no public figure of the bytes that wait to be written, so they are bounded from outside: the server answers a
 * ping after everything written before it, and what was published since the last answered ping is what may still wait.
 */

// A silent server is given up after two of these without an answer: 4 to 6 s. Counted in turns of the timer, not by the clock,
// so that a process that was itself stopped or busy reads what has arrived before it judges.
const HEARTBEAT_MS = 2_000;
const UNANSWERED_MAX = 2;
// With a ping at each quarter of the bound, a publisher that the server keeps up with never meets it.
const PINGS_PER_BOUND = 4;
const DRAIN_TIMEOUT_MS = 5_000;
// "PUB <subject> <length>\r\n…\r\n" beside subject and payload.
const PUBLISH_OVERHEAD_BYTES = 20;

/** A subscription as a link knows it; it outlives links. */
export interface LinkSubscription {
  readonly subject: string;
  readonly queue?: string;
  readonly deliver: (delivery: BusDelivery) => void;
  readonly confirmed: () => void;
  readonly refused: (error: BusError) => void;
}

export interface NatsLinkOptions {
  readonly outboundMaxBytes: number;
  readonly log: BusLog;
  /** Called once, as soon as the loss is known; not after `close()`. */
  readonly onLost: (reason: string) => void;
}

export class NatsLink {
  readonly payloadMaxBytes: number;
  /** Resolves once the link is lost or closed. */
  readonly ended: Promise<void>;
  readonly #connection: NatsConnection;
  readonly #options: NatsLinkOptions;
  readonly #subscriptions = new Map<LinkSubscription, Subscription>();
  readonly #unconfirmed = new Set<LinkSubscription>();
  /** What waits for an answer of the server that will not come once the link is lost: nats-core leaves these promises pending. */
  readonly #waiting = new Set<(error: Error) => void>();
  readonly #heartbeat: NodeJS.Timeout;
  #peers: readonly string[];
  #publishedBytes = 0;
  #answeredBytes = 0;
  #pinging = false;
  #unanswered = 0;
  #closing = false;
  #isEnded = false;
  #resolveEnded!: () => void;

  constructor(connection: NatsConnection, options: NatsLinkOptions) {
    this.#connection = connection;
    this.#options = options;
    this.payloadMaxBytes = connection.info?.max_payload ?? 0;
    this.#peers = connection.info?.connect_urls ?? [];
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve));
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS);
    void connection.closed().then((error) => this.#lose(error instanceof Error ? error.message : 'the connection ended'));
    void this.#watchStatus();
  }

  /** The other servers of the cluster, as far as the server told. */
  get peers(): readonly string[] {
    return this.#peers;
  }

  /** For what JetStream's packages do with it, as long as the link is `up`. */
  get connection(): NatsConnection {
    return this.#connection;
  }

  get up(): boolean {
    return !this.#isEnded && !this.#closing;
  }

  publish(subject: string, payload: Uint8Array): PublishOutcome {
    if (payload.length > this.payloadMaxBytes) return 'too-large';
    const { outboundMaxBytes } = this.#options;
    const waitingBytes = this.#publishedBytes - this.#answeredBytes;
    const byteCount = subject.length + payload.length + PUBLISH_OVERHEAD_BYTES;
    if (waitingBytes > outboundMaxBytes / PINGS_PER_BOUND) this.#ping();
    if (waitingBytes > 0 && waitingBytes + byteCount > outboundMaxBytes) return 'backlogged';
    this.#connection.publish(subject, payload);
    this.#publishedBytes += byteCount;
    return 'sent';
  }

  attach(subscription: LinkSubscription): void {
    const { subject, queue } = subscription;
    const exact = !/[*>]/.test(subject);
    const live = this.#connection.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error, message) => {
        if (error !== null) return this.#refuse(subscription, error);
        try {
          subscription.deliver({ subject: exact ? subject : message.subject, payload: message.data });
        } catch (thrown) {
          // Thrown further, it would end nats-core's reader for good.
          this.#options.log({ level: 'error', text: 'A delivery threw', fields: { subject, error: thrown } });
        }
      },
    });
    this.#subscriptions.set(subscription, live);
    // One ping confirms all that are made in the same turn.
    if (this.#unconfirmed.size === 0) queueMicrotask(() => this.#confirm());
    this.#unconfirmed.add(subscription);
  }

  /** Resolves when nothing more is delivered to it; what the server has sent before is. */
  async detach(subscription: LinkSubscription): Promise<void> {
    const live = this.#subscriptions.get(subscription);
    this.#subscriptions.delete(subscription);
    this.#unconfirmed.delete(subscription);
    if (live === undefined || live.isClosed()) return;
    await this.#unlessLost(live.drain()).catch(() => undefined);
  }

  /**
   * Resolves when the server has everything that was published and subscribed before; rejects with `BUS_AWAY` if the link is lost,
   * or when there is no answer within `timeoutMs`.
   */
  async roundTrip(timeoutMs?: number): Promise<void> {
    const publishedBytes = this.#publishedBytes;
    const answered = this.#unlessLost(this.#connection.flush()).then(() => {
      this.#answeredBytes = Math.max(this.#answeredBytes, publishedBytes);
    });
    await (timeoutMs === undefined ? answered : within(answered, { timeoutMs, late: () => new BusError('BUS_AWAY', `The NATS server did not answer within ${timeoutMs} ms.`) }));
  }

  /** Settles as `outcome` does, or rejects with `BUS_AWAY` as soon as the link is lost. */
  whileUp<Value>(outcome: Promise<Value>): Promise<Value> {
    return new Promise((resolve, reject) => {
      if (this.#isEnded) {
        outcome.catch(() => undefined);
        return reject(new BusError('BUS_AWAY', 'The connection is lost.'));
      }
      this.#waiting.add(reject);
      outcome.then(resolve, reject).finally(() => this.#waiting.delete(reject));
    });
  }

  /** Takes what was sent to it, hands over what was published, and ends; does not wait for a silent server for long. */
  async close(): Promise<void> {
    if (this.#isEnded || this.#closing) return;
    this.#closing = true;
    const drained = this.#unlessLost(this.#connection.drain()).catch(() => undefined);
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([drained, new Promise((resolve) => (timer = setTimeout(resolve, DRAIN_TIMEOUT_MS)))]);
    clearTimeout(timer);
    this.#end('the bus was closed');
    await this.#connection.close();
    this.#resolveEnded();
  }

  /** Ends it as if the connection had been lost. */
  giveUp(reason: string): void {
    this.#lose(reason);
  }

  #confirm(): void {
    const batch = [...this.#unconfirmed];
    this.#unconfirmed.clear();
    this.roundTrip().then(
      () => {
        for (const subscription of batch) if (this.#subscriptions.has(subscription)) subscription.confirmed();
      },
      () => undefined,
    );
  }

  #refuse(subscription: LinkSubscription, error: Error): void {
    const { subject } = subscription;
    this.#subscriptions.delete(subscription);
    this.#unconfirmed.delete(subscription);
    this.#options.log({ level: 'error', text: 'The NATS server refused a subscription', fields: { subject, reason: error.message } });
    subscription.refused(new BusError('BUS_SUBSCRIPTION_REFUSED', `The NATS server refused the subscription to ${subject}: ${error.message}`, { cause: error }));
  }

  #beat(): void {
    if (this.#pinging) {
      this.#unanswered += 1;
      if (this.#unanswered >= UNANSWERED_MAX) this.#lose('the server does not answer');
      return;
    }
    this.#ping();
  }

  #ping(): void {
    if (this.#pinging) return;
    this.#pinging = true;
    this.roundTrip().then(
      () => {
        this.#pinging = false;
        this.#unanswered = 0;
      },
      () => undefined,
    );
  }

  /** Like `whileUp`, for what fails only because the connection does. */
  #unlessLost<Value>(outcome: Promise<Value>): Promise<Value> {
    return this.whileUp(outcome.catch((error: unknown) => Promise.reject(new BusError('BUS_AWAY', 'The connection was lost.', { cause: error }))));
  }

  async #watchStatus(): Promise<void> {
    for await (const status of this.#connection.status()) {
      if (status.type === 'update') this.#peers = this.#connection.info?.connect_urls ?? this.#peers;
      if (status.type === 'error') this.#options.log({ level: 'warn', text: 'The NATS server reported an error', fields: { reason: status.error.message } });
      if (status.type === 'ldm') this.#options.log({ level: 'info', text: 'The NATS server is about to stop', fields: { server: status.server } });
    }
  }

  #lose(reason: string): void {
    if (this.#isEnded) return;
    this.#end(reason);
    // Not nats-core's own way to give up a stale connection: that waits for its writes, which a stalled server never takes.
    void this.#connection.close();
    if (!this.#closing) this.#options.onLost(reason);
    this.#resolveEnded();
  }

  #end(reason: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    clearInterval(this.#heartbeat);
    this.#subscriptions.clear();
    this.#unconfirmed.clear();
    for (const reject of this.#waiting) reject(new BusError('BUS_AWAY', `The connection was lost: ${reason}.`));
    this.#waiting.clear();
  }
}
