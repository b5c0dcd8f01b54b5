import type { EventLog, LogTail, StoredEvent } from '@carillon/log';
import type { Logger } from '@carillon/runtime';

import { catchUp } from '../durable/catch-up.ts';
import type { TailListener } from '../durable/durable-lane.ts';
import type { PageTurns } from '../durable/page-turns.ts';
import { readFact, type PresenceFact } from './presence-facts.ts';
import type { FactPlace } from './presence-fold.ts';
import { SYSTEM_WORKSPACES } from '../durable/system-log.ts';

/**
 * The facts of presence of one workspace, in the log's order, each once: from what is kept of them, then from the tail.
 *
 *   idle ──open──▶ reading ──caught up──▶ live ──log made anew──▶ reading       any ──close──▶ closed
 */
export interface PresenceReaderOptions {
  readonly workspaceId: string;
  readonly log: EventLog;
  readonly turns: PageTurns;
  readonly logger: Logger;
  /** It begins with the first fact: what it gave before counts no more. */
  readonly begun: () => void;
  readonly fact: (fact: PresenceFact, place: FactPlace) => void;
  /** Everything up to now was given. */
  readonly live: () => void;
  /** The tail could not give something: it has expired, as beats do by a clock that is ahead of theirs. */
  readonly gap: () => void;
}

/** How soon a log that could not be read is read again. */
const RETRY_MS = 500;

export class PresenceReader {
  readonly #options: PresenceReaderOptions;
  readonly #listeners = new Set<TailListener>();
  #state: 'idle' | 'reading' | 'live' | 'closed' = 'idle';
  #reading = new AbortController();
  #tail: LogTail | undefined = undefined;
  #heardSeq = 0;
  #givenSeq = 0;

  constructor(options: PresenceReaderOptions) {
    this.#options = options;
  }

  get isIdle(): boolean {
    return this.#state === 'idle';
  }

  get isLive(): boolean {
    return this.#state === 'live';
  }

  open(): void {
    if (this.#state !== 'idle') return;
    this.#listen();
    this.#read();
  }

  beginAnew(): void {
    if (this.#state !== 'reading' && this.#state !== 'live') return;
    this.#end();
    this.#listen();
    this.#read();
  }

  close(): void {
    this.#state = 'closed';
    this.#end();
    this.#listeners.clear();
  }

  #listen(): void {
    this.#heardSeq = 0;
    this.#tail = this.#options.log.tail(SYSTEM_WORKSPACES.presence, { event: (event) => this.#hear(event), gap: this.#options.gap });
  }

  #end(): void {
    this.#reading.abort();
    void this.#tail?.close().catch(() => undefined); // it is not needed any more
  }

  #read(): void {
    this.#state = 'reading';
    this.#reading = new AbortController();
    const { signal } = this.#reading;
    void this.#catchUp(signal).catch((error: unknown) => {
      if (signal.aborted) return;
      this.#options.logger.warn({ error, workspace: this.#options.workspaceId }, 'presence could not be read; it is tried again');
      setTimeout(() => {
        if (!signal.aborted) this.#read();
      }, RETRY_MS).unref();
    });
  }

  async #catchUp(signal: AbortSignal): Promise<void> {
    const { begun, live, log, turns, workspaceId } = this.#options;
    this.#givenSeq = 0;
    begun();
    const since = (await this.#tail?.add(workspaceId)) ?? 0;
    if (signal.aborted) return;
    const give = (events: readonly StoredEvent[]): void => {
      for (const event of events) this.#give(event);
    };
    await catchUp({
      log, workspaceId: SYSTEM_WORKSPACES.presence, rooms: [workspaceId], after: 0, wants: () => true, clear: () => turns.next(),
      // What has expired is beats, which are of no use by then.
      give, gap: () => undefined,
      heardSeq: () => Math.max(since, this.#heardSeq), listeners: this.#listeners, live: () => undefined,
      held: (events) => {
        give(events);
        this.#state = 'live';
        live();
      },
      signal,
    });
  }

  #hear(event: StoredEvent): void {
    this.#heardSeq = Math.max(this.#heardSeq, event.seq);
    if (this.#state === 'live') this.#give(event);
    else for (const listener of this.#listeners) listener.event(event);
  }

  #give({ body, seq, storedAtMs }: StoredEvent): void {
    if (seq <= this.#givenSeq) return;
    this.#givenSeq = seq;
    const fact = readFact(body);
    if (fact !== undefined) this.#options.fact(fact, { seq, storedAtMs });
  }
}
