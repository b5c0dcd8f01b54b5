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
  random: () => {
    // Names of sessions and events come out of this, too: others must not be able to tell the next one.
    const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
    return (high * 2 ** 21 + (low >>> 11)) / 2 ** 53;
  },
  schedule(run, delayMs) {
    const timer = setTimeout(run, Math.min(delayMs, TIMER_MAX_MS));
    return () => clearTimeout(timer);
  },
};
