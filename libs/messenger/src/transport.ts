import type { ErrorCode } from '@carillon/wire';

/**
 * The edge to WebSocket. Two files implement it, and the `#transport` import of package.json picks one:
 * `transport-node.ts` (over `ws`) and, under the `browser` condition, `transport-browser.ts` (the global WebSocket).
 */
export interface Transport {
  /** Whether `onPing` is ever called; without it silence says nothing about the peer. */
  readonly seesPings: boolean;
  /** Whether headers reach the hub; without them an access key travels in the path. */
  readonly sendsHeaders: boolean;
  /** Whether `offerIgnored` is ever set; without it every handshake that failed may have failed for that reason. */
  readonly tellsIgnoredOffers: boolean;
  /** Starts to connect. May throw when the platform refuses the address (a page of https may not dial ws). */
  open(url: string, options: TransportOptions, events: TransportEvents): TransportSocket;
}

export interface TransportOptions {
  /** Headers of the handshake, where the platform can send any. */
  readonly headers: Readonly<Record<string, string>>;
  /** Subprotocols to offer. */
  readonly protocols: readonly string[];
}

export interface TransportEvents {
  /** `protocol` is the subprotocol that was agreed on; empty: none. */
  onOpen(protocol: string): void;
  onBinary(bytes: Uint8Array): void;
  onText(text: string): void;
  onPing(): void;
  /** Comes once, also for a socket that never opened; nothing comes after it. */
  onClosed(closed: TransportClosed): void;
}

/** How a socket ended, as far as the platform says. */
export interface TransportClosed {
  /** RFC 6455 §7.4; 1006 when there was no close frame. */
  readonly closeCode: number;
  readonly reason: string;
  /** What this side found wrong. */
  readonly code?: ErrorCode;
  readonly detail?: string;
  /** How long an HTTP refusal asked to stay away. */
  readonly retryAfterMs?: number;
  /** The peer would have opened the connection, but answered none of the subprotocols. */
  readonly offerIgnored?: boolean;
}

export interface TransportSocket {
  readonly isOpen: boolean;
  /** Bytes that were handed over and not yet given to the network. */
  readonly bufferedBytes: number;
  send(frame: Uint8Array | string): void;
  /** Starts the closing handshake with code 1000, after what is buffered. */
  close(): void;
  /** Gives the socket up, as fast as the platform can. */
  terminate(): void;
}

/** A frame larger than this is not taken: four times what a hub takes by default, for hubs that are set to take more. */
export const FRAME_RECEIVE_MAX_BYTES = 4_194_304;
/** A frame larger than this ends the connection, where the platform allows it, before memory is spent on it. */
export const SOCKET_RECEIVE_MAX_BYTES = 16_777_216;
