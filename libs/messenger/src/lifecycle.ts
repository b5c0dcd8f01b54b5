import type { Access } from './access-keys.ts';
import type { Clock } from './clock.ts';
import { Connection, type ConnectionTarget } from './connection.ts';
import type { Loss } from './loss.ts';
import { TABLE, type Effect, type MachineEvent } from './machine.ts';
import type { MessengerStatus } from './messenger.ts';
import { Offer } from './offer.ts';
import { Retry, type RetryOptions } from './retry.ts';
import type { Transport } from './transport.ts';

export interface LifecycleDeps {
  readonly clock: Clock;
  readonly transport: Transport;
}

/** How it connects; `access` says where to and as whom, `offersV2` whether who listens there may speak the second protocol. */
export type LifecycleTarget = Omit<ConnectionTarget, 'protocols' | keyof Access> & { readonly access: () => Access; readonly retry: RetryOptions; readonly offersV2: boolean };

/** What the owner of a lifecycle does when the table says so. */
export interface LifecycleEvents {
  /** The connection is open: `lifecycle.open` is set. */
  onGreet(): void;
  /** The connection is gone, the retry is set. */
  onWait(): void;
  onFlush(): void;
  /** It is over; called before the socket is closed. */
  onEnd(): void;
  /** The status changed and what follows from it was done. */
  onStatus(): void;
  /** Why a connection ended; called before the status changes. */
  onLoss(loss: Loss): void;
  onBinary(bytes: Uint8Array): void;
  onText(text: string): void;
  onPing(): void;
}

/**
 * Runs the table of machine.ts: holds the status, the socket and the retry timer. Events are run to completion one
 * after the other; one that is raised meanwhile waits its turn, so that listeners see the statuses in order.
 */
export class Lifecycle {
  /** Resolves, once, when it is closed and the socket is gone. */
  readonly closed: Promise<void>;
  readonly #deps: LifecycleDeps;
  readonly #target: LifecycleTarget;
  readonly #events: LifecycleEvents;
  readonly #retry: Retry;
  readonly #offer: Offer;
  readonly #raised: MachineEvent[] = [];
  #resolveClosed: () => void = () => undefined;
  #status: MessengerStatus = 'connecting';
  #running = false;
  #connection: Connection | undefined;
  #open: Connection | undefined;
  #hintMs = 0;
  #drainMs: number | undefined;

  constructor(deps: LifecycleDeps, target: LifecycleTarget, events: LifecycleEvents) {
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    this.#deps = deps;
    this.#target = target;
    this.#events = events;
    this.#retry = new Retry(deps.clock, target.retry);
    this.#offer = new Offer(target.offersV2, () => deps.clock.now());
  }

  get status(): MessengerStatus {
    return this.#status;
  }

  get attempt(): number {
    return this.#retry.attempt;
  }

  /** The connection that was greeted, while it lasts. */
  get open(): Connection | undefined {
    return this.#open;
  }

  /** The hub is about to stop and wants nobody back for so long: the close that comes is no failure. */
  expectDrain(afterMs: number): void {
    this.#drainMs = afterMs;
  }

  start(): void {
    this.#dial();
  }

  raise(event: MachineEvent): void {
    this.#raised.push(event);
    if (this.#running) return;
    this.#running = true;
    try {
      for (let next = this.#raised.shift(); next !== undefined; next = this.#raised.shift()) this.#step(next);
    } finally {
      this.#running = false;
    }
  }

  #step(event: MachineEvent): void {
    const { next, effect } = TABLE[this.#status][event];
    const changed = next !== this.#status;
    this.#status = next;
    this.#do(effect);
    if (changed) this.#events.onStatus();
  }

  #do(effect: Effect): void {
    switch (effect) {
      case 'none':
        return;
      case 'dial':
        return this.#dial();
      case 'greet':
        this.#open = this.#connection;
        this.#retry.opened();
        return this.#events.onGreet();
      case 'wait':
        this.#connection = undefined;
        this.#open = undefined;
        this.#retry.lost(this.#hintMs, () => this.raise('retry'));
        return this.#events.onWait();
      case 'flush':
        return this.#events.onFlush();
      case 'end':
        return this.#end();
      default:
        return effect satisfies never;
    }
  }

  #dial(): void {
    const events = this.#events;
    const connection = new Connection(this.#deps, { ...this.#target, ...this.#target.access(), protocols: this.#offer.next() }, {
      onOpen: () => {
        if (connection.welcome !== undefined) this.#offer.taken();
        this.raise('opened');
      },
      onBinary: (bytes) => events.onBinary(bytes),
      onText: (text) => events.onText(text),
      onPing: () => events.onPing(),
      onGone: (loss) => this.#gone(loss),
    });
    this.#connection = connection;
  }

  #gone(loss: Loss): void {
    const drainMs = this.#drainMs;
    this.#drainMs = undefined;
    // The hub is there: this is one try at connecting, not two.
    if (loss.kind === 'lost' && loss.offer !== undefined && this.#offer.ignored(loss.offer === 'ignored')) return this.#dial();
    const told = loss.kind === 'lost' && drainMs !== undefined ? drained(loss, drainMs) : loss;
    this.#hintMs = told.kind === 'lost' ? told.retryAfterMs : 0;
    this.#events.onLoss(told);
    this.raise(told.kind);
  }

  #end(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#open = undefined;
    this.#retry.stop();
    this.#events.onEnd();
    if (connection === undefined) this.#resolveClosed();
    else void connection.close().then(this.#resolveClosed);
  }
}

/** A close that was announced: it is what the hub said it would be, unless the close says otherwise. */
function drained(loss: Extract<Loss, { readonly kind: 'lost' }>, drainMs: number): Loss {
  return { ...loss, code: loss.code === 'LINK_UNREACHABLE' ? 'DRAINING' : loss.code, retryAfterMs: Math.max(loss.retryAfterMs, drainMs) };
}
