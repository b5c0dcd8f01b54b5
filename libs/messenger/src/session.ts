import { CarillonError, DEFAULT_LIMITS, parseFrame } from '@carillon/wire';
import { abortable, abortedError, type Settle } from './abort.ts';
import { callbackSink } from './callback-sink.ts';
import { EventBuffer } from './event-buffer.ts';
import { Faults } from './faults.ts';
import { readHubError } from './hub-error.ts';
import type { HubUrl } from './hub-url.ts';
import { Interest, validPatterns } from './interest.ts';
import { Lifecycle, type LifecycleDeps } from './lifecycle.ts';
import { Listeners } from './listeners.ts';
import type { Loss } from './loss.ts';
import type { DrainOptions, Messenger, MessengerState, PublishOptions, SendOptions, SignalOptions } from './messenger.ts';
import { positive, type CompiledOptions } from './options.ts';
import { Outbound, takes } from './outbound.ts';
import { eventJson, outgoingFrame, roomOf } from './outgoing-frame.ts';
import { FrameEvent, type ReceivedEvent } from './received-event.ts';
import type { RoomEvent } from './room-event.ts';
import { Router } from './router.ts';
import { RoomSubscription, type CallbackOptions, type EventSink, type Subscription } from './subscription.ts';
import { FRAME_RECEIVE_MAX_BYTES } from './transport.ts';

export interface SessionDeps extends LifecycleDeps {
  readonly stableAfterMs: number;
}

/** How soon to look again whether a socket that is behind takes more: no platform's WebSocket says so by itself. */
const FLUSH_RETRY_MS = 10;
const DRAIN_TIMEOUT_MS = 10_000;
/** Bytes one iterable may keep for its reader, besides the bound on events. */
const SUBSCRIPTION_MAX_BYTES = 67_108_864;

const RECEIVE_LIMITS = { ...DEFAULT_LIMITS, frameMaxBytes: FRAME_RECEIVE_MAX_BYTES };

/** A messenger: subscriptions and waiting publishes, which outlive the connections that serve them. */
export class Session implements Messenger {
  readonly #hub: HubUrl;
  readonly #options: CompiledOptions;
  readonly #clock: SessionDeps['clock'];
  readonly #lifecycle: Lifecycle;
  readonly #outbound: Outbound;
  readonly #interest = new Interest();
  readonly #router = new Router();
  readonly #stateListeners = new Listeners<MessengerState>();
  readonly #faults: Faults;
  readonly #waitingForOpen = new Set<Settle<void>>();
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
    this.#outbound = new Outbound(options.outboundMaxBytes);
    this.#lifecycle = new Lifecycle(deps, { ...options, url: hub.url, promisesPings: hub.promisesPings, retry: { ...options.backoff, stableAfterMs: deps.stableAfterMs } }, {
      onGreet: () => this.#greet(),
      onWait: () => this.#wait(),
      onFlush: () => this.#startDrain(),
      onEnd: () => this.#end(),
      onStatus: () => this.#stateListeners.emit(this.state, this.#faults.report),
      onLoss: (loss) => this.#lose(loss),
      onBinary: (bytes) => this.#receive(bytes),
      onText: (text) => this.#hearHub(text),
      onPing: () => (this.#lastPingAt = this.#clock.now()),
    });
  }

  start(): void {
    this.#lifecycle.start();
  }

  get state(): MessengerState {
    return {
      status: this.#lifecycle.status,
      hub: this.#hub.shown,
      attempt: this.#lifecycle.attempt,
      ...(this.#faults.last === undefined ? {} : { lastError: this.#faults.last }),
      ...(this.#lastPingAt === undefined ? {} : { lastPingAt: this.#lastPingAt }),
      rooms: this.#interest.patterns,
      queuedBytes: this.#outbound.bytes,
    };
  }

  async ready(options: SignalOptions = {}): Promise<void> {
    this.#refuseWhenOver();
    return abortable<void>(options.signal, (settle) => {
      if (this.#lifecycle.status === 'open') settle.resolve();
      else this.#waitingForOpen.add(settle);
      return () => this.#waitingForOpen.delete(settle);
    });
  }

  async publish<T extends RoomEvent = RoomEvent>(event: T, options: PublishOptions = {}): Promise<void> {
    return this.send(options.room ?? roomOf(event), eventJson(event), options);
  }

  async send(room: string, body: Uint8Array | string, options: SendOptions = {}): Promise<void> {
    if (options.signal?.aborted === true) throw abortedError(options.signal);
    this.#refuseWhenOver();
    const frame = outgoingFrame(room, body);
    // What was subscribed to before this publish is asked for before it: the answer may come at once.
    if (this.#changesQueued) this.#pump();
    const sent = this.#outbound.publish(frame, this.#lifecycle.open, options.signal);
    if (!this.#outbound.isEmpty) this.#pump();
    return sent;
  }

  subscribe<T = unknown>(rooms: string | readonly string[], onEventOrOptions?: ((event: ReceivedEvent<T>) => void) | SignalOptions, callbackOptions?: CallbackOptions): Subscription<T> {
    const onEvent = typeof onEventOrOptions === 'function' ? onEventOrOptions : undefined;
    const options: CallbackOptions = (typeof onEventOrOptions === 'function' ? callbackOptions : onEventOrOptions) ?? {};
    if (options.signal?.aborted === true) throw abortedError(options.signal);
    this.#refuseWhenOver();
    const patterns = validPatterns(rooms);
    const sink: EventSink = onEvent === undefined
      ? new EventBuffer({ maxEvents: this.#options.subscriptionMaxEvents, maxBytes: SUBSCRIPTION_MAX_BYTES })
      : callbackSink(onEvent, options.onError ?? this.#faults.report);
    this.#interest.add(patterns);
    const subscription = new RoomSubscription(patterns, { sink, signal: options.signal, onClosed: (ended) => this.#unsubscribe(ended) });
    this.#router.add(subscription);
    this.#queueChanges();
    return subscription;
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
    this.#interest.forget();
    this.#pump();
    if (this.#lifecycle.status === 'draining') return;
    for (const settle of this.#waitingForOpen) settle.resolve();
    this.#waitingForOpen.clear();
  }

  #wait(): void {
    this.#stopFlushTimer();
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
    this.#outbound.reject(this.#over());
    for (const subscription of this.#router.all()) subscription.end(this.#refusal);
  }

  #rejectWaiting(): void {
    for (const settle of this.#waitingForOpen) settle.reject(this.#over());
    this.#waitingForOpen.clear();
  }

  /** Moves what waits: subscription changes first, then frames; looks again soon when the socket is behind. */
  #pump(): void {
    this.#stopFlushTimer();
    const { open, status } = this.#lifecycle;
    this.#changesQueued = false;
    const told = !this.#hub.registersRooms || (open !== undefined && this.#tellRooms());
    if (told && open !== undefined) this.#outbound.flush(open);
    const idle = this.#outbound.isEmpty && (open === undefined || open.bufferedBytes === 0);
    if (status === 'draining' && idle) return this.#lifecycle.raise('flushed');
    const behind = status === 'draining' || !told || !this.#outbound.isEmpty;
    if (open !== undefined && behind) this.#stopFlushTimer = this.#clock.schedule(() => this.#pump(), FLUSH_RETRY_MS);
  }

  #tellRooms(): boolean {
    const { open } = this.#lifecycle;
    if (!this.#interest.isPending) return true;
    if (!takes(open)) return false;
    for (const text of this.#interest.changes()) open.send(text);
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

  #unsubscribe(subscription: RoomSubscription): void {
    this.#router.remove(subscription);
    this.#interest.release(subscription.rooms);
    this.#queueChanges();
  }

  #receive(bytes: Uint8Array): void {
    const parsed = parseFrame(bytes, 1, RECEIVE_LIMITS);
    if (parsed.ok) this.#router.dispatch(new FrameEvent(parsed.room, parsed.body));
    else this.#faults.report(new CarillonError(parsed.code, parsed.detail));
  }

  #hearHub(text: string): void {
    const error = readHubError(text);
    if (error === undefined) return;
    this.#faults.report(error);
    if (error.code === 'RECEIVE_DENIED' && this.#interest.denied()) this.#queueChanges();
  }

  #lose(loss: Loss): void {
    const error = new CarillonError(loss.code, loss.detail);
    if (loss.kind === 'refused') this.#refusal = error;
    this.#faults.report(error);
  }
}
