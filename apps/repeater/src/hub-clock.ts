/**
 * What the hub's clock is ahead of this machine's, as measured at the last join. A step of this machine's clock since then (it is
 * set at last, or wrongly) is taken into account: how far its wall clock and its monotonic one are apart says how far it was.
 */
export interface HubClockOptions {
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** Milliseconds on a clock that does not go back. */
  readonly now: () => number;
}

export class HubClock {
  readonly #options: HubClockOptions;
  #measured: { readonly aheadMs: number; readonly apartMs: number } | undefined = undefined;

  constructor(options: HubClockOptions) {
    this.#options = options;
  }

  /** Milliseconds to add to this machine's time for the hub's; undefined before a hub said its own. */
  get aheadMs(): number | undefined {
    return this.#measured === undefined ? undefined : Math.round(this.#measured.aheadMs + this.#measured.apartMs - this.#apartMs());
  }

  /** The hub's clock was so far ahead just now. */
  measured(aheadMs: number): void {
    this.#measured = { aheadMs, apartMs: this.#apartMs() };
  }

  #apartMs(): number {
    return this.#options.clock() - this.#options.now();
  }
}
