import { CarillonError, createEventIds } from '@carillon/wire';
import { abortedError } from './abort.ts';
import type { Consumer, ConsumeOptions } from './consumer.ts';
import { ConsumerMember } from './consumer-member.ts';
import { EnteredRoom } from './entered-room.ts';
import { Exchange, type ExchangeDeps } from './exchange.ts';
import { checkRange, type HistoryPage } from './histories.ts';
import type { HubUrl } from './hub-url.ts';
import { validPatterns } from './interest.ts';
import type { DrainOptions, HistoryOptions, Messenger, MessengerState, PublishOptions, ReplyOptions, RequestOptions, SendOptions, SignalOptions } from './messenger.ts';
import { newSubscription } from './new-subscription.ts';
import { positive, type CompiledOptions } from './options.ts';
import { eventJson, outgoingEvent, roomOf } from './outgoing-frame.ts';
import type { EnterOptions, Presence, PresenceChange, RoomWatch } from './presence.ts';
import type { Published } from './published.ts';
import type { ReceivedEvent } from './received-event.ts';
import type { RoomEvent } from './room-event.ts';
import type { StandingRequest, StandingRole } from './standing-request.ts';
import type { CallbackOptions, SubscribeOptions, Subscription } from './subscription.ts';
import { WatchedRoom } from './watched-room.ts';

export type SessionDeps = ExchangeDeps;

const REPLY_TIMEOUT_MS = 10_000;

/** A messenger: what a program may call, over the exchange that outlives its connections. */
export class Session implements Messenger {
  readonly #options: CompiledOptions;
  readonly #exchange: Exchange;
  readonly #nextId: () => string;

  constructor(hub: HubUrl, options: CompiledOptions, deps: SessionDeps) {
    const { clock } = deps;
    this.#options = options;
    this.#nextId = createEventIds({ now: () => clock.now(), random40: () => Math.floor(clock.random() * 2 ** 40) });
    this.#exchange = new Exchange(hub, options, deps);
  }

  start(): void {
    this.#exchange.start();
  }

  get state(): MessengerState {
    return this.#exchange.state;
  }

  async ready({ signal }: SignalOptions = {}): Promise<void> {
    this.#exchange.refuseWhenOver();
    return this.#exchange.ready(signal);
  }

  async publish<T extends RoomEvent = RoomEvent>(event: T, options: PublishOptions = {}): Promise<Published> {
    return this.send(options.room ?? roomOf(event), eventJson(event), options);
  }

  async send(room: string, body: Uint8Array | string, options: SendOptions = {}): Promise<Published> {
    this.#begin(options);
    const { id = this.#nextId(), ttlMs, traceparent, delayMs } = options;
    return this.#exchange.publish(outgoingEvent(room, body, { id, ttlMs, traceparent, delayMs }), options);
  }

  async request<T = unknown>(room: string, body: Uint8Array | string, options: RequestOptions = {}): Promise<ReceivedEvent<T>> {
    const timeoutMs = positive('timeoutMs', options.timeoutMs, REPLY_TIMEOUT_MS);
    this.#begin(options);
    const { id = this.#nextId(), traceparent, signal } = options;
    const event = outgoingEvent(room, body, { id, ttlMs: Math.ceil(timeoutMs), traceparent, wantsReply: true });
    const publish = (sending: AbortSignal): Promise<Published> => this.#exchange.publish(event, { signal: sending });
    return this.#exchange.dialogue.replies.wait({ id, timeoutMs, signal, publish }) as Promise<ReceivedEvent<T>>;
  }

  async reply(event: ReceivedEvent, body: Uint8Array | string, options: ReplyOptions = {}): Promise<Published> {
    this.#begin(options);
    const { id = this.#nextId(), ttlMs, traceparent } = options;
    if (event.replyTo === undefined || event.id === undefined) throw new CarillonError('EVENT_INVALID', 'it is no request');
    return this.#exchange.publish(outgoingEvent(event.room, body, { id, ttlMs, traceparent, replyTo: { inbox: event.replyTo, id: event.id } }), options);
  }

  subscribe<T = unknown>(rooms: string | readonly string[], onEventOrOptions?: ((event: ReceivedEvent<T>) => void) | SubscribeOptions, callbackOptions?: CallbackOptions): Subscription<T> {
    const onEvent = typeof onEventOrOptions === 'function' ? onEventOrOptions : undefined;
    const options: CallbackOptions = (typeof onEventOrOptions === 'function' ? callbackOptions : onEventOrOptions) ?? {};
    this.#begin(options);
    const { dialogue, faults } = this.#exchange;
    const patterns = validPatterns(rooms);
    dialogue.want(patterns);
    const subscription = newSubscription(patterns, {
      onEvent,
      options,
      maxEvents: this.#options.subscriptionMaxEvents,
      report: faults.report,
      onRestart: (restarted) => dialogue.restart(restarted),
      onClosed: (ended) => dialogue.unsubscribe(ended),
    });
    dialogue.subscribe(subscription);
    return subscription;
  }

  consume<T = unknown>(name: string, rooms: string | readonly string[], options: ConsumeOptions = {}): Consumer<T> {
    this.#begin(options);
    return new ConsumerMember({ name, rooms: validPatterns(rooms), settings: options, open: this.#open, onSay: (request) => this.#exchange.dialogue.speak(request) });
  }

  enter(room: string, options: EnterOptions = {}): Presence {
    this.#begin({});
    return new EnteredRoom(room, options, this.#open);
  }

  watch(room: string, listener?: (change: PresenceChange) => void): RoomWatch {
    this.#begin({});
    const watch = new WatchedRoom(room, { open: this.#open, report: this.#exchange.faults.report });
    if (listener !== undefined) watch.on(listener);
    return watch;
  }

  async history<T = unknown>(rooms: string | readonly string[], options: HistoryOptions = {}): Promise<HistoryPage<T>> {
    this.#begin(options);
    checkRange(options);
    return this.#exchange.dialogue.history(validPatterns(rooms), options) as Promise<HistoryPage<T>>;
  }

  async refresh(key: string): Promise<void> {
    this.#begin({});
    return this.#exchange.refresh(key);
  }

  on(name: 'state', listener: (state: MessengerState) => void): () => void;
  on(name: 'error', listener: (error: Error) => void): () => void;
  on(...[name, listener]: ['state', (state: MessengerState) => void] | ['error', (error: Error) => void]): () => void {
    return name === 'state' ? this.#exchange.stateListeners.add(listener) : this.#exchange.faults.listeners.add(listener);
  }

  drain(options: DrainOptions = {}): Promise<void> {
    return options.signal?.aborted === true ? Promise.reject(abortedError(options.signal)) : this.#exchange.drain(options);
  }

  close(): Promise<void> {
    return this.#exchange.close();
  }

  /** Codes (thrown): ABORTED, MESSENGER_CLOSED, that of a final refusal by the hub. */
  #begin({ signal }: SignalOptions): void {
    if (signal?.aborted === true) throw abortedError(signal);
    this.#exchange.refuseWhenOver();
  }

  readonly #open = (role: StandingRole): StandingRequest => this.#exchange.dialogue.open(role);
}
