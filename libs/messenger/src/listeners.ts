import { toError } from './to-error.ts';

/** Those who asked to hear of something. What one of them throws goes to `onThrow`, and the others are told all the same. */
export class Listeners<T> {
  #entries: readonly { readonly listener: (value: T) => void }[] = [];

  /** Adds one and returns what removes it. */
  add(listener: (value: T) => void): () => void {
    const entry = { listener };
    this.#entries = [...this.#entries, entry];
    return () => {
      this.#entries = this.#entries.filter((other) => other !== entry);
    };
  }

  emit(value: T, onThrow: (error: Error) => void): void {
    for (const { listener } of this.#entries) {
      try {
        listener(value);
      } catch (thrown) {
        onThrow(toError(thrown));
      }
    }
  }
}
