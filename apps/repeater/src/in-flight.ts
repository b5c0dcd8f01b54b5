/**
 * Events that were handed to the hub and wait for its answer, by id; and how many there may be:
 *
 *   as a rule                                                  IN_FLIGHT_MAX
 *   after the hub refused one for now                          1, and one more for each that it takes
 *   while one of those is there that made the hub close        1, so that the next close tells which it was
 */
/** At the default pace of a backlog, the events of a round trip of 200 ms. */
const IN_FLIGHT_MAX = 4_096;

export class InFlight {
  readonly #keys = new Map<string, number>();
  #suspects = new Set<string>();
  #window = IN_FLIGHT_MAX;

  get size(): number {
    return this.#keys.size;
  }

  get isFull(): boolean {
    return this.#keys.size >= (this.#suspects.size > 0 ? 1 : this.#window);
  }

  /** The key of the oldest of them. */
  get firstKey(): number | undefined {
    return this.#keys.size === 0 ? undefined : Math.min(...this.#keys.values());
  }

  add(id: string, key: number): void {
    this.#keys.set(id, key);
  }

  keyOf(id: string): number | undefined {
    return this.#keys.get(id);
  }

  /** The hub took these, or refused them for good: answers the keys of those that waited. */
  answered(ids: readonly string[]): readonly number[] {
    const keys: number[] = [];
    for (const id of ids) {
      const key = this.#keys.get(id);
      if (key === undefined) continue;
      this.#keys.delete(id);
      this.#suspects.delete(id);
      keys.push(key);
    }
    this.#window = Math.min(IN_FLIGHT_MAX, this.#window + keys.length);
    return keys;
  }

  /** Those from this key on go again, with few at first. */
  takeBack(fromKey: number): void {
    for (const [id, key] of this.#keys) if (key >= fromKey) this.#keys.delete(id);
    this.#window = 1;
  }

  /** The link is gone. If it is for one of the frames, answers the key of that frame when it is certain which. */
  lost(isForFrame: boolean): number | undefined {
    const [only] = this.#keys;
    const culprit = isForFrame && this.#keys.size === 1 ? only : undefined;
    if (culprit !== undefined) this.#suspects.delete(culprit[0]);
    else if (isForFrame) this.#suspects = new Set(this.#keys.keys());
    this.#keys.clear();
    this.#window = IN_FLIGHT_MAX;
    return culprit?.[1];
  }

  /** Nothing is kept any more: what was suspected has gone some other way. */
  clearSuspects(): void {
    this.#suspects.clear();
  }
}
