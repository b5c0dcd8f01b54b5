/** A process of a run, as far as it is watched. */
export interface WatchedProcess {
  readonly name: string;
  /** It should be running now: nobody killed it. */
  readonly isUp: boolean;
  /** Resident memory; 0 once it has ended. */
  rssBytes(): number;
  /** What it printed last. */
  lastWords(): string;
}

const LOOK_MS = 250;

/** Looks at processes four times a second: how much memory they have at most, and whether one ends by itself. */
export class ProcessWatch {
  /** Rejects when a process ends that nobody ended. */
  readonly fell: Promise<never>;
  /** How often they were looked at. */
  looks = 0;
  readonly #largest = new Map<string, number>();
  readonly #processes: readonly WatchedProcess[];
  readonly #timer: NodeJS.Timeout;

  constructor(processes: readonly WatchedProcess[]) {
    this.#processes = processes;
    let fall: (error: Error) => void = () => undefined;
    this.fell = new Promise((_, reject) => (fall = reject));
    this.fell.catch(() => undefined); // nobody may be waiting
    this.#timer = setInterval(() => {
      const [fallen] = this.#look();
      if (fallen !== undefined) fall(new Error(`${fallen.name} ended by itself. It printed last:\n${fallen.lastWords()}`));
    }, LOOK_MS);
  }

  /** The most memory that each has had, bytes. */
  get largest(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#largest);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Those that should run and do not. */
  #look(): readonly WatchedProcess[] {
    this.looks += 1;
    return this.#processes.filter((one) => {
      const bytes = one.rssBytes();
      this.#largest.set(one.name, Math.max(this.#largest.get(one.name) ?? 0, bytes));
      return one.isUp && bytes === 0;
    });
  }
}
