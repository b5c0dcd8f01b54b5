import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const PRELOAD = pathToFileURL(join(import.meta.dirname, 'clock-step.ts')).href;

/** The wall clock of one process, which may be set while it runs (clock-step.ts does it, inside of the process). */
export class SteppedClock {
  /** What the process is to be started with; it keeps the step over restarts. */
  readonly env: Readonly<Record<string, string>>;
  readonly #file: string;

  /** The file is made, the clock is right. */
  constructor(file: string) {
    this.#file = file;
    this.env = { CHAOS_CLOCK_FILE: file, NODE_OPTIONS: `--import tsx --import ${PRELOAD}` };
    writeFileSync(file, '0');
  }

  /** Sets it so many milliseconds ahead of the machine's; 0 sets it right. */
  step(aheadMs: number, process: { kill(signal: NodeJS.Signals): void }): void {
    writeFileSync(this.#file, `${aheadMs}`);
    process.kill('SIGUSR2');
  }
}
