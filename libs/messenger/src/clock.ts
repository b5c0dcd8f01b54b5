/** Time and chance, as arguments: tests pass their own. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** 0 (inclusive) to 1 (exclusive). */
  random(): number;
  /** Runs something once, later; the returned function takes it back. */
  schedule(run: () => void, delayMs: number): () => void;
}

/** The longest wait that timers know (2^31 - 1 ms, 24 days); beyond it they fire at once. */
const TIMER_MAX_MS = 2_147_483_647;

export const systemClock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  schedule(run, delayMs) {
    const timer = setTimeout(run, Math.min(delayMs, TIMER_MAX_MS));
    return () => clearTimeout(timer);
  },
};
