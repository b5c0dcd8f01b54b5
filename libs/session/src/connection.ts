import type { Duplex } from 'node:stream';

import { ERRORS, formatCloseReason, type ErrorCode } from '@carillon/wire';
import { WebSocket, type RawData } from 'ws';

import { textFrame, type Codec } from './codec.ts';
import { Lane, type LaneCut, type LaneGroup, type LaneSink } from './lane.ts';

/**
 * A connection is one WebSocket, accepted or dialled, with its lane. Event frames leave through the lane, straight
 * into the socket; control frames, pings and closes leave through ws. Both write whole frames, so they never mix.
 */
export interface ConnectionHandler {
  /** A binary frame. The bytes are valid during the call; a handler that keeps them keeps the whole read buffer. */
  frame(connection: Connection, bytes: Buffer): void;
  /** A text frame, valid UTF-8. */
  text(connection: Connection, text: string): void;
  /** What waits for the peer passed half of its bound (see `LaneOwner.laneBehind`). */
  behind?(connection: Connection): void;
  /** The connection is gone; called once. */
  closed(connection: Connection, close: ConnectionClose): void;
}

export interface ConnectionClose {
  readonly code: number;
  readonly reason: string;
  /** Set when this side decided it. */
  readonly cause: ErrorCode | undefined;
  /** Events that were still to be written. */
  readonly droppedEvents: number;
}

/** A count of seconds shared by all connections of a process, so that a frame costs no look at the clock. */
export interface Ticks {
  now: number;
}

export interface ConnectionOptions {
  readonly handler: ConnectionHandler;
  readonly codec: Codec;
  readonly group: LaneGroup;
  readonly laneMaxBytes: number;
  readonly ticks: Ticks;
}

/** How long a peer that was closed may take to answer before its socket is destroyed. */
const CLOSE_GRACE_MS = 2_000;

/** Header and mask of a control frame; the mask is missing from those of a peer that was dialled, which does no harm. */
const CONTROL_HEADER_BYTES = 6;

/** A WebSocket that knows its connection, so that one set of listeners serves all. */
export class PeerSocket extends WebSocket {
  connection: Connection | undefined = undefined;

  /** Every close frame leaves from here: ours, the answer to the peer's, and ws's for what the peer did wrong. */
  override close(code?: number, reason?: string | Buffer): void {
    super.close(code, reason);
    this.connection?.leaving();
  }
}

/** ws's error codes as ours: what the peer did that ended the connection. */
const FAULTS: Readonly<Record<string, ErrorCode>> = {
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 'FRAME_TOO_LARGE',
  WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: 'FRAME_TOO_LARGE',
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 'FRAGMENTS_EXCEEDED',
  WS_ERR_INVALID_UTF8: 'TEXT_INVALID_UTF8',
};

export class Connection {
  readonly lane: Lane;
  readonly remoteAddress: string;
  readonly openedAtMs = Date.now();
  /** Tick at which something was last read from the peer. */
  readTick: number;
  /** Tick of the ping that is waiting for an answer. */
  pingTick: number | undefined = undefined;
  lastPingAtMs: number | undefined = undefined;
  receivedFrames = 0;
  /** Resolves when the connection is gone. */
  get gone(): Promise<void> {
    return this.#closed ? Promise.resolve() : new Promise((resolve) => this.#socket.once('close', () => resolve()));
  }

  readonly #socket: PeerSocket;
  readonly #handler: ConnectionHandler;
  readonly #ticks: Ticks;
  readonly #stream: { readonly bytesRead?: number };
  #messages = 0;
  #controlBytes = 0;
  #partialMessages = 0;
  #partialFrom: number;
  #cause: ErrorCode | undefined = undefined;
  #isHeard = true;
  #droppedEvents = 0;
  #closing = false;
  #grace: NodeJS.Timeout | undefined = undefined;
  #closed = false;

  constructor(socket: PeerSocket, stream: Duplex & LaneSink & { readonly remoteAddress?: string | undefined; readonly bytesRead?: number }, options: ConnectionOptions) {
    this.#socket = socket;
    this.#handler = options.handler;
    this.#ticks = options.ticks;
    this.readTick = options.ticks.now;
    this.#stream = stream;
    this.#partialFrom = stream.bytesRead ?? 0;
    this.remoteAddress = stream.remoteAddress ?? '';
    this.lane = new Lane(stream, { codec: options.codec, owner: this, group: options.group, maxBytes: options.laneMaxBytes });
    socket.connection = this;
    socket.on('message', onMessage);
    socket.on('pong', onHeard);
    socket.on('ping', onPing);
    socket.on('error', onError);
    socket.on('close', onClose);
  }

  /** The protocol both sides agreed on. */
  get version(): 1 | 2 {
    return this.lane.codec.version;
  }

  get isOpen(): boolean {
    return !this.#closing && this.#socket.readyState === WebSocket.OPEN;
  }

  /**
   * Bytes held of a message that has begun and is not whole, as far as one look a second can tell: what was read since
   * the last look before which no message was completed, pings and pongs not counted.
   */
  partialBytes(): number {
    const messageBytes = (this.#stream.bytesRead ?? 0) - this.#controlBytes;
    if (this.#messages !== this.#partialMessages) {
      this.#partialMessages = this.#messages;
      this.#partialFrom = messageBytes;
    }
    return Math.max(0, messageBytes - this.#partialFrom);
  }

  received(data: RawData, isBinary: boolean): void {
    this.#messages += 1;
    this.readTick = this.#ticks.now;
    this.pingTick = undefined;
    if (!this.#isHeard) return;
    if (isBinary) {
      this.receivedFrames += 1;
      this.#handler.frame(this, data as Buffer);
    } else {
      this.#handler.text(this, (data as Buffer).toString('utf8'));
    }
  }

  /** A ping or a pong came, with so many bytes of its own. */
  heard(bytes: number): void {
    this.#controlBytes += CONTROL_HEADER_BYTES + bytes;
    this.readTick = this.#ticks.now;
    this.pingTick = undefined;
  }

  /** Sends a control frame. Dropped when the peer is not reading: a lane is cut for that soon enough. */
  sendText(text: string): void {
    if (this.isOpen && this.lane.isClear) this.#socket.send(text);
  }

  /** Sends a control frame in its place among the events, whatever waits; of connections that were accepted. */
  sendControl(text: string): void {
    if (this.isOpen) this.lane.write(textFrame(text), 0);
  }

  ping(): void {
    if (!this.isOpen) return;
    this.pingTick ??= this.#ticks.now;
    this.#socket.ping();
  }

  /** Closes with a code of the catalogue; `retryAfterMs` tells the peer when to come back. */
  refuse(code: ErrorCode, retryAfterMs?: number): void {
    this.#cause ??= code;
    // A peer that was refused is heard no more; one that only shall come back later loses nothing it has sent.
    if (code !== 'DRAINING') this.#isHeard = false;
    const entry: { readonly close?: number } = ERRORS[code];
    this.close(entry.close ?? 1011, formatCloseReason(code, retryAfterMs));
  }

  /** Closes as the protocol asks, after what the lane holds; the socket is destroyed when the peer does not answer. */
  close(code: number, reason: string): void {
    if (this.#closing || this.#socket.readyState >= WebSocket.CLOSING) return;
    this.#closing = true;
    this.#terminateLater();
    this.lane.end(() => this.#socket.close(code, reason));
  }

  /** A close frame has left: no event may follow it (RFC 6455 §5.5.1). */
  leaving(): void {
    this.#terminateLater();
    this.#droppedEvents += this.lane.close();
  }

  #terminateLater(): void {
    this.#grace ??= setTimeout(() => this.#socket.terminate(), CLOSE_GRACE_MS).unref();
  }

  terminate(): void {
    this.#socket.terminate();
  }

  laneBehind(): void {
    this.#handler.behind?.(this);
  }

  laneCut(cut: LaneCut, droppedEvents: number): void {
    this.#droppedEvents += droppedEvents;
    this.refuse(cut);
  }

  failed(error: Error & { code?: string }): void {
    const fault = error.code === undefined ? undefined : (FAULTS[error.code] ?? (error.code.startsWith('WS_ERR_') ? 'FRAME_MALFORMED' : undefined));
    this.#cause ??= fault;
  }

  ended(code: number, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#grace);
    this.#droppedEvents += this.lane.close();
    this.#handler.closed(this, { code, reason, cause: this.#cause, droppedEvents: this.#droppedEvents });
  }
}

function onMessage(this: WebSocket, data: RawData, isBinary: boolean): void {
  (this as PeerSocket).connection?.received(data, isBinary);
}

function onHeard(this: WebSocket, data: Buffer): void {
  (this as PeerSocket).connection?.heard(data.length);
}

function onPing(this: WebSocket, data: Buffer): void {
  const { connection } = this as PeerSocket;
  if (connection === undefined) return;
  connection.heard(data.length);
  connection.lastPingAtMs = Date.now();
}

function onError(this: WebSocket, error: Error): void {
  (this as PeerSocket).connection?.failed(error);
}

function onClose(this: WebSocket, code: number, reason: Buffer): void {
  const { connection } = this as PeerSocket;
  connection?.ended(code, reason.toString('utf8'));
}
