/** The same sequence of numbers from 0 (inclusive) to 1 (exclusive) for the same seed (mulberry32, public domain). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** One of several. */
export function pick<Item>(items: readonly Item[], random: () => number): Item {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) throw new Error('nothing to pick from');
  return item;
}

/** The seeds of a randomised test: its own, or the one that CARILLON_E2E_SEED names to see a failure again. */
export function seedsOf(own: readonly number[]): readonly number[] {
  const named = process.env['CARILLON_E2E_SEED'];
  return named === undefined || named === '' ? own : [Number(named)];
}
