import type { Principal } from '@carillon/access';
import { compose, type Connection, type Lane, type Subscriptions } from '@carillon/session';
import type { Logger } from '@carillon/runtime';
import { formatControl, parseControl, type ControlFrame, type ErrorCode, type WireLimits } from '@carillon/wire';

import type { HubCounts } from './counts.ts';
import type { DurableLane } from './durable-lane.ts';
import { answerHistory } from './history.ts';
import type { Intake } from './intake.ts';
import type { PageTurns } from './page-turns.ts';
import type { Router } from './router.ts';
import { PUBLISHES_MAX, SessionPublisher } from './session-publisher.ts';
import { SessionSubscription } from './session-subscription.ts';

/** A messenger that speaks the second protocol: what it may say, and what it is told (libs/wire/README.md has the frames). */
export interface SessionParts {
  readonly hubId: string;
  readonly connection: Connection;
  readonly principal: Principal;
  readonly router: Router;
  readonly intake: Intake;
  readonly durable: DurableLane | undefined;
  /** Who gets what of live rooms, and of durable ones. */
  readonly liveIndex: Subscriptions;
  readonly durableIndex: Subscriptions;
  readonly turns: PageTurns;
  readonly counts: HubCounts;
  readonly limits: WireLimits;
  /** Of event frames, whose tag line has fields. */
  readonly frameLimits: WireLimits;
  readonly heartbeatMs: number;
  readonly log: Logger;
  /** Writes what waits in batches, so that what is written next comes after it. */
  readonly flush: () => void;
  /** Patterns of the peer, for status. */
  readonly patterns: Set<string>;
}

/** Pages of history that one connection may have under way. */
const PAGES_MAX = 16;

type Request<Op extends ControlFrame['op']> = Extract<ControlFrame, { readonly op: Op }>;
type Settling = Request<'ack' | 'nack' | 'defer' | 'discard'>;

/** Something other than a subscription that a connection has open under a name of its choice. */
export interface SessionRequest {
  /** It is over: the peer said so or is gone. */
  end(): void;
  /** Of a consumer's member. */
  settle?(frame: Settling): void;
}

export class MessengerSession {
  readonly #parts: SessionParts;
  readonly #subscriptions = new Map<string, SessionSubscription | 'live-only'>();
  readonly #requests = new Map<string, SessionRequest>();
  readonly #rooms = new Map<string, readonly string[]>();
  readonly #wanted = new PatternCounts();
  readonly #live = new PatternCounts();
  readonly #publisher: SessionPublisher;
  readonly #ending = new AbortController();
  #name: string | undefined;
  #hasEcho = false;
  #pages = 0;
  #isFallingBehind = false;
  #markedEvents = 0;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    const { connection, router } = parts;
    // A session that wants to hear itself is not left out where it published.
    const source = (): Lane | undefined => (this.#hasEcho ? undefined : connection.lane);
    this.#publisher = new SessionPublisher({ ...parts, limits: parts.frameLimits, plainMaxBytes: parts.limits.frameMaxBytes, kind: 'messenger', source, route: (room, event, publish) => router.fromMessenger(room, event, publish) });
  }

  frame(bytes: Buffer): void {
    this.#publisher.frame(bytes, this.#name === undefined ? { code: 'HELLO_REQUIRED' } : { name: this.#name });
  }

  text(text: string): void {
    const parsed = parseControl(text, this.#parts.limits);
    if (!parsed.ok) return this.#refuse(parsed.code, { detail: parsed.detail });
    const { frame } = parsed;
    if (frame.op === 'hello') return this.#hello(frame);
    if (this.#name === undefined) return this.#refuse('HELLO_REQUIRED', {});
    switch (frame.op) {
      case 'subscribe':
        return this.#subscribe(frame);
      case 'unsubscribe':
        return this.#unsubscribe(frame.request);
      case 'history':
        return this.#history(frame);
      case 'ack':
      case 'nack':
      case 'defer':
      case 'discard':
        return this.#settle(frame);
      default:
        return this.#refuse('CONTROL_INVALID', { detail: `${frame.op} is not served by this hub` });
    }
  }

  /** Its lane is half full: durable rooms are read from the log from now on. */
  behind(): void {
    if (this.#isFallingBehind) return;
    this.#isFallingBehind = true;
    // Not now: a batch is being written, and what it holds comes first.
    setImmediate(() => {
      this.#isFallingBehind = false;
      if (this.#ending.signal.aborted) return;
      this.#parts.flush();
      for (const subscription of this.#subscriptions.values()) if (subscription !== 'live-only') subscription.fallBehind();
    });
  }

  /** Says where each subscription is, when something was delivered since it was last said. */
  mark(): void {
    const { connection, flush } = this.#parts;
    const written = connection.lane.writtenEvents;
    if (written === this.#markedEvents) return;
    flush();
    this.#markedEvents = connection.lane.writtenEvents;
    for (const subscription of this.#subscriptions.values()) if (subscription !== 'live-only') subscription.mark();
  }

  closed(): void {
    const { durable, connection } = this.#parts;
    this.#ending.abort();
    for (const request of [...this.#subscriptions.keys()]) this.#end(request);
    for (const request of this.#requests.values()) request.end();
    this.#requests.clear();
    if (this.#name !== undefined && durable?.publishers.get(this.#name) === connection.lane) durable.publishers.delete(this.#name);
  }

  #hello({ session }: Request<'hello'>): void {
    const { connection, durable, heartbeatMs, hubId, limits, router } = this.#parts;
    if (this.#name !== undefined) return this.#refuse('HELLO_REQUIRED', { detail: 'once' });
    this.#name = session ?? router.nextId();
    durable?.publishers.set(this.#name, connection.lane);
    const { frameMaxBytes, roomMaxBytes, patternsMax } = limits;
    connection.sendControl(formatControl({
      op: 'welcome', session: this.#name, hub: hubId, heartbeatMs, limits: { frameMaxBytes, roomMaxBytes, patternsMax, publishesMax: PUBLISHES_MAX },
      ...(durable === undefined ? {} : { epoch: durable.epoch, class: durable.log.storedClass }),
    }));
  }

  #subscribe({ request, rooms, since, echo = false }: Request<'subscribe'>): void {
    const { connection, durable, durableIndex, flush, limits, liveIndex, log, patterns, principal, turns } = this.#parts;
    if (!this.#isFree(request)) return;
    const unique = [...new Set(rooms)];
    const denied = unique.find((pattern) => !principal.permissions.covers('receive', pattern));
    if (denied !== undefined) return this.#refuse('RECEIVE_DENIED', { request, detail: denied });
    const fresh = unique.filter((pattern) => !this.#wanted.has(pattern));
    if (patterns.size + fresh.length > limits.patternsMax) return this.#refuse('SUBSCRIPTIONS_EXCEEDED', { request, detail: `at most ${limits.patternsMax}` });
    const exceeded = countSubscriptions(principal, fresh.length);
    if (exceeded !== undefined) return this.#refuse(exceeded, { request });

    this.#rooms.set(request, unique);
    for (const pattern of unique) {
      if (!this.#wanted.add(pattern)) continue;
      patterns.add(pattern);
      liveIndex.add(pattern, connection.lane);
    }
    if (echo) this.#startEcho();
    if (durable === undefined) {
      this.#subscriptions.set(request, 'live-only');
      connection.sendControl(formatControl({ op: 'subscribed', request }));
      return;
    }
    const subscription = new SessionSubscription({ request, rooms: unique, since, echo }, {
      connection, principal, session: () => this.#name ?? '', durable, turns, log, flush,
      index: {
        add: (pattern) => void (this.#live.add(pattern) && durableIndex.add(pattern, connection.lane)),
        remove: (pattern) => void (this.#live.remove(pattern) && durableIndex.remove(pattern, connection.lane)),
      },
      refused: (name, code, detail) => {
        this.#end(name);
        this.#refuse(code, { request: name, detail });
      },
    });
    this.#subscriptions.set(request, subscription);
    subscription.start();
  }

  #startEcho(): void {
    this.#hasEcho = true;
    if (this.#name !== undefined) this.#parts.durable?.publishers.delete(this.#name);
  }

  #unsubscribe(request: string): void {
    const other = this.#requests.get(request);
    if (this.#requests.delete(request)) other?.end();
    else if (this.#subscriptions.has(request)) this.#end(request);
    else this.#refuse('REQUEST_UNKNOWN', { request });
  }

  /** Whether a request of this name may be opened; says so if not. */
  #isFree(request: string): boolean {
    const { patternsMax } = this.#parts.limits;
    const isUsed = this.#subscriptions.has(request) || this.#requests.has(request);
    if (isUsed) this.#refuse('REQUEST_IN_USE', { request });
    else if (this.#subscriptions.size + this.#requests.size >= patternsMax) this.#refuse('REQUESTS_EXCEEDED', { request, detail: `at most ${patternsMax}` });
    else return true;
    return false;
  }

  #settle(frame: Settling): void {
    const member = this.#requests.get(frame.request);
    if (member?.settle === undefined) this.#refuse('REQUEST_UNKNOWN', { request: frame.request });
    else member.settle(frame);
  }

  #end(request: string): void {
    const { connection, liveIndex, patterns, principal } = this.#parts;
    const subscription = this.#subscriptions.get(request);
    if (subscription !== undefined && subscription !== 'live-only') subscription.end();
    this.#subscriptions.delete(request);
    for (const pattern of this.#rooms.get(request) ?? []) {
      if (!this.#wanted.remove(pattern)) continue;
      patterns.delete(pattern);
      liveIndex.remove(pattern, connection.lane);
      principal.meter.unsubscribe(1);
    }
    this.#rooms.delete(request);
  }

  #history(frame: Request<'history'>): void {
    const { connection, durable, principal, turns } = this.#parts;
    const { request, rooms } = frame;
    if (durable === undefined) return this.#refuse('LOG_ABSENT', { request });
    const denied = rooms.find((pattern) => !principal.permissions.covers('receive', pattern));
    if (denied !== undefined) return this.#refuse('RECEIVE_DENIED', { request, detail: denied });
    if (this.#pages >= PAGES_MAX) return this.#refuse('REQUESTS_EXCEEDED', { request, detail: `at most ${PAGES_MAX} pages at a time` });
    this.#pages += 1;
    void answerHistory(frame, {
      durable, principal, turns, signal: this.#ending.signal,
      events: (events) => connection.lane.write(compose(events, connection.lane.codec), events.length),
      control: (control) => connection.sendControl(formatControl(control)),
      refused: (code, detail) => this.#refuse(code, { request, detail }),
    }).finally(() => (this.#pages -= 1));
  }

  #refuse(code: ErrorCode, { request, detail }: { readonly request?: string; readonly detail?: string }): void {
    this.#parts.counts.refuse(code);
    this.#parts.connection.sendControl(formatControl({ op: 'error', code, ...(detail === undefined || detail === '' ? {} : { detail }), ...(request === undefined ? {} : { request }) }));
  }
}

/** Counts so many more subscriptions, all or none. */
function countSubscriptions({ meter }: Principal, count: number): ErrorCode | undefined {
  for (let counted = 0; counted < count; counted += 1) {
    const exceeded = meter.subscribe();
    if (exceeded === undefined) continue;
    meter.unsubscribe(counted);
    return exceeded;
  }
  return undefined;
}

/** By how many of a connection's subscriptions a pattern is wanted. */
class PatternCounts {
  readonly #counts = new Map<string, number>();

  has(pattern: string): boolean {
    return this.#counts.has(pattern);
  }

  /** True for the first. */
  add(pattern: string): boolean {
    const count = this.#counts.get(pattern) ?? 0;
    this.#counts.set(pattern, count + 1);
    return count === 0;
  }

  /** True for the last. */
  remove(pattern: string): boolean {
    const count = (this.#counts.get(pattern) ?? 0) - 1;
    if (count > 0) this.#counts.set(pattern, count);
    else this.#counts.delete(pattern);
    return count === 0;
  }
}
