/** Sequences as runs of neighbours, e.g. `7-9,12`: what a repeater was given, in the order it was. */
export class SeqRuns {
  readonly #runs: { readonly from: number; to: number }[] = [];

  get size(): number {
    return this.#runs.length;
  }

  add(seq: number): void {
    const last = this.#runs.at(-1);
    if (last?.to === seq - 1) last.to = seq;
    else this.#runs.push({ from: seq, to: seq });
  }

  get text(): string {
    return this.#runs.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`)).join(',');
  }
}

/** Whether a sequence is in runs as they are written. */
export function isInRuns(runs: string, seq: number): boolean {
  return runs.split(',').some((run) => {
    const [from = '', to = from] = run.split('-');
    return Number(from) <= seq && seq <= Number(to);
  });
}

interface RoomRun {
  readonly room: string;
  readonly from: number;
  to: number;
}

/**
 * Events of rooms that were kept from somebody, joined while one follows the other in its room: the log says which event is
 * before which, so that a run holds all events of its room between its ends.
 */
export class RoomRuns {
  readonly #open = new Map<string, RoomRun>();
  readonly #done: RoomRun[] = [];

  get size(): number {
    return this.#open.size + this.#done.length;
  }

  add({ room, seq, prevSeq }: { readonly room: string; readonly seq: number; readonly prevSeq: number }): void {
    const run = this.#open.get(room);
    if (run !== undefined && prevSeq === run.to) {
      run.to = seq;
      return;
    }
    if (run !== undefined) this.#done.push(run);
    this.#open.set(room, { room, from: seq, to: seq });
  }

  take(): readonly Readonly<RoomRun>[] {
    const runs = [...this.#done, ...this.#open.values()];
    this.#done.length = 0;
    this.#open.clear();
    return runs;
  }
}
