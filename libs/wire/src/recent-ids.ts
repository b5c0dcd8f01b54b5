/**
 * Remembers the ids of events that came, so that one that comes again, or by two ways, is taken once. Two generations of a
 * bounded number, about 100 bytes an id: an id is known for at least `generationMax` later ids.
 */
export class RecentIds {
  readonly #generationMax: number;
  #current = new Set<string>();
  #previous = new Set<string>();

  constructor(generationMax: number) {
    this.#generationMax = generationMax;
  }

  /** True the first time an id is seen. */
  add(id: string): boolean {
    if (this.#current.has(id) || this.#previous.has(id)) return false;
    if (this.#current.size >= this.#generationMax) {
      this.#previous = this.#current;
      this.#current = new Set();
    }
    this.#current.add(id);
    return true;
  }
}
