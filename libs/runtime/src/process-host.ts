import type { LogOutput } from './log.ts';

/** What surrounds a run: where signals and faults come from, where log lines and the exit code go. */
export interface ProcessHost {
  readonly output: LogOutput;
  /** Hears of SIGTERM and SIGINT, each time. */
  onSignal(listener: (name: 'SIGTERM' | 'SIGINT') => void): void;
  /** Hears of errors that nobody caught. */
  onFault(listener: (error: unknown) => void): void;
  /** Milliseconds on a clock that never goes back. */
  nowMs(): number;
  /** The run is over: the process shall end by itself, with this code. */
  end(code: number): void;
  /** Ends the process at once. */
  exit(code: number): void;
}

/** How long an ended process may live on before it is made to exit: long enough for sockets to close, short enough for a restart. */
const LAST_RESORT_MS = 2_000;

/** The real process. Its listeners stay to the end, so that a second signal forces also while the last things close. */
export function nodeProcess(): ProcessHost {
  // A reader of the log that went away (`… | head`) must not count as a fault, whose log line would be the next fault.
  process.stdout.on('error', () => undefined);
  return {
    output: process.stdout,
    onSignal: (listener) => {
      process.on('SIGTERM', () => listener('SIGTERM'));
      process.on('SIGINT', () => listener('SIGINT'));
    },
    onFault: (listener) => {
      process.on('uncaughtException', listener);
      process.on('unhandledRejection', listener);
    },
    nowMs: () => performance.now(),
    end: (code) => {
      if (code !== 0 || process.exitCode === undefined) process.exitCode = code;
      setTimeout(() => {
        process.stderr.write(`Something still holds the process ${LAST_RESORT_MS} ms after it stopped: exiting.\n`);
        process.exit();
      }, LAST_RESORT_MS).unref();
    },
    exit: (code) => process.exit(code),
  };
}

/** A host that hears no signals and ends nothing: for several runs inside one process, and for tests. */
export interface DetachedHost extends ProcessHost {
  /** The exit code the run ended with; undefined while it runs. */
  exitCode(): number | undefined;
}

/** Makes a detached host; without an output its log lines go nowhere. */
export function detachedHost(output: LogOutput = { write: () => undefined }): DetachedHost {
  let ended: number | undefined;
  const end = (code: number) => {
    ended ??= code;
  };
  return { output, onSignal: () => undefined, onFault: () => undefined, nowMs: () => performance.now(), end, exit: end, exitCode: () => ended };
}
