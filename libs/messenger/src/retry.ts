import { backoffMs } from '@carillon/wire';
import type { Clock } from './clock.ts';

export interface RetryOptions {
  readonly firstMs: number;
  readonly capMs: number;
  /** A connection that held for so long was a good one: the next loss begins from the first wait again. */
  readonly stableAfterMs: number;
}

/** When to try again. One timer, which is either "this connection is stable" or "the wait is over". */
export class Retry {
  readonly #clock: Clock;
  readonly #options: RetryOptions;
  #attempt = 0;
  #stop: () => void = () => undefined;

  constructor(clock: Clock, options: RetryOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  /** Losses since the last stable connection. */
  get attempt(): number {
    return this.#attempt;
  }

  /** A connection opened. */
  opened(): void {
    this.#stop();
    this.#stop = this.#clock.schedule(() => (this.#attempt = 0), this.#options.stableAfterMs);
  }

  /** A connection was lost; `run` comes after the wait, which is no shorter than the peer's hint. */
  lost(hintMs: number, run: () => void): void {
    this.#stop();
    const delayMs = backoffMs(this.#attempt, { ...this.#options, factor: 2, random: () => this.#clock.random() }, hintMs);
    this.#attempt += 1;
    this.#stop = this.#clock.schedule(run, delayMs);
  }

  stop(): void {
    this.#stop();
  }
}
