import { LogError, type EventLog, type LogErrorCode } from '@carillon/log';

type Call = 'append' | 'bounds' | 'consumer' | 'read' | 'readLast' | 'sequenceAt' | 'tail.add';

/** A log that does what it is told to do wrong, and everything else right. */
export interface FailingLog {
  readonly wrap: (log: EventLog) => EventLog;
  /** Has the next calls of a kind fail, so many of them. */
  fail(call: Call, times: number, error: LogErrorCode | Error): void;
  /** Calls that were failed so far. */
  readonly failed: number;
  /** Has calls of a kind wait for what it gives back to be called. */
  hold(call: Call): () => void;
  /** Calls that wait. */
  readonly held: number;
}

export function createFailingLog(): FailingLog {
  const due = new Map<string, { left: number; readonly error: LogErrorCode | Error }>();
  const gates = new Map<string, Promise<void>>();
  let failed = 0;
  let held = 0;
  const failure = (call: string): Error | undefined => {
    const failing = due.get(call);
    if (failing === undefined || failing.left === 0) return undefined;
    failing.left -= 1;
    failed += 1;
    return typeof failing.error === 'string' ? new LogError(failing.error, 'the test says so') : failing.error;
  };
  const wrap = <T extends object>(target: T, prefix: string): T => new Proxy(target, {
    get: (_, name) => {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return (...given: unknown[]): unknown => {
        const error = failure(`${prefix}${String(name)}`);
        if (error !== undefined) return Promise.reject(error);
        const gate = gates.get(`${prefix}${String(name)}`);
        if (gate !== undefined) {
          held += 1;
          return gate.then((): unknown => Reflect.apply(member, target, given));
        }
        const result: unknown = Reflect.apply(member, target, given);
        return name === 'tail' ? wrap(result as object, 'tail.') : result;
      };
    },
  });
  return {
    wrap: (log) => wrap(log, ''),
    fail: (call, times, error) => void due.set(call, { left: times, error }),
    hold: (call) => {
      let open = (): void => undefined;
      gates.set(call, new Promise((resolve) => (open = resolve)));
      return () => {
        gates.delete(call);
        held = 0;
        open();
      };
    },
    get failed() {
      return failed;
    },
    get held() {
      return held;
    },
  };
}
