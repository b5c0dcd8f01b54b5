import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 10;

/** Waits until a condition holds or the signal aborts; says which. For drains, where nobody is told that the last thing went. */
export async function until(condition: () => boolean, signal: AbortSignal): Promise<boolean> {
  while (!condition()) {
    if (signal.aborted) return false;
    await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
  return true;
}
