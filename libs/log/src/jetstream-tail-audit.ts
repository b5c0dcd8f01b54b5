// What is kept to be counted: a window with more is read instead.
const GIVEN_MAX = 50_000;

/** What a tail was given since a sequence, for the comparison with how much was stored. */
export class TailAudit {
  #after = 0;
  #given: number[] = [];
  #isTooMuch = false;

  /** Up to it everything was given. */
  get after(): number {
    return this.#after;
  }

  /** Everything up to a sequence was given: from there on it counts. */
  begin(after: number): void {
    this.#after = after;
    this.#given = this.#given.filter((seq) => seq > after);
    this.#isTooMuch = false;
  }

  gave(seq: number): void {
    if (this.#given.length < GIVEN_MAX) this.#given.push(seq);
    else this.#isTooMuch = true;
  }

  /** Events given of the window that ends with a sequence; undefined: it was not counted. */
  countTo(upTo: number): number | undefined {
    if (this.#isTooMuch) return undefined;
    return this.#given.filter((seq) => seq > this.#after && seq <= upTo).length;
  }
}
