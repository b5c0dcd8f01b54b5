import { CarillonError, createEventIds } from '@carillon/wire';
import { abortable, abortedError, type Settle } from './abort.ts';
import { Dialogue } from './dialogue.ts';
import { Faults } from './faults.ts';
import { checkRange, type HistoryPage } from './histories.ts';
import type { HubUrl } from './hub-url.ts';
import { validPatterns } from './interest.ts';
import { Lifecycle, type LifecycleDeps } from './lifecycle.ts';
import { Listeners } from './listeners.ts';
import type { Loss } from './loss.ts';
import type { DrainOptions, HistoryOptions, Messenger, MessengerState, PublishOptions, SendOptions, SignalOptions } from './messenger.ts';
import { newSubscription } from './new-subscription.ts';
import { positive, type CompiledOptions } from './options.ts';
import { Outbound, takes } from './outbound.ts';
import { eventJson, outgoingEvent, roomOf } from './outgoing-frame.ts';
import type { Published } from './published.ts';
import type { ReceivedEvent } from './received-event.ts';
import type { RoomEvent } from './room-event.ts';
import { sessionName } from './session-name.ts';
import type { CallbackOptions, SubscribeOptions, Subscription } from './subscription.ts';

export interface SessionDeps extends LifecycleDeps {
  readonly stableAfterMs: number;
}

/** How soon to look again whether a socket that is behind takes more: no platform's WebSocket says so by itself. */
const FLUSH_RETRY_MS = 10;
const DRAIN_TIMEOUT_MS = 10_000;

/** A messenger: subscriptions and waiting publishes, which outlive the connections that serve them. */
export class Session implements Messenger {
  readonly #hub: HubUrl;
  readonly #options: CompiledOptions;
  readonly #clock: SessionDeps['clock'];
  readonly #lifecycle: Lifecycle;
  readonly #outbound: Outbound;
  readonly #dialogue: Dialogue;
  readonly #nextId: () => string;
  readonly #stateListeners = new Listeners<MessengerState>();
  readonly #faults: Faults;
  readonly #waitingForReady = new Set<Settle<void>>();
  #lastPingAt: number | undefined;
  /** Why it is closed, when the hub wanted it so. */
  #refusal: CarillonError | undefined;
  /** Why it is closed, when the caller did not say so. */
  #closeDetail: string | undefined;
  #changesQueued = false;
  #stopFlushTimer: () => void = () => undefined;
  #stopDrainTimer: () => void = () => undefined;

  constructor(hub: HubUrl, options: CompiledOptions, deps: SessionDeps) {
    this.#hub = hub;
    this.#options = options;
    this.#clock = deps.clock;
    this.#faults = new Faults(() => deps.clock.now());
    const random = (): number => deps.clock.random();
    this.#nextId = createEventIds({ now: () => deps.clock.now(), random40: () => Math.floor(random() * 2 ** 40) });
    this.#outbound = new Outbound({ clock: deps.clock, maxBytes: options.outboundMaxBytes, backoff: options.backoff, onReady: () => this.#pump() });
    this.#dialogue = new Dialogue({
      outbound: this.#outbound,
      report: this.#faults.report,
      onChange: () => this.#queueChanges(),
      onAnswer: () => this.#pump(),
      onDrain: (afterMs) => this.#lifecycle.expectDrain(afterMs),
    });
    this.#lifecycle = new Lifecycle(deps, {
      ...options, url: hub.url, promisesPings: hub.promisesPings, offersV2: hub.registersRooms, session: sessionName(random), retry: { ...options.backoff, stableAfterMs: deps.stableAfterMs },
    }, {
      onGreet: () => this.#greet(),
      onWait: () => this.#wait(),
      onFlush: () => this.#startDrain(),
      onEnd: () => this.#end(),
      onStatus: () => this.#stateListeners.emit(this.state, this.#faults.report),
      onLoss: (loss) => this.#lose(loss),
      onBinary: (bytes) => this.#dialogue.receive(bytes),
      onText: (text) => this.#dialogue.hear(text),
      onPing: () => (this.#lastPingAt = this.#clock.now()),
    });
  }

  start(): void {
    this.#lifecycle.start();
  }

  get state(): MessengerState {
    const { version } = this.#dialogue;
    return {
      status: this.#lifecycle.status,
      hub: this.#hub.shown,
      attempt: this.#lifecycle.attempt,
      ...(this.#faults.last === undefined ? {} : { lastError: this.#faults.last }),
      ...(this.#lastPingAt === undefined ? {} : { lastPingAt: this.#lastPingAt }),
      ...(version === undefined ? {} : { protocol: version }),
      rooms: this.#dialogue.patterns,
      queuedBytes: this.#outbound.bytes,
    };
  }

  async ready(options: SignalOptions = {}): Promise<void> {
    this.#refuseWhenOver();
    return abortable<void>(options.signal, (settle) => {
      this.#waitingForReady.add(settle);
      this.#tellReady();
      return () => this.#waitingForReady.delete(settle);
    });
  }

  async publish<T extends RoomEvent = RoomEvent>(event: T, options: PublishOptions = {}): Promise<Published> {
    return this.send(options.room ?? roomOf(event), eventJson(event), options);
  }

  async send(room: string, body: Uint8Array | string, options: SendOptions = {}): Promise<Published> {
    if (options.signal?.aborted === true) throw abortedError(options.signal);
    this.#refuseWhenOver();
    const { id = this.#nextId(), ttlMs, traceparent, signal } = options;
    const event = outgoingEvent(room, body, { id, ttlMs, traceparent });
    // What was subscribed to before this publish is asked for before it: the answer may come at once.
    if (this.#changesQueued) this.#pump();
    const sent = this.#outbound.publish(event, this.#lifecycle.open, { signal, timeoutMs: this.#options.publishTimeoutMs });
    if (!this.#outbound.isEmpty) this.#pump();
    return sent;
  }

  subscribe<T = unknown>(rooms: string | readonly string[], onEventOrOptions?: ((event: ReceivedEvent<T>) => void) | SubscribeOptions, callbackOptions?: CallbackOptions): Subscription<T> {
    const onEvent = typeof onEventOrOptions === 'function' ? onEventOrOptions : undefined;
    const options: CallbackOptions = (typeof onEventOrOptions === 'function' ? callbackOptions : onEventOrOptions) ?? {};
    if (options.signal?.aborted === true) throw abortedError(options.signal);
    this.#refuseWhenOver();
    const patterns = validPatterns(rooms);
    this.#dialogue.want(patterns);
    const subscription = newSubscription(patterns, {
      onEvent,
      options,
      maxEvents: this.#options.subscriptionMaxEvents,
      report: this.#faults.report,
      onRestart: (restarted) => this.#dialogue.restart(restarted),
      onClosed: (ended) => this.#dialogue.unsubscribe(ended),
    });
    this.#dialogue.subscribe(subscription);
    return subscription;
  }

  async history<T = unknown>(rooms: string | readonly string[], options: HistoryOptions = {}): Promise<HistoryPage<T>> {
    if (options.signal?.aborted === true) throw abortedError(options.signal);
    this.#refuseWhenOver();
    checkRange(options);
    return this.#dialogue.history(validPatterns(rooms), options) as Promise<HistoryPage<T>>;
  }

  on(name: 'state', listener: (state: MessengerState) => void): () => void;
  on(name: 'error', listener: (error: Error) => void): () => void;
  on(...[name, listener]: ['state', (state: MessengerState) => void] | ['error', (error: Error) => void]): () => void {
    return name === 'state' ? this.#stateListeners.add(listener) : this.#faults.listeners.add(listener);
  }

  drain(options: DrainOptions = {}): Promise<void> {
    const { signal } = options;
    const drainTimeoutMs = positive('drainTimeoutMs', options.drainTimeoutMs, DRAIN_TIMEOUT_MS);
    if (signal?.aborted === true) return Promise.reject(abortedError(signal));
    if (this.#lifecycle.status !== 'draining' && this.#lifecycle.status !== 'closed') {
      this.#stopDrainTimer = this.#clock.schedule(() => this.#giveUp('the drain took too long'), drainTimeoutMs);
      this.#lifecycle.raise('drain');
    }
    if (signal === undefined) return this.#lifecycle.closed;
    return abortable<void>(signal, (settle) => {
      void this.#lifecycle.closed.then(settle.resolve);
      return () => this.#giveUp('the drain was aborted');
    });
  }

  close(): Promise<void> {
    this.#lifecycle.raise('close');
    return this.#lifecycle.closed;
  }

  #giveUp(detail: string): void {
    this.#closeDetail ??= detail;
    this.#lifecycle.raise('close');
  }

  #over(): CarillonError {
    return this.#refusal ?? new CarillonError('MESSENGER_CLOSED', this.#lifecycle.status === 'draining' ? 'it is draining' : this.#closeDetail);
  }

  #refuseWhenOver(): void {
    if (this.#lifecycle.status === 'draining' || this.#lifecycle.status === 'closed') throw this.#over();
  }

  #greet(): void {
    this.#dialogue.greet(this.#lifecycle.open?.welcome);
    this.#pump();
  }

  #tellReady(): void {
    if (this.#lifecycle.status !== 'open' || !this.#dialogue.isInForce) return;
    for (const settle of this.#waitingForReady) settle.resolve();
    this.#waitingForReady.clear();
  }

  #wait(): void {
    this.#stopFlushTimer();
    this.#dialogue.lost();
    if (this.#lifecycle.status === 'draining') this.#pump();
  }

  #startDrain(): void {
    this.#rejectWaiting();
    this.#pump();
  }

  #end(): void {
    this.#stopFlushTimer();
    this.#stopDrainTimer();
    this.#rejectWaiting();
    this.#dialogue.end(this.#over(), this.#refusal);
  }

  #rejectWaiting(): void {
    for (const settle of this.#waitingForReady) settle.reject(this.#over());
    this.#waitingForReady.clear();
  }

  /** Moves what waits: what is to be asked first, then events; looks again soon when the socket is behind. */
  #pump(): void {
    this.#stopFlushTimer();
    const { open, status } = this.#lifecycle;
    this.#changesQueued = false;
    const told = !this.#hub.registersRooms || (open !== undefined && this.#ask());
    const isBehind = told && open !== undefined && this.#outbound.flush(open);
    this.#tellReady();
    const idle = this.#outbound.isEmpty && (open === undefined || open.bufferedBytes === 0);
    if (status === 'draining' && idle) return this.#lifecycle.raise('flushed');
    if (open !== undefined && (status === 'draining' || !told || isBehind)) this.#stopFlushTimer = this.#clock.schedule(() => this.#pump(), FLUSH_RETRY_MS);
  }

  #ask(): boolean {
    const { open } = this.#lifecycle;
    if (!this.#dialogue.isPending) return true;
    if (!takes(open)) return false;
    for (const text of this.#dialogue.asks()) open.send(text);
    return true;
  }

  /** Changes made in one turn of the program go to the hub together. */
  #queueChanges(): void {
    if (this.#changesQueued || this.#lifecycle.open === undefined) return;
    this.#changesQueued = true;
    queueMicrotask(() => {
      if (this.#changesQueued) this.#pump();
    });
  }

  #lose(loss: Loss): void {
    const error = new CarillonError(loss.code, loss.detail);
    if (loss.kind === 'refused') this.#refusal = error;
    this.#faults.report(error);
  }
}
