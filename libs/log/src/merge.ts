/** A source of rising sequences; undefined once it has no more. */
export type SeqSource = () => number | undefined;

interface Head {
  seq: number;
  readonly source: SeqSource;
}

/** Sequences of many sources in one order: rising, or falling when all of them fall. A binary heap of their heads. */
export function* mergeSequences(sources: Iterable<SeqSource>, direction: 'rising' | 'falling' = 'rising'): Generator<number, void, undefined> {
  const before = direction === 'rising' ? (one: number, other: number) => one < other : (one: number, other: number) => one > other;
  const heap: Head[] = [];
  for (const source of sources) {
    const seq = source();
    if (seq !== undefined) heap.push({ seq, source });
  }
  for (let index = (heap.length >> 1) - 1; index >= 0; index -= 1) sink(heap, index, before);
  for (let head = heap[0]; head !== undefined; head = heap[0]) {
    yield head.seq;
    const next = head.source();
    if (next !== undefined) head.seq = next;
    else {
      const last = heap.pop();
      if (last !== undefined && heap.length > 0) heap[0] = last;
    }
    sink(heap, 0, before);
  }
}

function sink(heap: Head[], from: number, before: (one: number, other: number) => boolean): void {
  for (let index = from; ; ) {
    const left = 2 * index + 1;
    const right = left + 1;
    let first = index;
    for (const child of [left, right]) {
      const [one, other] = [heap[child], heap[first]];
      if (one !== undefined && other !== undefined && before(one.seq, other.seq)) first = child;
    }
    if (first === index) return;
    const [one, other] = [heap[index], heap[first]];
    if (one === undefined || other === undefined) return;
    heap[index] = other;
    heap[first] = one;
    index = first;
  }
}
