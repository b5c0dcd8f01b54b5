/** A part of a process that has something to finish or to close. */
export interface Component {
  /** Names the part in logs. */
  readonly name: string;
  /** Accepts nothing new and finishes what is held; gives up when the signal aborts, which is the deadline. */
  drain?(signal: AbortSignal): Promise<void>;
  /** Closes what is open; called once, after every part was drained, and also when the process could not start. */
  stop(): Promise<void>;
}

/** How draining went: parts that the deadline cut short, and parts that failed. */
export interface DrainOutcome {
  readonly unfinished: readonly string[];
  readonly failures: readonly Error[];
}

/** The parts of one process in the order they were started. */
export class ComponentStack {
  readonly #components: Component[] = [];
  #closed = false;

  /** Takes charge of a started part; throws once everything was stopped, since nobody would stop this one. */
  add(component: Component): void {
    if (this.#closed) throw new Error(`The component ${component.name} came after the process had stopped.`);
    this.#components.push(component);
  }

  /** Drains every part at once and waits until all are done or the signal aborts. Never rejects. */
  async drainAll(signal: AbortSignal): Promise<DrainOutcome> {
    const unfinished: string[] = [];
    const failures: Error[] = [];
    const drainOne = async (component: Component): Promise<void> => {
      if (component.drain === undefined) return;
      try {
        if ((await settledBefore(signal, component.drain(signal))) === 'aborted') unfinished.push(component.name);
      } catch (error) {
        if (signal.aborted) unfinished.push(component.name);
        else failures.push(failure(component, 'drain', error));
      }
    };
    await Promise.all(this.#components.map(drainOne));
    return { unfinished, failures };
  }

  /** Stops the parts one after the other, the last started first, each within the time given. Never rejects: failures are handed back. */
  async stopAll(timeoutMs: number): Promise<readonly Error[]> {
    const failures: Error[] = [];
    for (let component = this.#components.pop(); component !== undefined; component = this.#components.pop()) {
      const deadline = new AbortController();
      const timer = setTimeout(() => deadline.abort(), timeoutMs);
      try {
        if ((await settledBefore(deadline.signal, component.stop())) === 'aborted') {
          failures.push(new Error(`${component.name} did not stop within ${timeoutMs} ms`));
        }
      } catch (error) {
        failures.push(failure(component, 'stop', error));
      } finally {
        clearTimeout(timer);
      }
    }
    this.#closed = true;
    return failures;
  }
}

/** Waits for the work or for the signal, whichever is first; a rejection that comes after the signal is nobody's any more. */
export async function settledBefore(signal: AbortSignal, work: Promise<unknown>): Promise<'settled' | 'aborted'> {
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<'aborted'>((resolve) => {
    onAbort = () => resolve('aborted');
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work.then(() => 'settled' as const), aborted]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  }
}

/** The log's error serializer appends the cause's own text. */
function failure(component: Component, verb: 'drain' | 'stop', cause: unknown): Error {
  return new Error(`${component.name} could not ${verb}`, { cause });
}
