/**
 * How long to wait before try number `attempt` (0 for the first retry). Full jitter: anything from the floor to the
 * growing ceiling, also once the ceiling has reached its cap, so that clients that lost a server together do not come
 * back together (the strategy is Marc Brooker's "full jitter").
 */
export interface BackoffOptions {
  /** Ceiling of the first wait. */
  readonly firstMs: number;
  /** Ceiling of every later wait. */
  readonly capMs: number;
  /** How the ceiling grows from one try to the next. */
  readonly factor: number;
  /** Number from 0 (inclusive) to 1 (exclusive). */
  readonly random: () => number;
}

export function backoffMs(attempt: number, options: BackoffOptions, floorMs = 0): number {
  const ceiling = Math.min(options.capMs, options.firstMs * options.factor ** Math.min(attempt, 64));
  return Math.round(floorMs + options.random() * ceiling);
}
