/**
 * Readers of the log take turns: one page for each turn of the event loop, in the order they asked. So five hundred that
 * catch up at once delay a live event by one page, not by five hundred.
 */
export class PageTurns {
  readonly #schedule: (next: () => void) => void;
  #waiting: (() => void)[] = [];
  #scheduled = false;

  constructor(schedule: (next: () => void) => void = setImmediate) {
    this.#schedule = schedule;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Resolves when it is the caller's turn. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#run();
    });
  }

  #run(): void {
    if (this.#scheduled || this.#waiting.length === 0) return;
    this.#scheduled = true;
    this.#schedule(() => {
      this.#scheduled = false;
      this.#waiting.shift()?.();
      this.#run();
    });
  }
}
