import type { Logger } from '@carillon/runtime';
import type { Store } from '@carillon/store';

/** What has expired is refused anyway: this only gives the room back. */
const EVERY_MS = 10 * 60_000;

export interface Housekeeping {
  stop(): Promise<void>;
}

/** Deletes ended sessions and kept answers whose day is over, now and every ten minutes. */
export function startHousekeeping({ store, now, log }: { readonly store: Store; readonly now: () => number; readonly log: Logger }): Housekeeping {
  let running = Promise.resolve();
  const sweep = async (): Promise<void> => {
    const nowIso = new Date(now()).toISOString();
    try {
      const sessions = await store.sessions.deleteExpired(nowIso);
      const answers = await store.idempotency.deleteExpired(nowIso);
      if (sessions + answers > 0) log.debug({ sessions, answers }, 'deleted what had expired');
    } catch (error) {
      log.warn({ error }, 'what has expired could not be deleted; it is tried again');
    }
  };
  const begin = (): void => {
    running = running.then(sweep);
  };
  begin();
  const timer = setInterval(begin, EVERY_MS);
  return {
    stop: async () => {
      clearInterval(timer);
      await running;
    },
  };
}
