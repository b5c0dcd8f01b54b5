import { toError } from './to-error.ts';
import type { ReceivedEvent } from './received-event.ts';
import type { EventSink } from './subscription.ts';

/**
 * Hands events to a callback as they come. What the callback throws, or what the promise it returns rejects with,
 * goes to `onError` and nowhere else: the connection and the other subscriptions do not notice.
 */
export function callbackSink(onEvent: (event: ReceivedEvent<never>) => unknown, onError: (error: Error) => void): EventSink {
  const report = (thrown: unknown): void => onError(toError(thrown));
  return {
    push(event) {
      try {
        const result = onEvent(event as ReceivedEvent<never>);
        if (result instanceof Promise) result.catch(report);
      } catch (thrown) {
        report(thrown);
      }
      return true;
    },
    end: () => undefined,
    clear: () => undefined,
    next: () => Promise.resolve({ done: true, value: undefined }),
  };
}
