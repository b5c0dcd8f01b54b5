/*
 * What the tests of this process have started and not stopped. Two ways end it: `stopAll()` in an `afterEach`, orderly and
 * newest first; and the end of this process, which kills the process groups, also when vitest ends a worker with SIGTERM.
 */
const FATAL_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

const groups = new Set<number>();
const stoppables = new Set<() => Promise<unknown>>();
let hooked = false;

/** Has the process group `pid` killed when this process ends; `end` kills it now. */
export function ownProcessGroup(pid: number): { end(): void } {
  hookProcessEnd();
  groups.add(pid);
  return {
    end: () => {
      if (groups.delete(pid)) killGroup(pid);
    },
  };
}

/** Has `stop` called by the next `stopAll()`, unless the function given back is called before. */
export function ownStoppable(stop: () => Promise<unknown>): () => void {
  stoppables.add(stop);
  return () => stoppables.delete(stop);
}

/** Stops every service, nats-server and fault proxy that still runs, newest first; for `afterEach`. Failures are gathered. */
export async function stopAll(): Promise<void> {
  const failures: unknown[] = [];
  for (const stop of [...stoppables].reverse()) {
    stoppables.delete(stop);
    await stop().catch((error: unknown) => failures.push(error));
  }
  if (failures.length > 0) throw new AggregateError(failures, `${failures.length} of what the test started did not stop in order.`);
}

function hookProcessEnd(): void {
  if (hooked) return;
  hooked = true;
  process.on('exit', killAllGroups);
  for (const signal of FATAL_SIGNALS) {
    const onSignal = () => {
      killAllGroups();
      // A listener takes the signal's own effect away; unless somebody else decides about it, it is given back.
      process.off(signal, onSignal);
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
    };
    process.on(signal, onSignal);
  }
}

function killAllGroups(): void {
  for (const pid of groups) killGroup(pid);
  groups.clear();
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nothing of the group is left.
  }
}
