import { backoffMs, CarillonError, type ErrorCode } from '@carillon/wire';
import { abortable, type Settle } from './abort.ts';
import type { Clock } from './clock.ts';
import { hubError } from './hub-error.ts';
import { frameFor, type OutgoingEvent } from './outgoing-frame.ts';
import { publishedAs, type Published, type PublishedFrame } from './published.ts';
import type { Welcome } from './welcome.ts';

/** What takes frames: a connection that is open. */
export interface FrameSink {
  readonly isOpen: boolean;
  readonly bufferedBytes: number;
  /** What the hub said of itself, when it speaks the second protocol. */
  readonly welcome: Welcome | undefined;
  send(frame: Uint8Array | string): void;
}

/**
 * The socket keeps what it cannot write yet, without a bound of its own; beyond this much frames wait here, where there
 * is one. 1 MiB every `FLUSH_RETRY_MS` (session.ts) is 100 MB/s.
 */
export const SOCKET_MAX_BYTES = 1_048_576;
/** Small frames cost more memory than their bytes say. */
export const OUTBOUND_MAX_FRAMES = 65_536;

/** Refusals that are not for long (the hub that drains is about to close): the event goes again, with its id. */
const RETRIED: ReadonlySet<string> = new Set<ErrorCode>(['LOG_UNAVAILABLE', 'LOG_BACKLOGGED', 'PUBLISHES_EXCEEDED', 'DRAINING']);

interface Entry {
  readonly event: OutgoingEvent;
  /** Counts publishes: they go in this order, also again. */
  readonly order: number;
  readonly settle: Settle<Published>;
  /** Its caller waits no more; the hub has it and will answer. */
  isGivenUp: boolean;
}

export interface OutboundOptions {
  readonly clock: Clock;
  readonly maxBytes: number;
  readonly backoff: { readonly firstMs: number; readonly capMs: number };
  /** A pause is over: `flush` has something to do. */
  readonly onReady: () => void;
}

export interface PublishWait {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

/**
 * Events on their way to the log, in order (SPEC.md, "A publish"):
 *
 *   waiting ──sent──▶ in flight ──published──▶ settled       v1: waiting ──sent──▶ settled
 *      ▲                  │ │
 *      ├─connection lost──┘ └─refused, to be tried again──▶ refused ──all answered, pause over──▶ waiting
 */
export class Outbound {
  readonly #options: OutboundOptions;
  #waiting = new Set<Entry>();
  readonly #inFlight = new Map<string, Entry>();
  #refused: Entry[] = [];
  #bytes = 0;
  #orders = 0;
  #attempt = 0;
  #isPausing = false;
  #stopPause: () => void = () => undefined;

  constructor(options: OutboundOptions) {
    this.#options = options;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  get #count(): number {
    return this.#waiting.size + this.#inFlight.size + this.#refused.length;
  }

  /** Hands an event over or keeps it; call `flush` then. Codes: PUBLISH_QUEUE_FULL, ABORTED, what the hub answers. */
  publish(event: OutgoingEvent, sink: FrameSink | undefined, { signal, timeoutMs }: PublishWait = {}): Promise<Published> {
    if (this.isEmpty && takes(sink) && sink.welcome === undefined) {
      const frame = frameFor(event, undefined);
      if (frame instanceof CarillonError) return Promise.reject(frame);
      sink.send(frame);
      return Promise.resolve({ class: 'sent' });
    }
    if (this.#bytes + event.frame.length > this.#options.maxBytes || this.#count >= OUTBOUND_MAX_FRAMES) {
      return Promise.reject(new CarillonError('PUBLISH_QUEUE_FULL', `${this.#bytes} of ${this.#options.maxBytes} bytes wait`));
    }
    return abortable<Published>(signal, (settle) => {
      const { clock } = this.#options;
      const stopTimer = timeoutMs === undefined ? () => undefined : clock.schedule(() => {
        this.#giveUp(entry);
        settle.reject(new CarillonError('ABORTED', `not answered within ${timeoutMs} ms`));
      }, timeoutMs);
      const entry = { event, order: (this.#orders += 1), settle: stoppingFirst(settle, stopTimer), isGivenUp: false };
      this.#waiting.add(entry);
      this.#bytes += event.frame.length;
      return () => {
        stopTimer();
        this.#giveUp(entry);
      };
    });
  }

  /** Hands over what the sink takes; true when the sink is why something still waits. */
  flush(sink: FrameSink): boolean {
    if (this.#refused.length > 0) return false;
    for (const entry of this.#waiting) {
      if (!takes(sink)) return true;
      if (!this.#hand(entry, sink)) return false;
    }
    return false;
  }

  /** The hub has these. */
  published({ class: reached, events }: PublishedFrame): void {
    for (const [id, seq] of events) {
      const entry = this.#answered(id);
      if (entry === undefined) continue;
      this.#bytes -= entry.event.frame.length;
      entry.settle.resolve(publishedAs(reached, id, seq));
    }
    if (this.#refused.length === 0) this.#attempt = 0;
    this.#pauseWhenAnswered();
  }

  /** The hub refused an event; false when it is none of these. */
  refused(id: string, code: string, detail?: string): boolean {
    const entry = this.#answered(id);
    if (entry === undefined) return false;
    if (RETRIED.has(code) && !entry.isGivenUp) {
      this.#refused.push(entry);
    } else {
      this.#bytes -= entry.event.frame.length;
      entry.settle.reject(hubError({ code, ...(detail === undefined ? {} : { detail }) }));
    }
    this.#pauseWhenAnswered();
    return true;
  }

  /** The connection is gone: what was not answered goes again, before everything else. */
  lost(): void {
    this.#endPause();
    const unanswered = [...this.#inFlight.values()];
    this.#inFlight.clear();
    for (const entry of unanswered) if (entry.isGivenUp) this.#bytes -= entry.event.frame.length;
    this.#goAgain([...this.#refused, ...unanswered.filter(({ isGivenUp }) => !isGivenUp)]);
  }

  /** Gives up everything. */
  reject(error: Error): void {
    this.#endPause();
    for (const entry of [...this.#refused, ...this.#inFlight.values(), ...this.#waiting]) entry.settle.reject(error);
    this.#refused = [];
    this.#inFlight.clear();
    this.#waiting.clear();
    this.#bytes = 0;
  }

  /** False when it has to wait for answers to others. */
  #hand(entry: Entry, sink: FrameSink): boolean {
    const { event, settle } = entry;
    const { welcome } = sink;
    // Two events of one id are one to the hub: the second is answered when the first is known to be there.
    if (welcome !== undefined && (this.#inFlight.size >= Math.max(welcome.limits.publishesMax, 1) || this.#inFlight.has(event.id))) return false;
    const frame = frameFor(event, welcome);
    this.#waiting.delete(entry);
    if (welcome !== undefined && !(frame instanceof CarillonError)) {
      this.#inFlight.set(event.id, entry);
      sink.send(frame);
      return true;
    }
    this.#bytes -= event.frame.length;
    if (frame instanceof CarillonError) {
      settle.reject(frame);
    } else {
      sink.send(frame);
      settle.resolve({ class: 'sent' });
    }
    return true;
  }

  #answered(id: string): Entry | undefined {
    const entry = this.#inFlight.get(id);
    if (entry !== undefined) this.#inFlight.delete(id);
    return entry;
  }

  /** Order survives a refusal only if nothing else is under way when the refused ones go again. */
  #pauseWhenAnswered(): void {
    if (this.#refused.length === 0 || this.#inFlight.size > 0 || this.#isPausing) return;
    const { backoff, clock, onReady } = this.#options;
    const delayMs = backoffMs(this.#attempt, { ...backoff, factor: 2, random: () => clock.random() });
    this.#attempt += 1;
    this.#isPausing = true;
    this.#stopPause = clock.schedule(() => {
      this.#isPausing = false;
      this.#goAgain(this.#refused);
      onReady();
    }, delayMs);
  }

  #goAgain(entries: readonly Entry[]): void {
    this.#refused = [];
    if (entries.length > 0) this.#waiting = new Set([...entries.toSorted((a, b) => a.order - b.order), ...this.#waiting]);
  }

  #endPause(): void {
    this.#isPausing = false;
    this.#stopPause();
  }

  #giveUp(entry: Entry): void {
    if (this.#inFlight.get(entry.event.id) === entry) {
      entry.isGivenUp = true;
      return;
    }
    const isRefused = this.#refused.includes(entry);
    if (isRefused) this.#refused = this.#refused.filter((other) => other !== entry);
    if (isRefused && this.#refused.length === 0) this.#endPause();
    if (this.#waiting.delete(entry) || isRefused) this.#bytes -= entry.event.frame.length;
  }
}

function stoppingFirst<T>({ resolve, reject }: Settle<T>, stop: () => void): Settle<T> {
  return {
    resolve: (value) => {
      stop();
      resolve(value);
    },
    reject: (error) => {
      stop();
      reject(error);
    },
  };
}

/** Whether it is open and not yet behind. */
export function takes(sink: FrameSink | undefined): sink is FrameSink {
  return sink !== undefined && sink.isOpen && sink.bufferedBytes < SOCKET_MAX_BYTES;
}
