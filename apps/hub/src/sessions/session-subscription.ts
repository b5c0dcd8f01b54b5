import type { LogGap, StoredEvent } from '@carillon/log';
import type { Logger } from '@carillon/runtime';
import { compose, type Connection } from '@carillon/session';
import { ERRORS, formatControl, type ErrorCode, type Since } from '@carillon/wire';

import { catchUp } from '../durable/catch-up.ts';
import { fromOf, logErrorCode, type DurableLane } from '../durable/durable-lane.ts';
import { mayRead, startOf } from '../durable/event-reader.ts';
import type { Identified } from '../access/identity.ts';
import type { PageTurns } from '../durable/page-turns.ts';
import { roomSet } from '../durable/room-set.ts';
import type { TrailReader } from '../trail/trail-reader.ts';

/**
 * One subscription of a session to the durable lane:
 *
 *   starting ──since──▶ catching-up ──caught up──▶ live ──lane half full──▶ catching-up
 *       └──from now──────────────────────────────▶ live            any ──unsubscribe, gone──▶ ended
 *
 * It is in the index of the durable lane while it is live and only then.
 */
type State = 'starting' | 'catching-up' | 'live' | 'ended';

export interface SubscriptionParts {
  readonly connection: Connection;
  readonly peer: Identified;
  /** The session's name: its own events are left out unless it wants to hear itself. */
  readonly session: () => string;
  readonly durable: DurableLane;
  readonly index: LiveIndex;
  readonly turns: PageTurns;
  readonly log: Logger;
  /** Writes what waits in batches, so that what is written next comes after it. */
  readonly flush: () => void;
  /** The peer cannot have this subscription. */
  readonly refused: (request: string, code: ErrorCode, detail: string) => void;
  /** Where it is noted what it gets. */
  readonly trail: TrailReader | undefined;
}

/** Which patterns lead to this connection now; counted, since several subscriptions may want one. */
export interface LiveIndex {
  add(pattern: string): void;
  remove(pattern: string): void;
}

export interface SubscriptionRequest {
  readonly request: string;
  readonly rooms: readonly string[];
  readonly since: Since | undefined;
  readonly echo: boolean;
}

/** How soon a log that failed is read again. */
const RETRY_MS = 500;

export class SessionSubscription {
  readonly request: SubscriptionRequest;
  readonly #parts: SubscriptionParts;
  readonly #wants: (room: string) => boolean;
  readonly #ending = new AbortController();
  #state: State = 'starting';
  #position = 0;
  #isInterested = false;

  constructor(request: SubscriptionRequest, parts: SubscriptionParts) {
    this.request = request;
    this.#parts = parts;
    this.#wants = roomSet(request.rooms);
  }

  start(): void {
    void this.#start().catch((error: unknown) => this.#fail(error));
  }

  end(): void {
    if (this.#state === 'ended') return;
    this.#leave();
    this.#state = 'ended';
    this.#parts.trail?.end('unsubscribed');
    this.#ending.abort();
    this.#loseInterest();
  }

  /** The peer reads too slowly: from the last event that was put into its lane on it reads the log. */
  fallBehind(): void {
    this.#fallBack(this.#parts.durable.certain);
  }

  /** What the tail could not give is looked for in the log, which says why it is gone. */
  tailMissed(from: number): void {
    this.#fallBack(Math.min(this.#parts.durable.certain, from - 1));
  }

  #fallBack(to: number): void {
    if (this.#state !== 'live') return;
    this.#leave();
    // What waits in a batch was before it.
    this.#parts.flush();
    if (this.#isEnded()) return;
    this.#position = Math.max(this.#position, to);
    this.#parts.trail?.behind(this.#position);
    this.#parts.connection.sendControl(formatControl({ op: 'behind', request: this.request.request, seq: this.#position }));
    this.#catchUp();
  }

  async #start(): Promise<void> {
    const { durable, connection, refused } = this.#parts;
    const { request, rooms, since } = this.request;
    this.#isInterested = true;
    await Promise.all(rooms.map((pattern) => durable.interests.add(pattern)));
    if (this.#isEnded()) return;
    if (since === undefined) {
      // Asked for now that the tail brings what comes: whoever wanted a pattern first may have done so long ago.
      this.#position = (await durable.log.bounds()).head;
      if (this.#isEnded()) return;
      this.#parts.trail?.begin(this.#position);
      connection.sendControl(formatControl({ op: 'subscribed', request, seq: this.#position, epoch: durable.epoch }));
      // What came since is read, if anything did.
      this.#catchUp();
      return;
    }
    await this.#parts.turns.next();
    const start = await startOf(since, { log: durable.log, workspaceId: this.#parts.peer.principal.workspaceId, rooms });
    if (this.#isEnded()) return;
    if (!start.ok) {
      refused(request, start.code, start.detail);
      return;
    }
    this.#position = start.after;
    this.#parts.trail?.begin(start.after, { since: 'seq' in since && !start.isOtherEpoch ? since.seq : undefined });
    connection.sendControl(formatControl({ op: 'subscribed', request, seq: start.after, epoch: durable.epoch }));
    if (start.isOtherEpoch && 'seq' in since) connection.sendControl(formatControl({ op: 'gap', request, from: since.seq + 1, to: since.seq + 1, reason: 'epoch' }));
    this.#catchUp();
  }

  #catchUp(): void {
    const { connection, durable, peer, turns } = this.#parts;
    this.#state = 'catching-up';
    const clear = async (): Promise<void> => {
      await new Promise<void>((resolve) => connection.lane.whenClear(resolve));
      // A lane that takes no more is clear for ever: nobody needs the rest of the log.
      if (connection.lane.closed) return this.end();
      this.#parts.trail?.taken();
      await turns.next();
    };
    void catchUp({
      log: durable.log, workspaceId: peer.principal.workspaceId, rooms: this.request.rooms, after: this.#position, wants: this.#wants, clear,
      give: (events) => this.#give(events), gap: (gap) => this.#gap(gap), held: (events) => this.#write(events),
      heardSeq: () => durable.heardSeq, listeners: durable.listeners, live: (seq) => this.#goLive(seq), signal: this.#ending.signal,
    }).catch((error: unknown) => this.#retry(error));
  }

  #give(events: readonly StoredEvent[]): void {
    const last = events.at(-1);
    if (last === undefined) return;
    this.#position = last.seq;
    this.#parts.trail?.gave(last.seq);
    this.#write(events, this.request.request);
  }

  #write(events: readonly StoredEvent[], re?: string): void {
    const { connection, durable, session } = this.#parts;
    const { echo } = this.request;
    const own = session();
    const due = events.filter((event) => this.#mayRead(event) && (echo || fromOf(event.fields) !== own));
    if (due.length > 0) connection.lane.write(compose(due.map((event) => durable.outboundOf(event, re === undefined ? {} : { re })), connection.lane.codec), due.length);
  }

  #mayRead(event: StoredEvent): boolean {
    const { peer, trail } = this.#parts;
    if (mayRead(peer.principal, event)) return true;
    trail?.denied(event);
    return false;
  }

  #gap(gap: LogGap): void {
    const { from, to, reason } = gap;
    this.#parts.trail?.gap(gap);
    this.#position = Math.max(this.#position, to);
    this.#parts.connection.sendControl(formatControl({ op: 'gap', request: this.request.request, from, to, reason }));
  }

  #goLive(seq: number): void {
    const { connection, index } = this.#parts;
    this.#state = 'live';
    this.#position = seq;
    this.#parts.trail?.live(seq);
    connection.sendControl(formatControl({ op: 'live', request: this.request.request, seq }));
    for (const pattern of this.request.rooms) index.add(pattern);
    this.#parts.durable.liveReaders.add(this);
  }

  /** Where it is to go on from if the connection is lost, when that has moved; said to the peer. What was delivered must have been written. */
  mark(): void {
    const { connection, durable } = this.#parts;
    if (this.#state !== 'live' || durable.certain <= this.#position) return;
    this.#position = durable.certain;
    connection.sendControl(formatControl({ op: 'live', request: this.request.request, seq: this.#position }));
  }

  #leave(): void {
    if (this.#state !== 'live') return;
    this.#parts.durable.liveReaders.delete(this);
    for (const pattern of this.request.rooms) this.#parts.index.remove(pattern);
  }

  #retry(error: unknown): void {
    const { log } = this.#parts;
    if (this.#isEnded()) return;
    log.warn({ error, request: this.request.request }, 'a catch-up could not read the log; it tries again');
    setTimeout(() => {
      if (!this.#isEnded()) this.#catchUp();
    }, RETRY_MS).unref();
  }

  /** A log that is away comes back; whoever subscribed meanwhile waits for it. */
  #fail(error: unknown): void {
    const code = logErrorCode(error);
    if (this.#isEnded()) return;
    this.#loseInterest();
    if (!ERRORS[code].retryable) this.#parts.refused(this.request.request, code, '');
    else setTimeout(() => {
      if (!this.#isEnded()) this.start();
    }, RETRY_MS).unref();
  }

  #loseInterest(): void {
    if (!this.#isInterested) return;
    this.#isInterested = false;
    for (const pattern of this.request.rooms) this.#parts.durable.interests.remove(pattern);
  }

  #isEnded(): boolean {
    return this.#state === 'ended';
  }
}
