/**
 * How fast a backlog is drained: so many events a second on the average, in bursts of at most a fiftieth of a second's worth,
 * so that what comes meanwhile need not wait long for its turn. Times are milliseconds on a clock that does not go back.
 */
const BURST_SECONDS = 0.02;

export class DrainPace {
  readonly #perSecond: number;
  readonly #burst: number;
  #credit: number;
  #atMs: number;

  /** `perSecond` 0: without a pace. */
  constructor(perSecond: number, nowMs: number) {
    this.#perSecond = perSecond;
    this.#burst = Math.max(1, perSecond * BURST_SECONDS);
    this.#credit = this.#burst;
    this.#atMs = nowMs;
  }

  /** Whether an event may go now; it has gone then. */
  take(nowMs: number): boolean {
    if (this.#perSecond === 0) return true;
    this.#credit = Math.min(this.#burst, this.#credit + (Math.max(0, nowMs - this.#atMs) / 1_000) * this.#perSecond);
    this.#atMs = nowMs;
    if (this.#credit < 1) return false;
    this.#credit -= 1;
    return true;
  }

  /** After how long an event may go. */
  waitMs(): number {
    return this.#perSecond === 0 ? 0 : Math.max(0, Math.ceil(((Math.min(this.#burst, 1) - this.#credit) / this.#perSecond) * 1_000));
  }
}
