import { CarillonError } from '@carillon/wire';
import { Listeners } from './listeners.ts';
import type { LastError } from './messenger.ts';

/** What went wrong without ending a call: the last of it is kept for `state`, all of it is told to listeners. */
export class Faults {
  readonly listeners = new Listeners<Error>();
  readonly #now: () => number;
  #last: LastError | undefined;

  constructor(now: () => number) {
    this.#now = now;
  }

  get last(): LastError | undefined {
    return this.#last;
  }

  /** Takes a CarillonError, or what a callback or listener threw (kept as INTERNAL, told as it is). */
  readonly report = (error: Error): void => {
    const at = this.#now();
    this.#last = error instanceof CarillonError
      ? { code: error.code, detail: error.detail ?? error.message, at }
      : { code: 'CALLBACK_FAILED', detail: `a callback threw: ${error.message}`, at };
    // A listener of errors that throws has nobody left to tell.
    this.listeners.emit(error, () => undefined);
  };
}
