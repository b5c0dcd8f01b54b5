/** Time as a log needs it: for tests it is theirs. */
export interface LogClock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Milliseconds since some moment, whatever the clock on the wall is set to: what deadlines of this process are measured by. */
  elapsed(): number;
  /** Calls back once after so long; gives what ends it. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): () => void;
}

export const systemClock: LogClock = {
  now: Date.now,
  elapsed: () => performance.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs).unref();
    return () => clearTimeout(timer);
  },
};

interface Due {
  readonly atMs: number;
  readonly run: () => void;
}

// setTimeout's bound.
const TIMER_MAX_MS = 2_147_483_647;

/** All deadlines of a log on one timer: a binary heap, soonest first. What no longer matters when it is due finds that out itself. */
export class DueTimes {
  readonly #clock: LogClock;
  readonly #heap: Due[] = [];
  #cancel: (() => void) | undefined;
  #armedAtMs = Infinity;
  #isClosed = false;

  constructor(clock: LogClock) {
    this.#clock = clock;
  }

  add(delayMs: number, run: () => void): void {
    if (this.#isClosed) return;
    const atMs = this.#clock.elapsed() + delayMs;
    let index = this.#heap.push({ atMs, run }) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if ((this.#heap[parent]?.atMs ?? 0) <= atMs) break;
      this.#swap(index, parent);
      index = parent;
    }
    this.#arm();
  }

  close(): void {
    this.#isClosed = true;
    this.#heap.length = 0;
    this.#cancel?.();
  }

  #arm(): void {
    const atMs = this.#heap[0]?.atMs;
    if (atMs === undefined || atMs >= this.#armedAtMs) return;
    this.#cancel?.();
    this.#armedAtMs = atMs;
    this.#cancel = this.#clock.after(Math.min(Math.max(atMs - this.#clock.elapsed(), 0), TIMER_MAX_MS), () => this.#fire());
  }

  #fire(): void {
    this.#armedAtMs = Infinity;
    this.#cancel = undefined;
    const nowMs = this.#clock.elapsed();
    for (let first = this.#heap[0]; first !== undefined && first.atMs <= nowMs; first = this.#heap[0]) {
      this.#removeFirst();
      first.run();
    }
    this.#arm();
  }

  #removeFirst(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    for (let index = 0; ; ) {
      let first = index;
      for (const child of [2 * index + 1, 2 * index + 2]) if ((this.#heap[child]?.atMs ?? Infinity) < (this.#heap[first]?.atMs ?? Infinity)) first = child;
      if (first === index) return;
      this.#swap(index, first);
      index = first;
    }
  }

  #swap(one: number, other: number): void {
    const [a, b] = [this.#heap[one], this.#heap[other]];
    if (a === undefined || b === undefined) return;
    this.#heap[one] = b;
    this.#heap[other] = a;
  }
}
