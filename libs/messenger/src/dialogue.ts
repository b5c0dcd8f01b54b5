import { CarillonError, DEFAULT_LIMITS, parseControl, parseFrame, RecentIds, type ControlFrame } from '@carillon/wire';
import type { AccessKeys } from './access-keys.ts';
import type { Asking } from './asking.ts';
import { Histories, type HistoryPage } from './histories.ts';
import { hubError, readHubError } from './hub-error.ts';
import { Interest } from './interest.ts';
import type { HistoryOptions } from './messenger.ts';
import type { Outbound } from './outbound.ts';
import { FrameEvent } from './received-event.ts';
import { Replies } from './replies.ts';
import { Requests } from './requests.ts';
import { Router } from './router.ts';
import type { StandingRequest, StandingRole } from './standing-request.ts';
import { StandingRequests, type StandingRequestsOptions } from './standing-requests.ts';
import type { RoomSubscription } from './subscription.ts';
import { FRAME_RECEIVE_MAX_BYTES } from './transport.ts';
import type { Welcome } from './welcome.ts';

const RECEIVE_LIMITS = { ...DEFAULT_LIMITS, frameMaxBytes: FRAME_RECEIVE_MAX_BYTES };

export interface DialogueOptions extends StandingRequestsOptions {
  readonly outbound: Outbound;
  readonly keys: AccessKeys;
  /** The hub answered: more may go, and those who wait may go on. */
  readonly onAnswer: () => void;
  readonly onDrain: (afterMs: number) => void;
}

/** Ids of live events that are remembered, at least; about 100 bytes each, twice as many at the most. */
const LIVE_IDS_GENERATION = 4_096;

/** What a messenger and a hub say to each other, in the protocol that they agreed on for the connection of the moment. */
export class Dialogue {
  readonly #interest = new Interest();
  readonly #router = new Router();
  readonly #histories = new Histories();
  readonly replies: Replies;
  /** Of live rooms: a publisher whose hub was killed sends what was not acked again. */
  readonly #liveIds = new RecentIds(LIVE_IDS_GENERATION);
  readonly #requests: Requests;
  readonly #standing: StandingRequests;
  readonly #options: DialogueOptions;
  #welcome: Welcome | undefined;
  /** Whether there is a connection, and which protocol it speaks. */
  #version: 0 | 1 | 2 = 0;

  constructor(options: DialogueOptions) {
    this.#options = options;
    this.#requests = new Requests(options.report);
    this.#standing = new StandingRequests(options);
    this.replies = new Replies(options.clock);
  }

  /** The patterns that are asked for. */
  get patterns(): readonly string[] {
    return this.#interest.patterns;
  }

  get version(): 1 | 2 | undefined {
    return this.#version === 0 ? undefined : this.#version;
  }

  get #asking(): Asking {
    return this.#version === 2 ? this.#requests : this.#interest;
  }

  /** Whether the hub has taken every subscription, as far as it says so: in the first protocol it never does. */
  get isInForce(): boolean {
    return this.#version === 1 || (this.#version === 2 && this.#requests.areInForce);
  }

  /** There is a new connection; the hub on it knows nothing yet. */
  greet(welcome: Welcome | undefined): void {
    this.#welcome = welcome;
    this.#version = welcome === undefined ? 1 : 2;
    this.#asking.forget();
    this.#options.keys.greet(this.#version);
    if (this.#version === 2) return;
    this.#histories.reject(logAbsent());
    if (!this.#standing.isEmpty || [...this.#router.all()].some(({ cursor }) => cursor.start !== undefined)) this.#options.report(logAbsent());
    this.#standing.end(logAbsent(), logAbsent());
  }

  /** The connection is gone. */
  lost(): void {
    this.#version = 0;
    this.#welcome = undefined;
    this.#histories.forget();
    this.#standing.forget();
    this.#options.outbound.lost();
  }

  /** Whether `asks` has something to say. */
  get isPending(): boolean {
    return this.#asking.isPending || this.#histories.isPending || (this.#version === 2 && (this.#standing.isPending || this.#options.keys.isPending));
  }

  /** Whether the hub is to answer what was said of deliveries. */
  get isSettling(): boolean {
    return this.#standing.isSettling;
  }

  /** The text frames that are due. */
  asks(): string[] {
    if (this.#version !== 2) return this.#asking.changes();
    this.#interest.skip();
    return [...this.#asking.changes(), ...this.#standing.changes(), ...this.#histories.asks(), ...this.#options.keys.asks()];
  }

  /** Counts the patterns of a subscription that is about to be made. Code (thrown): SUBSCRIPTIONS_EXCEEDED. */
  want(patterns: readonly string[]): void {
    this.#interest.add(patterns);
  }

  subscribe(subscription: RoomSubscription): void {
    this.#router.add(subscription);
    this.#requests.add(subscription);
    if (this.#version === 1 && subscription.cursor.start !== undefined) this.#options.report(logAbsent());
    this.#options.onChange();
  }

  unsubscribe(subscription: RoomSubscription): void {
    this.#router.remove(subscription);
    this.#interest.release(subscription.rooms);
    this.#requests.remove(subscription);
    this.#options.onChange();
  }

  /** A subscription is to begin where its cursor is. */
  restart(subscription: RoomSubscription): void {
    this.#requests.again(subscription);
    if (this.#version === 2) this.#options.onChange();
  }

  /** Asks for something on every connection, as far as the hub can be asked: else it ends with LOG_ABSENT. */
  open(role: StandingRole): StandingRequest {
    const request = this.#standing.open(role);
    if (this.#version === 1) this.#standing.end(logAbsent(), logAbsent());
    return request;
  }

  /** Something is to be said under a request. */
  speak(request: StandingRequest): void {
    this.#standing.speak(request);
  }

  /** Codes: LOG_ABSENT, REQUESTS_EXCEEDED, ABORTED, what the hub answers. */
  history(rooms: readonly string[], { signal, ...range }: HistoryOptions): Promise<HistoryPage> {
    if (this.#version === 1) return Promise.reject(logAbsent());
    const page = this.#histories.add(rooms, range, signal);
    this.#options.onChange();
    return page;
  }

  /** It is over. */
  end(error: CarillonError, refusal: CarillonError | undefined): void {
    this.#version = 0;
    this.#histories.reject(error);
    this.#standing.end(error, refusal);
    this.replies.reject(error);
    this.#options.keys.reject(error);
    this.#options.outbound.reject(error);
    for (const subscription of this.#router.all()) subscription.end(refusal);
  }

  receive(bytes: Uint8Array): void {
    const parsed = parseFrame(bytes, this.#version === 2 ? 2 : 1, RECEIVE_LIMITS);
    if (!parsed.ok) return this.#options.report(new CarillonError(parsed.code, parsed.detail));
    const { id, re, from, seq, cid, try: attempt = 1 } = parsed.fields;
    if (cid !== undefined) return this.replies.take(cid, new FrameEvent(parsed.room, parsed.body, parsed.fields));
    if (seq === undefined && id !== undefined && !this.#liveIds.add(id)) return;
    const event = new FrameEvent(parsed.room, parsed.body, parsed.fields);
    const isOwn = from !== undefined && from === this.#welcome?.session;
    if (re === undefined) return this.#router.dispatch(event, isOwn);
    const subscription = this.#requests.named(re);
    const standing = this.#standing.named(re);
    if (subscription !== undefined) subscription.receive(event, { isAnswer: true, isOwn });
    else if (standing !== undefined) standing.role.event?.(event, attempt);
    else this.#histories.event(re, event);
  }

  hear(text: string): void {
    if (this.#version !== 2) return this.#hearError(text);
    const parsed = parseControl(text);
    if (parsed.ok) this.#hear(parsed.frame);
    else this.#options.report(new CarillonError(parsed.code, parsed.detail));
  }

  #hearError(text: string): void {
    const error = readHubError(text);
    if (error === undefined) return;
    this.#options.report(error);
    if (error.code === 'RECEIVE_DENIED' && this.#interest.denied()) this.#options.onChange();
  }

  #hear(frame: ControlFrame): void {
    const { keys, outbound, onAnswer, onDrain } = this.#options;
    switch (frame.op) {
      case 'published':
        outbound.published(frame);
        return onAnswer();
      case 'subscribed':
      case 'live':
      case 'behind':
        this.#requests.hear(frame);
        return onAnswer();
      case 'gap':
        return this.#requests.hear(frame) ? undefined : this.#histories.gap(frame);
      case 'consuming':
      case 'settled':
      case 'entered':
      case 'presence':
        this.#standing.hear(frame);
        return onAnswer();
      case 'refreshed':
        return keys.refreshed(frame.request);
      case 'page':
        return this.#histories.page(frame);
      case 'error':
        return this.#hearRefusal(frame);
      case 'drain':
        return onDrain(frame.afterMs);
      default:
        // `bye` comes before a close that says the same; the rest is not for messengers.
        return;
    }
  }

  #hearRefusal(frame: Extract<ControlFrame, { readonly op: 'error' }>): void {
    const { keys, outbound, onAnswer, report } = this.#options;
    const { code, detail, request } = frame;
    if (request !== undefined) {
      if (this.#histories.refused(frame) || keys.refused(frame)) return;
      if (this.#requests.hear(frame) || this.#standing.hear(frame) || outbound.refused(request, code, detail)) return onAnswer();
      // It was given up meanwhile: nobody is left to tell.
      if (code === 'REQUEST_UNKNOWN') return;
    }
    report(hubError(frame));
  }
}

function logAbsent(): CarillonError {
  return new CarillonError('LOG_ABSENT', 'the hub speaks the first protocol, in which events come as they happen');
}
