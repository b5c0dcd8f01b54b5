/** Enough for four minutes of looking four times a second; beyond it ages are told in coarser steps. */
const SIGHTINGS_MAX = 1_000;

/**
 * How far the bucket is behind the database. Records carry no time, but a position was handed out no later than when a head at or
 * above it was first seen; that tells how long the oldest has waited.
 */
export class Backlog {
  #sightings: { readonly head: number; readonly atMs: number }[] = [];
  #position = 0;
  #head = 0;

  /** Takes what the database says: its head and the first position that is not in the bucket. */
  look(head: number, firstPending: number | undefined, nowMs: number): void {
    if (head > this.#head || this.#sightings.length === 0) this.#sightings.push({ head, atMs: nowMs });
    this.#head = head;
    this.#position = firstPending === undefined ? head : firstPending - 1;
    this.#sightings = this.#sightings.filter((sighting) => sighting.head > this.#position);
    if (this.#sightings.length > SIGHTINGS_MAX) this.#sightings.splice(1, 1);
  }

  /** Everything up to it is in the bucket, as far as the database knows. */
  get position(): number {
    return this.#position;
  }

  /** Positions handed out and not in the bucket. */
  get pending(): number {
    return this.#head - this.#position;
  }

  /** How long the oldest of them waits, in ms; 0 when none does. */
  oldestMs(nowMs: number): number {
    const [oldest] = this.#sightings;
    return oldest === undefined ? 0 : Math.max(0, nowMs - oldest.atMs);
  }
}
