import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

import { PROBLEM_MEDIA_TYPE } from '@carillon/runtime';
import { ERRORS, type ErrorCode } from '@carillon/wire';

import type { ManagerCounts } from '../counts.ts';

export interface ManagerServerOptions {
  readonly connectionsMax: number;
  /** How long a request's head may take; its body may take three times as long. */
  readonly headTimeoutMs: number;
  readonly counts: ManagerCounts;
  readonly answer: RequestListener;
}

const HEAD_MAX_BYTES = 16_384;
const CHECK_MS = 1_000;
const KEEP_ALIVE_MS = 5_000;
const BODY_FACTOR = 3;

/** The server with the bounds that hold before a caller has said what it wants; `requests` are the answers under way. */
export function createManagerServer({ connectionsMax, headTimeoutMs, counts, answer }: ManagerServerOptions): { readonly server: Server; readonly requests: ReadonlySet<ServerResponse> } {
  const server = createServer({
    headersTimeout: headTimeoutMs,
    requestTimeout: headTimeoutMs * BODY_FACTOR,
    connectionsCheckingInterval: Math.min(CHECK_MS, headTimeoutMs),
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: HEAD_MAX_BYTES,
  });
  server.maxConnections = connectionsMax;
  const requests = new Set<ServerResponse>();
  server.on('drop', () => counts.refuse('CONNECTIONS_EXCEEDED'));
  server.on('request', (req, res) => {
    requests.add(res);
    res.once('close', () => requests.delete(res));
    answer(req, res);
  });
  server.on('clientError', (error: NodeJS.ErrnoException, stream) => {
    const code = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 'REQUEST_TIMEOUT' : 'REQUEST_MALFORMED';
    if (error.code !== 'ECONNRESET') counts.refuse(code);
    refuseRaw(stream, code);
  });
  return { server, requests };
}

/** A problem for a request that never became one. */
function refuseRaw(stream: Duplex, code: ErrorCode): void {
  if (!stream.writable) {
    stream.destroy();
    return;
  }
  const { http: status, title } = ERRORS[code];
  const body = JSON.stringify({ type: `urn:carillon:error:${code}`, title, status, code });
  stream.end(`HTTP/1.1 ${status} Refused\r\nconnection: close\r\ncontent-type: ${PROBLEM_MEDIA_TYPE}\r\ncontent-length: ${Buffer.byteLength(body)}\r\ncache-control: no-store\r\n\r\n${body}`);
}
