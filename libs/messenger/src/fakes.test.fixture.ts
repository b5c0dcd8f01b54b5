import { encodeFrame, parseFrame } from '@carillon/wire';
import type { Clock } from './clock.ts';
import { connectWith } from './connect.ts';
import type { Messenger } from './messenger.ts';
import type { MessengerOptions } from './options.ts';
import type { Transport, TransportClosed, TransportEvents, TransportOptions, TransportSocket } from './transport.ts';

/** A clock that stands until a test moves it. `chance` is what `random` returns. */
export class FakeClock implements Clock {
  chance: number;
  #now = 1_000_000;
  readonly #timers = new Set<{ readonly at: number; readonly run: () => void }>();

  constructor(chance = 0.5) {
    this.chance = chance;
  }

  now(): number {
    return this.#now;
  }

  random(): number {
    return this.chance;
  }

  schedule(run: () => void, delayMs: number): () => void {
    const timer = { at: this.#now + delayMs, run };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  get timers(): number {
    return this.#timers.size;
  }

  /** Runs what is due within so many milliseconds, in order. */
  advance(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#now = Math.max(this.#now, due.at);
      due.run();
    }
    this.#now = until;
  }
}

/** One socket, driven by the test as the hub would. */
export class FakeSocket implements TransportSocket {
  isOpen = false;
  bufferedBytes = 0;
  /** Takes what is sent, when a test puts a hub there. */
  onSent: ((frame: Uint8Array | string) => void) | undefined;
  closing: 'close' | 'terminate' | undefined;
  readonly url: string;
  readonly protocols: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
  readonly sent: (Uint8Array | string)[] = [];
  readonly #events: TransportEvents;

  constructor(url: string, { headers, protocols }: TransportOptions, events: TransportEvents) {
    this.url = url;
    this.headers = headers;
    this.protocols = protocols;
    this.#events = events;
  }

  /** What was sent, readable: control frames as they are, event frames as `room body`. */
  get transcript(): string[] {
    return this.sent.map((frame) => {
      if (typeof frame === 'string') return frame;
      const parsed = parseFrame(frame, 2);
      return parsed.ok ? `${parsed.room} ${new TextDecoder().decode(parsed.body)}` : parsed.code;
    });
  }

  /** The hub takes the offer only if the test says so. */
  open(protocol = ''): void {
    this.isOpen = true;
    this.#events.onOpen(protocol);
  }

  event(room: string, body = '{}'): void {
    this.binary(encodeFrame(room, body));
  }

  binary(bytes: Uint8Array): void {
    this.#events.onBinary(bytes);
  }

  text(text: string): void {
    this.#events.onText(text);
  }

  ping(): void {
    this.#events.onPing();
  }

  gone(closed: Partial<TransportClosed> = {}): void {
    this.isOpen = false;
    this.#events.onClosed({ closeCode: 1006, reason: '', ...closed });
  }

  send(frame: Uint8Array | string): void {
    this.sent.push(frame);
    this.onSent?.(frame);
  }

  close(): void {
    this.closing ??= 'close';
  }

  terminate(): void {
    this.closing = 'terminate';
  }
}

export class FakeTransport implements Transport {
  readonly sockets: FakeSocket[] = [];
  readonly seesPings: boolean;
  readonly sendsHeaders: boolean;
  readonly tellsIgnoredOffers: boolean;
  refuse: Error | undefined;

  constructor(seesPings = true) {
    this.seesPings = seesPings;
    this.sendsHeaders = seesPings;
    this.tellsIgnoredOffers = seesPings;
  }

  open(url: string, options: TransportOptions, events: TransportEvents): TransportSocket {
    if (this.refuse !== undefined) throw this.refuse;
    const socket = new FakeSocket(url, options, events);
    this.sockets.push(socket);
    return socket;
  }

  /** The newest socket. */
  get socket(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (socket === undefined) throw new Error('nothing was dialled');
    return socket;
  }
}

export interface Rig {
  readonly messenger: Messenger;
  readonly clock: FakeClock;
  readonly transport: FakeTransport;
}

/** A messenger on fakes; `stableAfterMs` is 10,000 and `backoff` 1,000 to 8,000 unless said otherwise. */
export function rig(options: MessengerOptions = {}, url = 'ws://hub', transport = new FakeTransport(), clock = new FakeClock()): Rig {
  const messenger = connectWith({ clock, transport, stableAfterMs: 10_000 }, url, { backoff: { firstMs: 1_000, capMs: 8_000 }, ...options });
  return { messenger, clock, transport };
}

/** The same, with the connection open. */
export function openRig(options: MessengerOptions = {}, url?: string): Rig {
  const parts = rig(options, url);
  parts.transport.socket.open();
  return parts;
}

/** Lets microtasks run. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
