import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';

import { sendRefusal } from '@carillon/runtime';
import { refuseUpgrade } from '@carillon/session';

import type { HubCounts } from './counts.ts';
import { answerHttp, type HttpOptions } from './http-routes.ts';
import { answerUpgrade, type UpgradeOptions } from './upgrades.ts';

/** The hub's server, with the bounds that hold before a peer has said what it wants. */
export interface HubServerOptions {
  readonly connectionsMax: number;
  readonly handshakeTimeoutMs: number;
  readonly counts: HubCounts;
  readonly isPageAllowed: (headers: IncomingHttpHeaders) => boolean;
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
export function createHubServer({ connectionsMax, handshakeTimeoutMs, counts, isPageAllowed, http, upgrade }: HubServerOptions): { readonly server: Server; readonly requests: ReadonlySet<ServerResponse> } {
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
  server.on('drop', () => counts.refuse('CONNECTIONS_EXCEEDED'));
  server.on('request', (req, res) => {
    requests.add(res);
    res.once('close', () => requests.delete(res));
    if (isPageAllowed(req.headers)) void answerHttp(http, req, res);
    else {
      counts.refuse('ORIGIN_REFUSED');
      sendRefusal(res, 'ORIGIN_REFUSED');
    }
  });
  server.on('upgrade', (req, stream, head) => answerUpgrade(upgrade, req, stream, head));
  server.on('clientError', (error: NodeJS.ErrnoException, stream) => {
    const code = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 'REQUEST_TIMEOUT' : 'REQUEST_MALFORMED';
    if (error.code !== 'ECONNRESET') counts.refuse(code);
    refuseUpgrade(stream, code);
  });
  return { server, requests };
}
