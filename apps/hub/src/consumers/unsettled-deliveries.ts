import type { OwedDelivery } from './consumer-delivery.ts';

/**
 * What a member of a consumer was given and has not settled:
 *
 *   held ──begin──▶ being settled ──done──▶ gone          held ──its time is over──▶ gone (`timedOut`)
 *     ▲                  └──undo (not kept)──┘
 *
 * The log has times of its own and they count; these free the member's window when a peer never says anything.
 */
export interface UnsettledOptions {
  readonly ackTimeoutMs: number;
  /** Milliseconds of a clock that does not go back. */
  readonly now: () => number;
  readonly timedOut: (delivery: OwedDelivery) => void;
  /** Bytes that it holds more, or less. */
  readonly holds: (bytes: number) => void;
}

interface Held {
  readonly delivery: OwedDelivery;
  readonly dueMs: number;
  isSettling: boolean;
}

export class UnsettledDeliveries {
  readonly #options: UnsettledOptions;
  /** By sequence; all have the same time, so that they end in the order in which they came. */
  readonly #held = new Map<number, Held>();
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: UnsettledOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#held.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(delivery: OwedDelivery): void {
    const { seq, body } = delivery.event;
    const before = this.#held.get(seq);
    // The log has taken it back and gives it again before its time was over here.
    if (before !== undefined && this.#drop(before) && !before.isSettling) this.#options.timedOut(before.delivery);
    this.#held.set(seq, { delivery, dueMs: this.#options.now() + this.#options.ackTimeoutMs, isSettling: false });
    this.#hold(body.length);
    this.#watch(this.#options.ackTimeoutMs);
  }

  /** Whether a delivery that was added is still to be settled. */
  has(delivery: OwedDelivery): boolean {
    return this.#held.get(delivery.event.seq)?.delivery === delivery;
  }

  /** Undefined: nothing of that sequence is held, or it is being settled. */
  begin(seq: number): OwedDelivery | undefined {
    const held = this.#held.get(seq);
    if (held === undefined || held.isSettling) return undefined;
    held.isSettling = true;
    return held.delivery;
  }

  done(delivery: OwedDelivery): void {
    const held = this.#held.get(delivery.event.seq);
    if (held?.delivery === delivery) this.#drop(held);
  }

  /** It could not be kept: it may be tried again until its time is over. */
  undo(delivery: OwedDelivery): void {
    const held = this.#held.get(delivery.event.seq);
    if (held?.delivery === delivery) held.isSettling = false;
  }

  /** Nothing is its any more. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#held.clear();
    this.#hold(-this.#bytes);
  }

  #drop({ delivery }: Held): boolean {
    this.#hold(-delivery.event.body.length);
    return this.#held.delete(delivery.event.seq);
  }

  #hold(bytes: number): void {
    this.#bytes += bytes;
    this.#options.holds(bytes);
  }

  #watch(delayMs: number): void {
    this.#timer ??= setTimeout(() => this.#expire(), delayMs).unref();
  }

  #expire(): void {
    this.#timer = undefined;
    const nowMs = this.#options.now();
    for (const held of this.#held.values()) {
      // One that is being settled has its answer from the log.
      if (held.isSettling) continue;
      if (held.dueMs > nowMs) return this.#watch(held.dueMs - nowMs);
      this.#drop(held);
      this.#options.timedOut(held.delivery);
    }
    if (this.#held.size > 0) this.#watch(this.#options.ackTimeoutMs);
  }
}
