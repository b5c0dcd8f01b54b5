import { CarillonError } from '@carillon/wire';

/** The two ends of a promise. */
export interface Settle<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

/** What a caller gets who aborted; the signal's reason is its cause. */
export function abortedError(signal: AbortSignal): CarillonError {
  return new CarillonError('ABORTED', undefined, { cause: signal.reason });
}

/**
 * A promise that a signal can end with ABORTED. `start` begins the wait and returns what takes it back; the listener on
 * the signal goes when the promise is settled.
 */
export function abortable<T>(signal: AbortSignal | undefined, start: (settle: Settle<T>) => () => void): Promise<T> {
  if (signal === undefined) return new Promise((resolve, reject) => void start({ resolve, reject }));
  if (signal.aborted) return Promise.reject(abortedError(signal));
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      undo();
      reject(abortedError(signal));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const forget = (): void => signal.removeEventListener('abort', onAbort);
    const undo = start({
      resolve: (value) => {
        forget();
        resolve(value);
      },
      reject: (error) => {
        forget();
        reject(error);
      },
    });
  });
}
