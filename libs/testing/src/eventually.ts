import { setTimeout as sleep } from 'node:timers/promises';

export interface EventuallyOptions {
  /** How long to go on trying; 30,000 by default, so that a busy machine is slow and not wrong. */
  readonly timeoutMs?: number;
  /** Pause between two tries; 20 by default. */
  readonly intervalMs?: number;
  /** What is waited for, for the error. */
  readonly what?: string;
}

type NotYet = false | 0 | 0n | '' | null;

/**
 * A condition of assertions only returns nothing, so `undefined` has to mean "done"; one that returns `Found | undefined` would
 * then be done at once. The compiler refuses that kind: end it with `?? false`.
 */
type Condition<Value> = undefined extends Value ? ([Value] extends [void] ? () => Value | Promise<Value> : never) : () => Value | Promise<Value>;

const TIMED_OUT = Symbol('timed out');

/**
 * Runs `condition` until it neither throws nor returns a false value (`false`, `0`, `''`, `null`) and gives back what it returned.
 * When the time is over it throws, naming `what`, with the last error as `cause`. A condition that hangs is given up as well.
 */
export async function eventually<Value>(condition: Condition<Value>, options: EventuallyOptions = {}): Promise<Exclude<Value, NotYet>> {
  const { timeoutMs = 30_000, intervalMs = 20, what = 'the condition' } = options;
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await within(condition(), deadline - performance.now());
      if (value === TIMED_OUT) throw new Error('it did not settle in time');
      if (value === undefined || Boolean(value)) return value as Exclude<Value, NotYet>;
      last = `it returned ${JSON.stringify(value)}`;
    } catch (error) {
      last = error;
    }
    if (performance.now() + intervalMs >= deadline) throw timeOut(what, timeoutMs, last);
    await sleep(intervalMs);
  }
}

async function within<Value>(outcome: Value | Promise<Value>, leftMs: number): Promise<Value | typeof TIMED_OUT> {
  if (!(outcome instanceof Promise)) return outcome;
  const timer = new AbortController();
  try {
    return await Promise.race([outcome, sleep(Math.max(leftMs, 0), TIMED_OUT, { signal: timer.signal })]);
  } finally {
    timer.abort();
  }
}

function timeOut(what: string, timeoutMs: number, last: unknown): Error {
  const reason = last instanceof Error ? last.message : String(last);
  return new Error(`Waited ${timeoutMs} ms for ${what}; the last time: ${reason}`, { cause: last });
}
