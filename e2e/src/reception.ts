import type { ReceivedEvent } from '@carillon/messenger';

import { readCounted } from './counted-event.ts';

/** What one subscriber got from each publisher, and everything that was wrong with it. */
export class Reception {
  delivered = 0;
  duplicates = 0;
  reordered = 0;
  torn = 0;
  readonly #seen = new Map<string, Set<number>>();
  readonly #last = new Map<string, number>();
  #missed = new Map<string, number>();

  readonly take = (event: ReceivedEvent): void => {
    this.delivered += 1;
    const counted = readCounted(event);
    if (counted === undefined) {
      this.torn += 1;
      return;
    }
    const { publisher, counter } = counted;
    const seen = this.#seen.get(publisher) ?? new Set();
    this.#seen.set(publisher, seen);
    if (seen.has(counter)) {
      this.duplicates += 1;
      return;
    }
    seen.add(counter);
    const last = this.last(publisher);
    if (counter < last) {
      this.reordered += 1;
      return;
    }
    if (last !== 0 && counter > last + 1) this.#missed.set(publisher, this.missed(publisher) + counter - last - 1);
    this.#last.set(publisher, counter);
  };

  /** The highest counter of a publisher so far; 0 before the first. */
  last(publisher: string): number {
    return this.#last.get(publisher) ?? 0;
  }

  has(publisher: string, counter: number): boolean {
    return this.#seen.get(publisher)?.has(counter) === true;
  }

  /** How many of a publisher's events were left out since `forgetMissed()`. */
  missed(publisher: string): number {
    return this.#missed.get(publisher) ?? 0;
  }

  forgetMissed(): void {
    this.#missed = new Map();
  }
}
