import { createAdminServer } from './admin-server.ts';
import { ComponentStack, settledBefore, type Component } from './component.ts';
import { Health } from './health.ts';
import { nextState, type LifecycleEvent, type LifecycleState } from './lifecycle.ts';
import { listen } from './listen.ts';
import type { ListenAddress } from './listen-address.ts';
import { createLogger, type Logger, type LogLevel } from './log.ts';
import { Metrics } from './metrics.ts';
import { nodeProcess, type ProcessHost } from './process-host.ts';
import { observeProcess } from './process-metrics.ts';

// created → starting (admin server, then the app's start) → running → draining (all parts at once) → stopped | failed (parts in reverse).
// The admin server is the first part, hence the last to stop: probes get their 503 to the end.

/** What an app's start is given. */
export interface ProcessContext {
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly health: Health;
  /** Aborts when draining begins, also when it begins before the start is done. */
  readonly signal: AbortSignal;
  /** Hands over a part that was started; parts are drained together and stopped in reverse order. */
  add(component: Component): void;
}

/** What to run. */
export interface ProcessOptions {
  readonly name: string;
  readonly version: string;
  readonly adminListen: ListenAddress;
  readonly logLevel: LogLevel;
  /** How long draining may take in all; 0 = what is held is dropped at once. */
  readonly drainTimeoutMs: number;
  /** Starts the app; what it started before it rejects is stopped all the same, if it was added. */
  readonly start: (context: ProcessContext) => Promise<void>;
  /** Default: the real process. */
  readonly host?: ProcessHost;
}

/** A process that was started. */
export interface RunningProcess {
  /** Where the admin server really listens. */
  readonly adminAddress: ListenAddress;
  /** Drains and stops; asked twice it is done once. Never rejects: failures are in the log and in the exit code. */
  stop(reason: string): Promise<void>;
  /** Resolves when everything is stopped, whatever the reason was. */
  readonly stopped: Promise<void>;
}

/** A part that does not stop within this is left behind: with a drain of 10 s it still fits Kubernetes' grace period of 30 s. */
const STOP_TIMEOUT_MS = 5_000;
/** Ctrl-C reaches a child of npm twice, from the terminal and from npm (run-script's signal-manager): that is one wish, not two. */
const SAME_SIGNAL_MS = 300;
const EXIT_OK = 0;
const EXIT_FAILED = 1;

/**
 * Runs an app: admin server, signals, faults, drain and stop. Resolves when it runs (or was told to stop before it did);
 * rejects, after everything was stopped and logged, with the error that kept it from starting.
 * Exit code 0 after a stop that was asked for, 1 after a start failure, an uncaught error or a part that failed to drain or stop.
 */
export function runProcess(options: ProcessOptions): Promise<RunningProcess> {
  return new ProcessRun(options).start();
}

class ProcessRun {
  readonly #options: ProcessOptions;
  readonly #host: ProcessHost;
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #health = new Health();
  readonly #components = new ComponentStack();
  readonly #draining = new AbortController();
  readonly #stopped: Promise<void>;
  #resolveStopped: () => void = () => undefined;
  #state: LifecycleState = 'created';
  #starting: Promise<void> = Promise.resolve();
  #firstSignalAtMs: number | undefined;
  /** Start failures and uncaught errors, which are logged when they happen. */
  readonly #faults: unknown[] = [];

  constructor(options: ProcessOptions) {
    this.#options = options;
    this.#host = options.host ?? nodeProcess();
    this.#log = createLogger({ name: options.name, version: options.version, level: options.logLevel, output: this.#host.output });
    this.#metrics = new Metrics((definition, error) => this.#log.error({ metric: definition.name, error }, 'a metric could not be read'));
    this.#stopped = new Promise((resolve) => {
      this.#resolveStopped = resolve;
    });
  }

  async start(): Promise<RunningProcess> {
    this.#log.info({ state: this.#state }, `${this.#options.name} ${this.#options.version} was created`);
    this.#host.onSignal((name) => this.#onSignal(name));
    this.#host.onFault((error) => this.#onFault(error));
    this.#health.addCheck('lifecycle', () => (this.#state === 'running' ? { ok: true } : { ok: false, reason: `the process is ${this.#state}` }));
    this.#enter('start', {});
    try {
      const adminAddress = await this.#startAdmin();
      if (!this.#draining.signal.aborted) await this.#startApp();
      if (!this.#enter('started', { adminAddress })) await this.#stopped;
      return { adminAddress, stop: (reason) => this.stop(reason), stopped: this.#stopped };
    } catch (error) {
      await this.#couldNotStart(error);
      throw error;
    }
  }

  stop(reason: string): Promise<void> {
    if (this.#beginEnd(reason)) void this.#drain().then((failures) => this.#finish(failures));
    return this.#stopped;
  }

  async #startAdmin(): Promise<ListenAddress> {
    this.#components.add(observeProcess(this.#metrics));
    const server = createAdminServer({ health: this.#health, metrics: this.#metrics });
    const address = await listen(server, this.#options.adminListen);
    this.#components.add({
      name: 'admin server',
      stop: () => new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
    });
    return address;
  }

  async #startApp(): Promise<void> {
    const context: ProcessContext = {
      log: this.#log, metrics: this.#metrics, health: this.#health, signal: this.#draining.signal, add: (component) => this.#components.add(component),
    };
    this.#starting = this.#options.start(context);
    try {
      await this.#starting;
    } catch (error) {
      if (!this.#draining.signal.aborted) throw error;
      this.#log.warn({ error }, 'the start was cut short because the process is stopping');
    }
  }

  async #couldNotStart(error: unknown): Promise<void> {
    this.#faults.push(error);
    this.#log.fatal({ error }, `could not start: ${error instanceof Error ? error.message : String(error)}`);
    if (this.#beginEnd('could not start')) void this.#finish([]);
    await this.#stopped;
  }

  #beginEnd(reason: string): boolean {
    if (!this.#enter('drain', { reason })) return false;
    this.#draining.abort(new Error(reason));
    return true;
  }

  /** Waits for a start that is under way, then for all parts, within one deadline. Never rejects: failures come back as values. */
  async #drain(): Promise<readonly Error[]> {
    const { drainTimeoutMs } = this.#options;
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(new Error('the drain deadline passed')), drainTimeoutMs);
    const start = await settledBefore(deadline.signal, this.#starting.catch(() => undefined));
    const { unfinished, failures } = await this.#components.drainAll(deadline.signal);
    clearTimeout(timer);
    const cutShort = start === 'aborted' ? ['start', ...unfinished] : unfinished;
    if (cutShort.length > 0) this.#log.warn({ unfinished: cutShort, drainTimeoutMs }, 'the drain deadline passed before everything was finished');
    return failures;
  }

  async #finish(drainFailures: readonly Error[]): Promise<void> {
    const failures = [...drainFailures, ...(await this.#components.stopAll(STOP_TIMEOUT_MS))];
    if (failures.length > 0) {
      this.#log.error({ error: new AggregateError(failures, `failures while stopping: ${failures.length}`) }, 'not everything drained and stopped cleanly');
    }
    const clean = failures.length === 0 && this.#faults.length === 0;
    this.#enter(clean ? 'finish' : 'fail', {});
    this.#host.end(clean ? EXIT_OK : EXIT_FAILED);
    this.#resolveStopped();
  }

  #onSignal(name: string): void {
    const nowMs = this.#host.nowMs();
    if (this.#firstSignalAtMs === undefined) {
      this.#firstSignalAtMs = nowMs;
      void this.stop(`received ${name}`);
      return;
    }
    if (nowMs - this.#firstSignalAtMs < SAME_SIGNAL_MS) return;
    this.#log.fatal({ state: this.#state }, `a second signal (${name}) forces the exit`);
    this.#host.exit(EXIT_FAILED);
  }

  #onFault(error: unknown): void {
    // A start failure rejects `runProcess`; a launcher that only awaits it lets it come back here.
    if (this.#faults.includes(error)) return;
    this.#faults.push(error);
    this.#log.fatal({ error }, 'an error was not caught: stopping');
    void this.stop('an error was not caught');
  }

  #enter(event: LifecycleEvent, fields: object): boolean {
    const next = nextState(this.#state, event);
    if (next === undefined) return false;
    this.#state = next;
    this.#log[next === 'failed' ? 'error' : 'info']({ ...fields, state: next }, `${this.#options.name} is ${next}`);
    return true;
  }
}
