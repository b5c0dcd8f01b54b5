import { hostname } from 'node:os';
import { WebSocket, type ClientOptions } from 'ws';
import { isErrorCode, type ErrorCode } from '@carillon/wire';
import { SOCKET_RECEIVE_MAX_BYTES, type Transport, type TransportClosed, type TransportEvents, type TransportOptions, type TransportSocket } from './transport.ts';

/** How long `ws` waits for the hub to end TCP after the close frames; its own default of 30 s would delay the reconnect. */
const CLOSE_TIMEOUT_MS = 2_000;

/** A problem is a few hundred characters. */
const PROBLEM_MAX_CHARACTERS = 4_096;

/** ws's words for a server that ignored the offer (RFC 6455 §4.1 makes that a failure); it has no code for it. */
const NO_SUBPROTOCOL = 'Server sent no subprotocol';

/** `ws` takes `closeTimeout` since 8.19; its types do not say so yet. */
type WsOptions = ClientOptions & { readonly closeTimeout: number };

/** The WebSocket of Node programs. */
export const transport: Transport = { seesPings: true, sendsHeaders: true, tellsIgnoredOffers: true, open };

/** The name that this host gives itself. */
export function systemName(): string {
  return hostname();
}

function open(url: string, options: TransportOptions, events: TransportEvents): TransportSocket {
  const wsOptions: WsOptions = { headers: options.headers, maxPayload: SOCKET_RECEIVE_MAX_BYTES, perMessageDeflate: false, followRedirects: false, closeTimeout: CLOSE_TIMEOUT_MS };
  const socket = new WebSocket(url, [...options.protocols], wsOptions);
  // Each body gets an ArrayBuffer of its own: a view would keep the chunk alive that the network delivered.
  socket.binaryType = 'arraybuffer';
  let fault: Pick<TransportClosed, 'code' | 'detail' | 'retryAfterMs' | 'offerIgnored'> = {};
  socket.on('open', () => events.onOpen(socket.protocol));
  socket.on('ping', () => events.onPing());
  socket.on('message', (payload) => {
    if (payload instanceof ArrayBuffer) events.onBinary(new Uint8Array(payload));
    else events.onText(payload.toString());
  });
  socket.on('unexpected-response', (_request, response) => {
    fault = refusal(response.statusCode, response.headers['retry-after']);
    let problem = '';
    response.on('data', (piece: Buffer) => (problem = problem.length < PROBLEM_MAX_CHARACTERS ? problem + piece.toString() : problem));
    // Also when it is cut off or the hub hangs: the connect timeout ends the wait.
    response.on('close', () => {
      fault = { ...fault, ...problemCode(problem) };
      socket.terminate();
    });
  });
  socket.on('error', (error: Error & { readonly code?: string }) => {
    // The first fault is the cause; `terminate` makes another one of its own.
    if (fault.detail === undefined) fault = { ...faultCode(error.code), detail: error.message === '' ? String(error.code) : error.message, offerIgnored: error.message === NO_SUBPROTOCOL };
  });
  socket.on('close', (closeCode, reason) => events.onClosed({ closeCode, reason: reason.toString(), ...fault }));
  return {
    get isOpen() {
      return socket.readyState === WebSocket.OPEN;
    },
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    send: (frame) => socket.send(frame),
    close: () => socket.close(1000),
    terminate: () => socket.terminate(),
  };
}

function refusal(status: number | undefined, retryAfter: string | undefined): Pick<TransportClosed, 'detail' | 'retryAfterMs'> {
  const detail = `the hub answered HTTP ${status ?? 0}`;
  return retryAfter !== undefined && /^[0-9]{1,6}$/.test(retryAfter) ? { detail, retryAfterMs: Number(retryAfter) * 1_000 } : { detail };
}

/** The code of a hub's RFC 9457 problem; a hub of another make has none. */
function problemCode(text: string): { readonly code?: ErrorCode } {
  const code = /"code":"([A-Z_]{3,60})"/.exec(text)?.[1] ?? '';
  return isErrorCode(code) ? { code } : {};
}

function faultCode(code: string | undefined): { readonly code?: ErrorCode } {
  if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') return { code: 'FRAME_TOO_LARGE' };
  if (code === 'WS_ERR_INVALID_UTF8') return { code: 'TEXT_INVALID_UTF8' };
  return code?.startsWith('WS_ERR_') === true ? { code: 'FRAME_MALFORMED' } : {};
}
