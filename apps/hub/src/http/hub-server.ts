import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import { refuseUpgrade } from '@carillon/session';

import type { HubCounts } from '../counts.ts';
import type { HttpOptions } from './http-call.ts';
import { answerHttp } from './http-routes.ts';
import { answerUpgrade, type UpgradeOptions } from '../sessions/upgrades.ts';

/** The hub's server, with the bounds that hold before a peer has said what it wants. */
export interface HubServerOptions {
  readonly connectionsMax: number;
  readonly handshakeTimeoutMs: number;
  readonly counts: HubCounts;
  readonly http: HttpOptions;
  readonly upgrade: UpgradeOptions;
}

/** Sockets beyond the peers: requests, and handshakes that are on their way or refused. */
const HTTP_SOCKETS_MAX = 1_024;
const HEAD_MAX_BYTES = 16_384;
const CHECK_MS = 1_000;
const KEEP_ALIVE_MS = 5_000;
/** A request may take this much longer to arrive whole than its head. */
const BODY_FACTOR = 3;

/** `requests` are the answers under way. */
export function createHubServer({ connectionsMax, handshakeTimeoutMs, counts, http, upgrade }: HubServerOptions): { readonly server: Server; readonly requests: ReadonlySet<ServerResponse> } {
  const server = createServer({
    headersTimeout: handshakeTimeoutMs,
    requestTimeout: handshakeTimeoutMs * BODY_FACTOR,
    connectionsCheckingInterval: Math.min(CHECK_MS, handshakeTimeoutMs),
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: HEAD_MAX_BYTES,
  });
  // Peers beyond connectionsMax get an answer with a code; sockets beyond this reserve get none.
  server.maxConnections = connectionsMax + HTTP_SOCKETS_MAX;
  const requests = new Set<ServerResponse>();
  const closeWithSocket = createPipelineWatch();
  server.on('drop', () => counts.refuse('CONNECTIONS_EXCEEDED'));
  server.on('request', (req, res) => {
    requests.add(res);
    res.once('close', () => requests.delete(res));
    closeWithSocket(req, res);
    void answerHttp(http, req, res);
  });
  server.on('upgrade', (req, stream, head) => answerUpgrade(upgrade, req, stream, head));
  server.on('clientError', (error: NodeJS.ErrnoException, stream) => {
    const code = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 'REQUEST_TIMEOUT' : 'REQUEST_MALFORMED';
    if (error.code !== 'ECONNRESET') counts.refuse(code);
    refuseUpgrade(stream, code);
  });
  return { server, requests };
}

/**
 * Answers to pipelined requests wait for those before them, without a socket of their own, and Node says `close` of none
 * that still waits when the socket goes. What such an answer holds would be held for ever, and a drain would wait for it.
 */
function createPipelineWatch(): (req: IncomingMessage, res: ServerResponse) => void {
  const waiting = new WeakMap<Socket, Set<ServerResponse>>();
  return ({ socket }, res) => {
    if (res.socket !== null) return;
    let behind = waiting.get(socket);
    if (behind === undefined) {
      const all = (behind = new Set());
      waiting.set(socket, all);
      socket.once('close', () => {
        for (const each of all) {
          if (each.socket === null) each.destroy().emit('close');
        }
      });
    }
    behind.add(res);
    res.once('close', () => behind.delete(res));
  };
}
