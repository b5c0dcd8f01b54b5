import { backoffMs, CarillonError, DEFAULT_LIMITS, formatControl, type BackoffOptions, type ControlFrame } from '@carillon/wire';
import type { Asking } from './asking.ts';
import type { Clock } from './clock.ts';
import { hubError } from './hub-error.ts';
import { StandingRequest, type AnswerFrame, type StandingRole } from './standing-request.ts';

export interface StandingRequestsOptions {
  readonly clock: Clock;
  readonly backoff: Pick<BackoffOptions, 'firstMs' | 'capMs'>;
  /** Hears what goes wrong without ending a call. */
  readonly report: (error: Error) => void;
  /** Something is to be told to the hub. */
  readonly onChange: () => void;
}

const utf8 = new TextEncoder();

/**
 * Consumers, entered and watched rooms in the second protocol: asked for on every connection, each time under a new name.
 * What the hub refuses for now is asked again after a pause, with the backoff of publishes.
 */
export class StandingRequests implements Asking {
  readonly #options: StandingRequestsOptions;
  readonly #all = new Set<StandingRequest>();
  readonly #byName = new Map<string, StandingRequest>();
  readonly #toAsk = new Set<StandingRequest>();
  readonly #paused = new Set<StandingRequest>();
  readonly #speaking = new Set<StandingRequest>();
  #toDrop: string[] = [];
  #counter = 0;
  #attempt = 0;
  #stopPause: () => void = () => undefined;

  constructor(options: StandingRequestsOptions) {
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#all.size === 0;
  }

  get isPending(): boolean {
    return this.#toAsk.size > 0 || this.#toDrop.length > 0 || this.#speaking.size > 0;
  }

  /** Whether something was said that the hub is to answer. */
  get isSettling(): boolean {
    for (const { role } of this.#all) if (role.isSettling === true) return true;
    return false;
  }

  open(role: StandingRole): StandingRequest {
    const request = new StandingRequest(role, (closed) => this.#remove(closed));
    this.#all.add(request);
    this.#toAsk.add(request);
    this.#options.onChange();
    return request;
  }

  /** Its role has something to say. */
  speak(request: StandingRequest): void {
    if (!this.#all.has(request)) return;
    this.#speaking.add(request);
    this.#options.onChange();
  }

  /** The connection is gone: the next hub knows nothing. */
  forget(): void {
    this.#stopPause();
    this.#paused.clear();
    this.#speaking.clear();
    this.#byName.clear();
    this.#toDrop = [];
    for (const request of this.#all) {
      request.lost();
      this.#toAsk.add(request);
    }
  }

  /** Ends all of them: `why` for those who wait, `error` for readers. */
  end(why: CarillonError, error: CarillonError | undefined): void {
    this.#stopPause();
    const ended = [...this.#all];
    this.#all.clear();
    this.#toAsk.clear();
    this.#paused.clear();
    this.#speaking.clear();
    this.#byName.clear();
    this.#toDrop = [];
    for (const request of ended) request.end(why, error);
  }

  /** Settled deliveries before anything that ends a membership. */
  changes(): string[] {
    const texts: string[] = [];
    for (const request of this.#speaking) if (request.name !== undefined) for (const frame of request.role.says?.(request.name) ?? []) texts.push(formatControl(frame));
    this.#speaking.clear();
    for (const request of [...this.#toAsk]) {
      const name = `__${(this.#counter += 1)}`;
      const text = formatControl(request.role.ask(name));
      if (utf8.encode(text).length > DEFAULT_LIMITS.controlMaxBytes) {
        this.#refuse(request, new CarillonError('CONTROL_TOO_LARGE', 'ask for patterns, or for fewer rooms at once'));
        continue;
      }
      this.#byName.set(name, request);
      request.asked(name);
      texts.push(text);
    }
    this.#toAsk.clear();
    for (const request of this.#toDrop) texts.push(formatControl({ op: 'unsubscribe', request }));
    this.#toDrop = [];
    return texts;
  }

  /** What goes by this name on the connection of the moment. */
  named(name: string): StandingRequest | undefined {
    return this.#byName.get(name);
  }

  /** Hears of a request; false when it is none of these. */
  hear(frame: AnswerFrame | Extract<ControlFrame, { readonly op: 'error' }>): boolean {
    const request = this.#byName.get(frame.request ?? '');
    if (request === undefined) return false;
    if (frame.op === 'error') {
      this.#refused(request, hubError(frame));
    } else {
      this.#attempt = 0;
      request.hear(frame);
    }
    return true;
  }

  #refused(request: StandingRequest, error: CarillonError): void {
    if (request.isInForce && request.role.refused?.(error) === true) return;
    if (!error.retryable && error.code !== 'REQUEST_UNKNOWN') return this.#refuse(request, error);
    const { backoff, clock, onChange, report } = this.#options;
    report(error);
    // One that was in force may still be there under its name.
    if (request.isInForce) this.#drop(request);
    else this.#byName.delete(request.name ?? '');
    request.lost();
    this.#paused.add(request);
    if (this.#paused.size > 1) return;
    const delayMs = backoffMs(this.#attempt, { ...backoff, factor: 2, random: () => clock.random() });
    this.#attempt += 1;
    this.#stopPause = clock.schedule(() => {
      for (const paused of this.#paused) this.#toAsk.add(paused);
      this.#paused.clear();
      onChange();
    }, delayMs);
  }

  #refuse(request: StandingRequest, error: CarillonError): void {
    this.#forget(request);
    this.#options.report(error);
    request.end(error, error);
  }

  #remove(request: StandingRequest): void {
    this.#drop(request);
    this.#forget(request);
    this.#options.onChange();
  }

  #drop({ name }: StandingRequest): void {
    if (name !== undefined && this.#byName.delete(name)) this.#toDrop.push(name);
  }

  #forget(request: StandingRequest): void {
    this.#all.delete(request);
    this.#toAsk.delete(request);
    this.#speaking.delete(request);
    this.#byName.delete(request.name ?? '');
    if (this.#paused.delete(request) && this.#paused.size === 0) this.#stopPause();
  }
}
