import type { Settle } from './abort.ts';

/** Those who wait for the next value of an iterable. It ends once: with an error, which one of them gets, then with nothing. */
export class Readers<T> {
  #waiting: Settle<IteratorResult<T, undefined>>[] = [];
  #isEnded = false;
  #error: Error | undefined;

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Hands a value to who has waited longest; false when nobody waits. */
  give(value: T): boolean {
    const reader = this.#waiting.shift();
    reader?.resolve({ done: false, value });
    return reader !== undefined;
  }

  /** Nothing comes any more; the first end counts. */
  end(error?: Error): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#error = error;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const reader of waiting) this.#finish(reader);
  }

  /** Nobody is to hear of the error any more. */
  forgive(): void {
    this.#error = undefined;
  }

  /** The next value that is given, or the end. */
  next(): Promise<IteratorResult<T, undefined>> {
    return new Promise((resolve, reject) => {
      const reader = { resolve, reject };
      if (this.#isEnded) this.#finish(reader);
      else this.#waiting.push(reader);
    });
  }

  #finish(reader: Settle<IteratorResult<T, undefined>>): void {
    const error = this.#error;
    this.#error = undefined;
    if (error === undefined) reader.resolve({ done: true, value: undefined });
    else reader.reject(error);
  }
}
