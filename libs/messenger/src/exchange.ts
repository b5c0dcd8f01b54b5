import { CarillonError } from '@carillon/wire';
import { abortable, type Settle } from './abort.ts';
import { AccessKeys } from './access-keys.ts';
import { Dialogue } from './dialogue.ts';
import { Faults } from './faults.ts';
import type { HubUrl } from './hub-url.ts';
import { Lifecycle, type LifecycleDeps } from './lifecycle.ts';
import { Listeners } from './listeners.ts';
import type { Loss } from './loss.ts';
import type { DrainOptions, MessengerState, SignalOptions } from './messenger.ts';
import { positive, type CompiledOptions } from './options.ts';
import { Outbound, takes } from './outbound.ts';
import type { OutgoingEvent } from './outgoing-frame.ts';
import type { Published } from './published.ts';
import { sessionName } from './session-name.ts';

export interface ExchangeDeps extends LifecycleDeps {
  readonly stableAfterMs: number;
}

/** How soon to look again whether a socket that is behind takes more: no platform's WebSocket says so by itself. */
const FLUSH_RETRY_MS = 10;
const DRAIN_TIMEOUT_MS = 10_000;

/** What a messenger's connections have in common: moves what waits over the one of the moment, and ends when told so. */
export class Exchange {
  readonly dialogue: Dialogue;
  readonly faults: Faults;
  readonly stateListeners = new Listeners<MessengerState>();
  readonly #hub: HubUrl;
  readonly #options: CompiledOptions;
  readonly #clock: ExchangeDeps['clock'];
  readonly #lifecycle: Lifecycle;
  readonly #outbound: Outbound;
  readonly #keys: AccessKeys;
  readonly #waitingForReady = new Set<Settle<void>>();
  #lastPingAt: number | undefined;
  /** Why it is closed, when the hub wanted it so. */
  #refusal: CarillonError | undefined;
  /** Why it is closed, when the caller did not say so. */
  #closeDetail: string | undefined;
  #changesQueued = false;
  #stopFlushTimer: () => void = () => undefined;
  #stopDrainTimer: () => void = () => undefined;

  constructor(hub: HubUrl, options: CompiledOptions, deps: ExchangeDeps) {
    const { clock, transport, stableAfterMs } = deps;
    const { backoff, headers } = options;
    this.#hub = hub;
    this.#options = options;
    this.#clock = clock;
    this.faults = new Faults(() => clock.now());
    const onChange = (): void => this.#queueChanges();
    this.#outbound = new Outbound({ clock, maxBytes: options.outboundMaxBytes, backoff, onReady: () => this.#pump() });
    this.#keys = new AccessKeys({ access: { url: hub.url, headers }, sendsHeaders: transport.sendsHeaders, onChange });
    this.dialogue = new Dialogue({
      clock,
      backoff,
      outbound: this.#outbound,
      keys: this.#keys,
      report: this.faults.report,
      onChange,
      onAnswer: () => this.#pump(),
      onDrain: (afterMs) => this.#lifecycle.expectDrain(afterMs),
    });
    this.#lifecycle = new Lifecycle(deps, {
      ...options, access: () => this.#keys.present(), promisesPings: hub.promisesPings, offersV2: hub.registersRooms, session: sessionName(() => clock.random()), retry: { ...backoff, stableAfterMs },
    }, {
      onGreet: () => this.#greet(),
      onWait: () => this.#wait(),
      onFlush: () => this.#startDrain(),
      onEnd: () => this.#end(),
      onStatus: () => this.stateListeners.emit(this.state, this.faults.report),
      onLoss: (loss) => this.#lose(loss),
      onBinary: (bytes) => this.dialogue.receive(bytes),
      onText: (text) => this.dialogue.hear(text),
      onPing: () => (this.#lastPingAt = clock.now()),
    });
  }

  start(): void {
    this.#lifecycle.start();
  }

  get state(): MessengerState {
    const { patterns, version } = this.dialogue;
    const { last } = this.faults;
    return {
      status: this.#lifecycle.status,
      hub: this.#hub.shown,
      attempt: this.#lifecycle.attempt,
      ...(last === undefined ? {} : { lastError: last }),
      ...(this.#lastPingAt === undefined ? {} : { lastPingAt: this.#lastPingAt }),
      ...(version === undefined ? {} : { protocol: version }),
      rooms: patterns,
      queuedBytes: this.#outbound.bytes,
    };
  }

  /** Whether calls are refused, and why (thrown). Codes: MESSENGER_CLOSED, that of a final refusal by the hub. */
  refuseWhenOver(): void {
    if (this.#lifecycle.status === 'draining' || this.#lifecycle.status === 'closed') throw this.#over();
  }

  ready(signal: AbortSignal | undefined): Promise<void> {
    return abortable<void>(signal, (settle) => {
      this.#waitingForReady.add(settle);
      this.#tellReady();
      return () => this.#waitingForReady.delete(settle);
    });
  }

  publish(event: OutgoingEvent, { signal }: SignalOptions): Promise<Published> {
    // What was asked for before this publish goes before it: the answer may come at once.
    if (this.#changesQueued) this.#pump();
    const sent = this.#outbound.publish(event, this.#lifecycle.open, { signal, timeoutMs: this.#options.publishTimeoutMs });
    if (!this.#outbound.isEmpty) this.#pump();
    return sent;
  }

  /** Codes: as of `AccessKeys.refresh`. */
  refresh(key: string): Promise<void> {
    return this.#keys.refresh(key);
  }

  drain({ signal, drainTimeoutMs }: DrainOptions): Promise<void> {
    const timeoutMs = positive('drainTimeoutMs', drainTimeoutMs, DRAIN_TIMEOUT_MS);
    if (this.#lifecycle.status !== 'draining' && this.#lifecycle.status !== 'closed') {
      this.#stopDrainTimer = this.#clock.schedule(() => this.#giveUp('the drain took too long'), timeoutMs);
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

  #greet(): void {
    this.dialogue.greet(this.#lifecycle.open?.welcome);
    this.#pump();
  }

  #tellReady(): void {
    if (this.#lifecycle.status !== 'open' || !this.dialogue.isInForce) return;
    for (const settle of this.#waitingForReady) settle.resolve();
    this.#waitingForReady.clear();
  }

  #wait(): void {
    this.#stopFlushTimer();
    this.dialogue.lost();
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
    this.dialogue.end(this.#over(), this.#refusal);
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
    const idle = this.#outbound.isEmpty && !this.dialogue.isSettling && (open === undefined || open.bufferedBytes === 0);
    if (status === 'draining' && idle) return this.#lifecycle.raise('flushed');
    if (open !== undefined && (status === 'draining' || !told || isBehind)) this.#stopFlushTimer = this.#clock.schedule(() => this.#pump(), FLUSH_RETRY_MS);
  }

  #ask(): boolean {
    const { open } = this.#lifecycle;
    if (!this.dialogue.isPending) return true;
    if (!takes(open)) return false;
    for (const text of this.dialogue.asks()) open.send(text);
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
    this.faults.report(error);
    this.#keys.lost(loss);
  }
}
