import { systemClock } from './clock.ts';
import { resolveHubUrl } from './hub-url.ts';
import type { Messenger } from './messenger.ts';
import { compileOptions, type MessengerOptions } from './options.ts';
import { transport } from './platform.ts';
import { Session, type SessionDeps } from './session.ts';

/** How long a connection must hold before the next loss counts as the first. */
const STABLE_AFTER_MS = 10_000;

/**
 * Opens a messenger to a hub, e.g. `ws://localhost:7100` (it joins at `/connect/messenger`), or to any address that has a
 * path, e.g. a repeater's `/connect/ROOM/ID`. Returns at once and keeps trying until it is closed, or until a hub refuses
 * it for good: then `state.status` is `closed`, `state.lastError` says why, and everything pending rejects.
 * Codes (thrown): HUB_URL_INVALID. A number among the options that is not positive throws RangeError.
 */
export function connect(url: string, options: MessengerOptions = {}): Messenger {
  return connectWith({ transport, clock: systemClock, stableAfterMs: STABLE_AFTER_MS }, url, options);
}

/** `connect` with time, chance and transport as arguments. */
export function connectWith(deps: SessionDeps, url: string, options: MessengerOptions = {}): Messenger {
  const session = new Session(resolveHubUrl(url, deps.transport.sendsHeaders ? undefined : options.accessKey), compileOptions(options), deps);
  const { signal } = options;
  if (signal?.aborted === true) {
    void session.close();
    return session;
  }
  if (signal !== undefined) {
    const onAbort = (): void => void session.close();
    signal.addEventListener('abort', onAbort, { once: true });
    session.on('state', ({ status }) => {
      if (status === 'closed') signal.removeEventListener('abort', onAbort);
    });
  }
  session.start();
  return session;
}
