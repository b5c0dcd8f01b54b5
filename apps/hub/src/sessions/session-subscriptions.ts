import type { Principal } from '@carillon/access';
import { formatControl, type ControlFrame, type ErrorCode } from '@carillon/wire';

import type { SessionParts } from './messenger-session.ts';
import { SessionSubscription } from './session-subscription.ts';

/** What a session is subscribed to: each request of its own, each pattern in the indexes once however many requests want it. */
export interface SessionSubscriptionsParts
  extends Pick<SessionParts, 'connection' | 'durable' | 'durableIndex' | 'flush' | 'limits' | 'liveIndex' | 'log' | 'patterns' | 'peer' | 'readerTrail' | 'turns'> {
  /** The session's name. */
  readonly session: () => string;
  /** The session wants to hear what it publishes itself. */
  readonly echo: () => void;
  readonly refuse: (code: ErrorCode, about: { readonly request: string; readonly detail?: string }) => void;
}

type SubscribeFrame = Extract<ControlFrame, { readonly op: 'subscribe' }>;

export class SessionSubscriptions {
  readonly #parts: SessionSubscriptionsParts;
  readonly #subscriptions = new Map<string, SessionSubscription | 'live-only'>();
  readonly #rooms = new Map<string, readonly string[]>();
  readonly #wanted = new PatternCounts();
  readonly #live = new PatternCounts();

  constructor(parts: SessionSubscriptionsParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#subscriptions.size;
  }

  /** The patterns of each request. */
  get rooms(): ReadonlyMap<string, readonly string[]> {
    return this.#rooms;
  }

  has(request: string): boolean {
    return this.#subscriptions.has(request);
  }

  /** Opens a request whose name is free, or refuses it. */
  open({ request, rooms, since, echo = false }: SubscribeFrame): void {
    const { connection, durable, durableIndex, flush, limits, liveIndex, log, patterns, peer, readerTrail, refuse, session, turns } = this.#parts;
    const unique = [...new Set(rooms)];
    const denied = unique.find((pattern) => !peer.principal.permissions.covers('receive', pattern));
    if (denied !== undefined) return refuse('RECEIVE_DENIED', { request, detail: denied });
    const fresh = unique.filter((pattern) => !this.#wanted.has(pattern));
    if (patterns.size + fresh.length > limits.patternsMax) return refuse('SUBSCRIPTIONS_EXCEEDED', { request, detail: `at most ${limits.patternsMax}` });
    const exceeded = countSubscriptions(peer.principal, fresh.length);
    if (exceeded !== undefined) return refuse(exceeded, { request });

    this.#rooms.set(request, unique);
    for (const pattern of unique) {
      if (!this.#wanted.add(pattern)) continue;
      patterns.add(pattern);
      liveIndex.add(pattern, connection.lane);
    }
    if (echo) this.#parts.echo();
    if (durable === undefined) {
      this.#subscriptions.set(request, 'live-only');
      connection.sendControl(formatControl({ op: 'subscribed', request }));
      return;
    }
    const subscription = new SessionSubscription({ request, rooms: unique, since, echo }, {
      trail: readerTrail?.open({ how: 'session', session: session(), keyId: peer.principal.keyId, rooms: unique, echo, lane: connection.lane }),
      connection, peer, session, durable, turns, log, flush,
      index: {
        add: (pattern) => void (this.#live.add(pattern) && durableIndex.add(pattern, connection.lane)),
        remove: (pattern) => void (this.#live.remove(pattern) && durableIndex.remove(pattern, connection.lane)),
      },
      refused: (name, code, detail) => {
        this.end(name);
        refuse(code, { request: name, detail });
      },
    });
    this.#subscriptions.set(request, subscription);
    subscription.start();
  }

  end(request: string): void {
    const { connection, liveIndex, patterns, peer } = this.#parts;
    const subscription = this.#subscriptions.get(request);
    if (subscription !== undefined && subscription !== 'live-only') subscription.end();
    this.#subscriptions.delete(request);
    for (const pattern of this.#rooms.get(request) ?? []) {
      if (!this.#wanted.remove(pattern)) continue;
      patterns.delete(pattern);
      liveIndex.remove(pattern, connection.lane);
      peer.principal.meter.unsubscribe(1);
    }
    this.#rooms.delete(request);
  }

  endAll(): void {
    for (const request of [...this.#subscriptions.keys()]) this.end(request);
  }

  /** The lane of the peer is half full: durable rooms are read from the log from now on. */
  fallBehind(): void {
    for (const subscription of this.#subscriptions.values()) if (subscription !== 'live-only') subscription.fallBehind();
  }

  /** Says where each one is. */
  mark(): void {
    for (const subscription of this.#subscriptions.values()) if (subscription !== 'live-only') subscription.mark();
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
