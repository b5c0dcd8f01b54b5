import type { LogState } from './event-log.ts';

/** The state of a log and who hears of it. A listener that throws is told of, and keeps nobody else from hearing. */
export class LogStates {
  readonly #listeners = new Set<(state: LogState) => void>();
  readonly #threw: (state: LogState, error: unknown) => void;
  #state: LogState;

  constructor(state: LogState, threw: (state: LogState, error: unknown) => void) {
    this.#state = state;
    this.#threw = threw;
  }

  get state(): LogState {
    return this.#state;
  }

  listen(listener: (state: LogState) => void): () => void {
    // A function of its own for each call: the same listener may be given twice.
    const hear = (state: LogState): void => listener(state);
    this.#listeners.add(hear);
    return () => void this.#listeners.delete(hear);
  }

  enter(state: LogState): void {
    if (this.#state === state) return;
    this.#state = state;
    for (const listener of [...this.#listeners]) {
      try {
        listener(state);
      } catch (error) {
        this.#threw(state, error);
      }
    }
  }
}
