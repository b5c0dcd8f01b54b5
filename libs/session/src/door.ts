import { STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

import { ERRORS, SUBPROTOCOL_V2, type ErrorCode, type WireLimits } from '@carillon/wire';
import { WebSocketServer } from 'ws';

import { V1, V2 } from './codec.ts';
import { Connection, PeerSocket, type ConnectionHandler, type Ticks } from './connection.ts';
import type { LaneGroup } from './lane.ts';
import { TIME_HEADER } from './peer-clock.ts';

type PeerServer = InstanceType<typeof WebSocketServer<typeof PeerSocket>>;

export interface DoorOptions {
  readonly limits: WireLimits;
  readonly laneMaxBytes: number;
  readonly group: LaneGroup;
  readonly ticks: Ticks;
}

export interface AcceptOptions {
  readonly handler: ConnectionHandler;
  /** Agree to `carillon.2` when the peer offers it. */
  readonly offerV2?: boolean;
  /** Headers of the 101 answer. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Called before the first frame can come. */
  readonly joined: (connection: Connection) => void;
  /** Called when the handshake was refused. */
  readonly refused?: (code: ErrorCode) => void;
}

/** Accepts WebSockets on upgrades that a server has routed. Compression stays off: it costs more than the network here. */
export class Door {
  readonly #options: DoorOptions;
  readonly #server: PeerServer;
  readonly #serverV2: PeerServer;
  readonly #offers = new WeakMap<IncomingMessage, AcceptOptions>();

  constructor(options: DoorOptions) {
    this.#options = options;
    this.#server = this.#listener(() => false);
    this.#serverV2 = this.#listener((protocols) => (protocols.has(SUBPROTOCOL_V2) ? SUBPROTOCOL_V2 : false));
  }

  #listener(handleProtocols: (protocols: Set<string>) => string | false): PeerServer {
    const { limits } = this.#options;
    const server = new WebSocketServer<typeof PeerSocket>({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: Math.max(limits.frameMaxBytes, limits.controlMaxBytes),
      maxFragments: limits.fragmentsMax,
      WebSocket: PeerSocket,
      handleProtocols,
    });
    server.on('headers', (lines, request) => {
      lines.push(`${TIME_HEADER}: ${Date.now()}`);
      for (const [name, value] of Object.entries(this.#offers.get(request)?.headers ?? {})) lines.push(`${name}: ${value}`);
    });
    server.on('wsClientError', (error, socket, request) => {
      this.#offers.get(request)?.refused?.('HANDSHAKE_INVALID');
      refuseUpgrade(socket, 'HANDSHAKE_INVALID', error.message);
    });
    return server;
  }

  accept(request: IncomingMessage, stream: Duplex, head: Buffer, options: AcceptOptions): void {
    const server = options.offerV2 === true ? this.#serverV2 : this.#server;
    this.#offers.set(request, options);
    const socket = stream as Socket;
    server.handleUpgrade(request, socket, head, (webSocket) => {
      socket.setNoDelay(true);
      const connection = new Connection(webSocket, socket, { ...this.#options, handler: options.handler, codec: webSocket.protocol === SUBPROTOCOL_V2 ? V2 : V1 });
      options.joined(connection);
    });
  }
}

/** Answers an upgrade that is not to be with an RFC 9457 problem, and hangs up. */
export function refuseUpgrade(stream: Duplex, code: ErrorCode, detail?: string): void {
  const { http: status, title } = ERRORS[code];
  const body = JSON.stringify({ type: `urn:carillon:error:${code}`, title, status, code, ...(detail === undefined ? {} : { detail }) });
  stream.on('error', () => stream.destroy());
  // The sockets of Node's HTTP server stay half open: a peer that never hangs up would keep this one.
  stream.once('finish', () => stream.destroy());
  if (!stream.writable) {
    stream.destroy();
    return;
  }
  stream.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\n` +
      // RFC 6455 §4.4: a peer of another version is told which one is spoken here.
      `${code === 'HANDSHAKE_INVALID' || code === 'UPGRADE_REQUIRED' ? 'Sec-WebSocket-Version: 13\r\n' : ''}Content-Type: application/problem+json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
