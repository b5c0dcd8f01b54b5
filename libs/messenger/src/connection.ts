import { formatControl, SUBPROTOCOL_V2, type ErrorCode } from '@carillon/wire';
import type { Clock } from './clock.ts';
import { judgeClose, type Loss } from './loss.ts';
import type { FrameSink } from './outbound.ts';
import { toError } from './to-error.ts';
import type { Transport, TransportClosed, TransportSocket } from './transport.ts';
import { readWelcome, type Welcome } from './welcome.ts';

export interface ConnectionTarget {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly protocols: readonly string[];
  /** The name that this side goes by in the second protocol, over all its connections. */
  readonly session: string;
  readonly connectTimeoutMs: number;
  readonly heartbeatTimeoutMs: number;
  /** Whether silence counts from the beginning, or only once the peer has pinged. */
  readonly promisesPings: boolean;
}

export interface ConnectionEvents {
  /** It may be used: it is open and, in the second protocol, `welcome` is there. */
  onOpen(): void;
  onBinary(bytes: Uint8Array): void;
  onText(text: string): void;
  onPing(): void;
  /** Comes once, unless this side closed; nothing comes after it. */
  onGone(loss: Loss): void;
}

/** How long the closing handshake may take before the socket is cut. */
const CLOSE_TIMEOUT_MS = 2_000;

/**
 * One socket with its deadlines: it must open in time, and be heard of in time. In the second protocol it is open for
 * its owner when the hub has answered `hello` with `welcome`, so that nothing is sent before the hub's limits are known.
 */
export class Connection implements FrameSink {
  readonly #clock: Clock;
  readonly #transport: Transport;
  readonly #target: ConnectionTarget;
  readonly #events: ConnectionEvents;
  readonly #ended: Promise<void>;
  #resolveEnded: () => void = () => undefined;
  #socket: TransportSocket | undefined;
  #welcome: Welcome | undefined;
  #stage: 'dialling' | 'greeting' | 'open' = 'dialling';
  #live = true;
  #heardAt = 0;
  #watched = false;
  #stopTimer: () => void = () => undefined;

  constructor(deps: { readonly clock: Clock; readonly transport: Transport }, target: ConnectionTarget, events: ConnectionEvents) {
    this.#clock = deps.clock;
    this.#transport = deps.transport;
    this.#target = target;
    this.#events = events;
    this.#ended = new Promise((resolve) => (this.#resolveEnded = resolve));
    this.#stopTimer = this.#clock.schedule(() => this.#cut('LINK_UNREACHABLE', `not open after ${target.connectTimeoutMs} ms`), target.connectTimeoutMs);
    try {
      this.#socket = deps.transport.open(target.url, { headers: target.headers, protocols: target.protocols }, {
        onOpen: (protocol) => this.#opened(protocol),
        onBinary: (bytes) => this.#heard(() => events.onBinary(bytes)),
        onText: (text) => this.#heard(() => this.#text(text)),
        onPing: () => this.#heard(() => {
          if (this.#stage === 'open') this.#watch();
          events.onPing();
        }),
        onClosed: (closed) => {
          this.#gone(this.#judge(closed));
          this.#resolveEnded();
        },
      });
    } catch (thrown) {
      // The caller does not have this connection yet: what it hears must come later.
      this.#stopTimer();
      this.#stopTimer = this.#clock.schedule(() => {
        this.#gone({ kind: 'lost', code: 'LINK_UNREACHABLE', detail: toError(thrown).message, retryAfterMs: 0 });
      }, 0);
      this.#resolveEnded();
    }
  }

  get isOpen(): boolean {
    return this.#live && this.#socket?.isOpen === true;
  }

  /** What the hub said first; undefined: it speaks the first protocol. */
  get welcome(): Welcome | undefined {
    return this.#welcome;
  }

  get bufferedBytes(): number {
    return this.#socket?.bufferedBytes ?? 0;
  }

  send(frame: Uint8Array | string): void {
    this.#socket?.send(frame);
  }

  /** Ends it from this side, after what the socket holds; resolves when the socket is gone or was cut. */
  close(): Promise<void> {
    this.#silence();
    this.#socket?.close();
    const stopTimer = this.#clock.schedule(() => {
      this.#socket?.terminate();
      this.#resolveEnded();
    }, CLOSE_TIMEOUT_MS);
    return this.#ended.finally(stopTimer);
  }

  #opened(protocol: string): void {
    if (!this.#live) return;
    this.#heardAt = this.#clock.now();
    if (protocol === SUBPROTOCOL_V2) {
      this.#stage = 'greeting';
      this.#socket?.send(formatControl({ op: 'hello', session: this.#target.session }));
    } else {
      this.#ready();
    }
  }

  #text(text: string): void {
    const welcome = this.#stage === 'greeting' ? readWelcome(text) : undefined;
    if (welcome === undefined) return this.#events.onText(text);
    this.#welcome = welcome;
    this.#ready();
  }

  #ready(): void {
    this.#stage = 'open';
    this.#stopTimer();
    if (this.#transport.seesPings && this.#target.promisesPings) this.#watch();
    this.#events.onOpen();
  }

  #judge(closed: TransportClosed): Loss {
    const loss = judgeClose(closed);
    if (loss.kind !== 'lost' || this.#stage !== 'dialling' || this.#target.protocols.length === 0) return loss;
    if (closed.offerIgnored === true) return { ...loss, offer: 'ignored' };
    return this.#transport.tellsIgnoredOffers ? loss : { ...loss, offer: 'perhaps-ignored' };
  }

  #heard(tell: () => void): void {
    if (!this.#live) return;
    this.#heardAt = this.#clock.now();
    tell();
  }

  #watch(): void {
    if (this.#watched) return;
    this.#watched = true;
    this.#awaitSign(this.#target.heartbeatTimeoutMs);
  }

  /** One timer for a connection, not one for a frame: when it fires it looks how long ago something came. */
  #awaitSign(delayMs: number): void {
    this.#stopTimer = this.#clock.schedule(() => {
      const leftMs = this.#heardAt + this.#target.heartbeatTimeoutMs - this.#clock.now();
      if (leftMs > 0) this.#awaitSign(leftMs);
      else this.#cut('PEER_UNRESPONSIVE', `the hub sent nothing for ${this.#target.heartbeatTimeoutMs} ms`);
    }, delayMs);
  }

  #cut(code: ErrorCode, detail: string): void {
    // First the verdict: what the socket says of its end after this is of no interest.
    this.#gone({ kind: 'lost', code, detail, retryAfterMs: 0 });
    this.#socket?.terminate();
  }

  #gone(loss: Loss): void {
    if (!this.#live) return;
    this.#silence();
    this.#events.onGone(loss);
  }

  #silence(): void {
    this.#live = false;
    this.#stopTimer();
  }
}
