/**
 * Lets through `perSecond` units a second, and a burst of `burst` at once; full to begin with. One request for more than a
 * burst is let through when the bucket is full and paid back by those after it, so that nothing is refused for ever.
 * Times are milliseconds of a clock that does not go back (performance.now()); should it, no units are added.
 */
export class TokenBucket {
  #perSecond: number;
  #burst: number;
  #units: number;
  #filledMs: number;

  constructor(options: { readonly perSecond: number; /** One second's worth by default. */ readonly burst?: number; readonly nowMs: number }) {
    this.#perSecond = options.perSecond;
    this.#burst = options.burst ?? options.perSecond;
    this.#units = this.#burst;
    this.#filledMs = options.nowMs;
  }

  /** Takes that many units if they are there; false, and nothing is taken, if not. */
  take(units: number, nowMs: number): boolean {
    this.#fill(nowMs);
    if (this.#units < Math.min(units, this.#burst)) return false;
    this.#units -= units;
    return true;
  }

  /** Puts back what was taken for something that did not happen after all. */
  giveBack(units: number): void {
    this.#units = Math.min(this.#burst, this.#units + units);
  }

  /** Changes the rate; what has been saved up or is owed stays, up to the new burst. */
  change({ perSecond, burst = perSecond, nowMs }: { readonly perSecond: number; readonly burst?: number; readonly nowMs: number }): void {
    this.#fill(nowMs);
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#units = Math.min(this.#units, burst);
  }

  #fill(nowMs: number): void {
    if (nowMs <= this.#filledMs) return;
    this.#units = Math.min(this.#burst, this.#units + ((nowMs - this.#filledMs) / 1_000) * this.#perSecond);
    this.#filledMs = nowMs;
  }
}
