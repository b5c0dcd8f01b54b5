/**
 * How often what waits is looked at, and when it has been overtaken by so many others that it should be stored anew: the more come,
 * the sooner; the more wait, the later, so that looking costs little whatever there is.
 */
export interface DelayedPaceOptions {
  /** Milliseconds. */
  readonly now: () => number;
  /** How many wait. */
  readonly waiting: () => number;
}

const PERIOD_MIN_MS = 10_000;
const PERIOD_IDLE_MS = 30_000;
const PERIOD_MAX_MS = 300_000;
/** Some 160 looks a second at the most, when nothing new comes. */
const LOOK_COST_MS = 6;
/** A quarter of what an LMDB consumer remembers behind what is not settled (65,536). */
const OVERTAKEN_MAX = 16_384;
const WINDOW_MS = 10_000;
/** Twice what may wait: of what other hubs settled this one does not hear. */
const SEEN_MAX = 131_072;

export class DelayedPace {
  readonly #options: DelayedPaceOptions;
  /** How many had come when each that waits was seen first. */
  readonly #seen = new Map<number, number>();
  #come = 0;
  #window = { fromMs: 0, come: 0, before: 0 };

  constructor(options: DelayedPaceOptions) {
    this.#options = options;
  }

  /** One was given, by its sequence. Whether so many have come since it was seen first that it should be stored anew. */
  seen(seq: number): boolean {
    const first = this.#seen.get(seq);
    if (first !== undefined) return this.#come - first >= OVERTAKEN_MAX;
    if (this.#seen.size >= SEEN_MAX) this.#seen.clear();
    this.#come += 1;
    this.#turn();
    this.#window.come += 1;
    this.#seen.set(seq, this.#come);
    return false;
  }

  forget(seq: number): void {
    this.#seen.delete(seq);
  }

  /** After how long what waits should be looked at again. */
  get periodMs(): number {
    this.#turn();
    const { come, before } = this.#window;
    const untilOvertakenMs = (OVERTAKEN_MAX / Math.max(1, come, before)) * WINDOW_MS;
    const idleMs = Math.max(PERIOD_IDLE_MS, this.#options.waiting() * LOOK_COST_MS);
    return Math.max(PERIOD_MIN_MS, Math.min(PERIOD_MAX_MS, idleMs, untilOvertakenMs));
  }

  #turn(): void {
    const nowMs = this.#options.now();
    const { fromMs, come } = this.#window;
    const passed = nowMs - fromMs;
    if (passed < WINDOW_MS && passed >= 0) return;
    this.#window = { fromMs: nowMs, come: 0, before: passed < 2 * WINDOW_MS ? come : 0 };
  }
}
