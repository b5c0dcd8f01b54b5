import type { BusLog, BusState } from './bus.ts';

/** The state of one bus and those who want to know about it. */
export class ObservedState {
  #state: BusState;
  readonly #log: BusLog;
  readonly #listeners = new Set<(state: BusState) => void>();

  constructor(first: BusState, log: BusLog) {
    this.#state = first;
    this.#log = log;
  }

  get current(): BusState {
    return this.#state;
  }

  listen(listener: (state: BusState) => void): () => void {
    // A function of its own, so that the same listener may be added twice and each removed once.
    const own = (state: BusState) => listener(state);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  enter(state: BusState): void {
    if (state === this.#state) return;
    this.#state = state;
    for (const listener of [...this.#listeners]) {
      try {
        listener(state);
      } catch (error) {
        this.#log({ level: 'error', text: 'A listener to the state of the bus threw', fields: { state, error } });
      }
    }
  }
}
