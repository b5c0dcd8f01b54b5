import { compose, type Connection, type Lane, type Subscriptions } from '@carillon/session';
import type { Logger } from '@carillon/runtime';
import { formatControl, parseControl, type ControlFrame, type ErrorCode, type WireLimits } from '@carillon/wire';

import type { Admitted } from '../access/admission.ts';
import type { Consumers } from '../consumers/consumers.ts';
import type { HubCounts } from '../counts.ts';
import type { DelayedEvents } from '../delayed/delayed-events.ts';
import type { DurableLane } from '../durable/durable-lane.ts';
import { answerHistory } from '../durable/history.ts';
import type { Caller } from '../access/holders.ts';
import type { Identified } from '../access/identity.ts';
import type { Intake } from '../routing/intake.ts';
import type { PageTurns } from '../durable/page-turns.ts';
import type { Presence } from '../presence/presence.ts';
import type { Replies } from './replies.ts';
import type { Router } from '../routing/router.ts';
import { PUBLISHES_MAX, SessionPublisher } from './session-publisher.ts';
import { SessionConsumers } from '../consumers/session-consumers.ts';
import { SessionPresence } from '../presence/session-presence.ts';
import { deniedRequests, moveUse, takeoverRefusal, type SharedUse } from './session-refresh.ts';
import { SessionSubscriptions } from './session-subscriptions.ts';
import type { WorkspaceTrail } from '../trail/trail-workspace.ts';
import type { Trail } from '../trail/trail.ts';

/** A messenger that speaks the second protocol: what it may say, and what it is told (libs/wire/README.md has the frames). */
export interface SessionParts {
  readonly hubId: string;
  readonly connection: Connection;
  /** Who it is, also by another key later: nothing of `peer.principal` is to be kept. */
  readonly peer: Identified;
  /** Whose key it is that the peer shows in the place of its own. */
  readonly authenticate: (key: string) => Admitted;
  /** From now on the peer is this caller. */
  readonly become: (caller: Caller) => void;
  /** What all keys of the workspace use together. */
  readonly usage: () => SharedUse;
  readonly router: Router;
  readonly intake: Intake;
  readonly isDraining: () => boolean;
  readonly replies: Replies;
  readonly durable: DurableLane | undefined;
  /** Who gets what of live rooms, and of durable ones. */
  readonly liveIndex: Subscriptions;
  readonly durableIndex: Subscriptions;
  readonly turns: PageTurns;
  /** Of a hub that keeps a log. */
  readonly presence: Presence | undefined;
  /** Where it is noted what becomes of events. */
  readonly readerTrail: WorkspaceTrail | undefined;
  readonly consumers: Consumers | undefined;
  readonly delayed: DelayedEvents | undefined;
  readonly trail: Trail;
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
  /** The peer goes on by another key, or its rights have changed: ends itself, and says so, when it may not be any more. */
  recheck?(): void;
}

export class MessengerSession {
  readonly #parts: SessionParts;
  readonly #subscriptions: SessionSubscriptions;
  readonly #requests = new Map<string, SessionRequest>();
  readonly #publisher: SessionPublisher;
  readonly #presence: SessionPresence;
  readonly #consumers: SessionConsumers;
  readonly #ending = new AbortController();
  #name: string | undefined;
  #inbox: string | undefined;
  #hasEcho = false;
  #pages = 0;
  #isFallingBehind = false;
  #markedEvents = 0;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    const { connection, router } = parts;
    // A session that wants to hear itself is not left out where it published.
    const source = (): Lane | undefined => (this.#hasEcho ? undefined : connection.lane);
    this.#publisher = new SessionPublisher({ ...parts, limits: parts.frameLimits, plainMaxBytes: parts.limits.frameMaxBytes, kind: 'messenger', source, inbox: () => this.#inbox, route: (room, event, publish) => router.fromMessenger(room, event, publish) });
    const over = (request: string, code: ErrorCode, detail: string): void => this.#over(request, code, detail);
    this.#subscriptions = new SessionSubscriptions({ ...parts, session: () => this.#name ?? '', echo: () => this.#startEcho(), refuse: (code, about) => this.#refuse(code, about) });
    this.#presence = new SessionPresence({ ...parts, over });
    this.#consumers = new SessionConsumers({ ...parts, over, tell: (request, code, detail) => this.#refuse(code, { request, detail }) });
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
        return this.#isFree(frame.request) ? this.#subscriptions.open(frame) : undefined;
      case 'unsubscribe':
        return this.#unsubscribe(frame.request);
      case 'history':
        return this.#history(frame);
      case 'enter':
      case 'watch':
        return this.#openPresence(frame, this.#name);
      case 'consume':
        return this.#consume(frame);
      case 'ack':
      case 'nack':
      case 'defer':
      case 'discard':
        return this.#settle(frame);
      case 'refresh':
        return this.#refresh(frame);
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
      this.#subscriptions.fallBehind();
    });
  }

  /** Says where each subscription is, when something was delivered since it was last said. */
  mark(): void {
    const { connection, flush } = this.#parts;
    const written = connection.lane.writtenEvents;
    if (written === this.#markedEvents) return;
    flush();
    this.#markedEvents = connection.lane.writtenEvents;
    this.#subscriptions.mark();
  }

  closed(): void {
    const { durable, connection } = this.#parts;
    this.#ending.abort();
    if (this.#inbox !== undefined) this.#parts.replies.close(this.#inbox);
    this.#subscriptions.endAll();
    for (const request of this.#requests.values()) request.end();
    this.#requests.clear();
    if (this.#name !== undefined && durable?.publishers.get(this.#name) === connection.lane) durable.publishers.delete(this.#name);
  }

  #hello({ session }: Request<'hello'>): void {
    const { connection, durable, heartbeatMs, hubId, limits, replies, router } = this.#parts;
    if (this.#name !== undefined) return this.#refuse('HELLO_REQUIRED', { detail: 'once' });
    this.#name = session ?? router.nextId();
    this.#inbox = replies.open(connection.lane);
    durable?.publishers.set(this.#name, connection.lane);
    const { frameMaxBytes, roomMaxBytes, patternsMax } = limits;
    connection.sendControl(formatControl({
      op: 'welcome', session: this.#name, hub: hubId, inbox: this.#inbox, heartbeatMs, limits: { frameMaxBytes, roomMaxBytes, patternsMax, publishesMax: PUBLISHES_MAX },
      ...(durable === undefined ? {} : { epoch: durable.epoch, class: durable.log.storedClass }),
    }));
  }

  #startEcho(): void {
    this.#hasEcho = true;
    if (this.#name !== undefined) this.#parts.durable?.publishers.delete(this.#name);
  }

  #unsubscribe(request: string): void {
    const other = this.#requests.get(request);
    if (this.#requests.delete(request)) other?.end();
    else if (this.#subscriptions.has(request)) this.#subscriptions.end(request);
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

  #openPresence(frame: Request<'enter' | 'watch'>, name: string): void {
    const { request } = frame;
    if (!this.#isFree(request)) return;
    const opened = this.#presence.open(frame, name);
    if (opened.ok) this.#requests.set(request, opened.request);
    else this.#refuse(opened.code, { request, detail: opened.detail });
  }

  #consume(frame: Request<'consume'>): void {
    const { request } = frame;
    if (!this.#isFree(request)) return;
    const opened = this.#consumers.open(frame, () => this.#name ?? '');
    if (opened.ok) this.#requests.set(request, opened.request);
    else this.#refuse(opened.code, { request, detail: opened.detail });
  }

  /** A request other than a subscription has ended by itself. */
  #over(request: string, code: ErrorCode, detail: string): void {
    const other = this.#requests.get(request);
    if (!this.#requests.delete(request)) return;
    other?.end();
    this.#refuse(code, { request, detail });
  }

  #settle(frame: Settling): void {
    const member = this.#requests.get(frame.request);
    if (member?.settle === undefined) this.#refuse('REQUEST_UNKNOWN', { request: frame.request });
    else member.settle(frame);
  }

  #history(frame: Request<'history'>): void {
    const { connection, durable, peer, turns } = this.#parts;
    const { request, rooms } = frame;
    if (durable === undefined) return this.#refuse('LOG_ABSENT', { request });
    const denied = rooms.find((pattern) => !peer.principal.permissions.covers('receive', pattern));
    if (denied !== undefined) return this.#refuse('RECEIVE_DENIED', { request, detail: denied });
    if (this.#pages >= PAGES_MAX) return this.#refuse('REQUESTS_EXCEEDED', { request, detail: `at most ${PAGES_MAX} pages at a time` });
    this.#pages += 1;
    void answerHistory(frame, {
      durable, peer, turns, signal: this.#ending.signal,
      events: (events) => connection.lane.write(compose(events, connection.lane.codec), events.length),
      control: (control) => connection.sendControl(formatControl(control)),
      refused: (code, detail) => this.#refuse(code, { request, detail }),
    }).finally(() => (this.#pages -= 1));
  }

  /** Goes on by another key, or by the one before when that is refused. */
  #refresh({ request, key }: Request<'refresh'>): void {
    const { authenticate, become, connection, flush, patterns, peer, usage } = this.#parts;
    const admitted = authenticate(key);
    if (!admitted.ok) return this.#refuse(admitted.code, { request });
    const { caller, caller: { principal } } = admitted;
    const { rooms: asked } = this.#subscriptions;
    const denied = deniedRequests(asked, principal.permissions);
    const kept = new Set([...asked].flatMap(([name, rooms]) => (denied.has(name) ? [] : rooms)));
    const exceeded = principal === peer.principal ? undefined : takeoverRefusal(principal, { rooms: kept.size }, usage());
    if (exceeded !== undefined) return this.#refuse(exceeded, { request });
    // What waits in a batch was allowed when it came.
    flush();
    for (const name of denied.keys()) this.#subscriptions.end(name);
    if (principal !== peer.principal) moveUse(peer.principal, principal, { rooms: patterns.size });
    become(caller);
    connection.sendControl(formatControl({ op: 'refreshed', request }));
    for (const [name, detail] of denied) this.#refuse('RECEIVE_DENIED', { request: name, detail });
    for (const other of [...this.#requests.values()]) other.recheck?.();
  }

  #refuse(code: ErrorCode, { request, detail }: { readonly request?: string; readonly detail?: string }): void {
    this.#parts.counts.refuse(code);
    this.#parts.connection.sendControl(formatControl({ op: 'error', code, ...(detail === undefined || detail === '' ? {} : { detail }), ...(request === undefined ? {} : { request }) }));
  }
}
