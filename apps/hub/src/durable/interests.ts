import type { LogTail } from '@carillon/log';

/** Which patterns the tail of the log brings, counted: a pattern is asked for by its first reader and dropped after its last. */
export class Interests {
  readonly #tail: LogTail;
  readonly #failed: (error: unknown) => void;
  readonly #wanted = new Map<string, { count: number; since: Promise<number>; hasFailed: boolean }>();

  constructor(tail: LogTail, failed: (error: unknown) => void) {
    this.#tail = tail;
    this.#failed = failed;
  }

  get size(): number {
    return this.#wanted.size;
  }

  /** Resolves with a sequence after which every event of the pattern comes. */
  add(pattern: string): Promise<number> {
    const known = this.#wanted.get(pattern);
    if (known !== undefined && !known.hasFailed) {
      known.count += 1;
      return known.since;
    }
    const asked = { count: (known?.count ?? 0) + 1, since: this.#tail.add(pattern), hasFailed: false };
    // Whoever does not wait for it must not bring the process down; whoever does hears it as well, and may ask again.
    asked.since.catch((error: unknown) => {
      asked.hasFailed = true;
      this.#failed(error);
    });
    this.#wanted.set(pattern, asked);
    return asked.since;
  }

  /** What `add` gave for a pattern that is wanted; undefined: nobody wants it. */
  since(pattern: string): Promise<number> | undefined {
    return this.#wanted.get(pattern)?.since;
  }

  remove(pattern: string): void {
    const known = this.#wanted.get(pattern);
    if (known === undefined) return;
    known.count -= 1;
    if (known.count > 0) return;
    this.#wanted.delete(pattern);
    this.#tail.remove(pattern);
  }
}
