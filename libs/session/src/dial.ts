import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

import { SUBPROTOCOL_V2 } from '@carillon/wire';

import { maskedV1, maskedV2 } from './codec.ts';
import { Connection, PeerSocket, type ConnectionHandler } from './connection.ts';
import type { DoorOptions } from './door.ts';
import { readPeerClock, TIME_HEADER, type PeerClock } from './peer-clock.ts';

export interface DialOptions extends DoorOptions {
  readonly handler: ConnectionHandler;
  readonly handshakeTimeoutMs: number;
  readonly signal: AbortSignal;
  /** Offer `carillon.2` first; a peer that does not know it (an original) is dialled again without. */
  readonly offerV2?: boolean;
  readonly headers?: Readonly<Record<string, string>>;
}

export type Dialled =
  | { readonly ok: true; readonly connection: Connection; readonly headers: IncomingMessage['headers']; /** Of a door that says its time. */ readonly clock: PeerClock | undefined }
  /** `status` is the peer's HTTP answer when it refused, `code` the problem's code when it sent one. */
  | { readonly ok: false; readonly reason: string; readonly status?: number; readonly code?: string };

const REFUSAL_MAX_BYTES = 4_096;

/** Opens a WebSocket. Never throws; a failure says why in one line. */
export async function dial(url: string, options: DialOptions): Promise<Dialled> {
  if (options.offerV2 !== true) return dialOnce(url, [], options);
  const answer = await dialOnce(url, [SUBPROTOCOL_V2], options);
  const plain = !answer.ok && answer.reason === NO_SUBPROTOCOL;
  return plain ? dialOnce(url, [], options) : answer;
}

/** ws's words for a server that ignored the offer (RFC 6455 §4.1 makes that a failure). */
const NO_SUBPROTOCOL = 'Server sent no subprotocol';

function dialOnce(url: string, protocols: string[], options: DialOptions): Promise<Dialled> {
  if (options.signal.aborted) return Promise.resolve({ ok: false, reason: 'aborted' });
  return new Promise((resolve) => {
    const askedMs = performance.now();
    const webSocket = openSocket(url, protocols, options);
    if (typeof webSocket === 'string') {
      resolve({ ok: false, reason: webSocket });
      return;
    }
    let headers: IncomingMessage['headers'] = {};
    let clock: PeerClock | undefined;
    let stream: Socket | undefined;
    let settled = false;
    const settle = (answer: Dialled): void => {
      if (settled) return;
      settled = true;
      options.signal.removeEventListener('abort', abort);
      resolve(answer);
    };
    const abort = (): void => {
      settle({ ok: false, reason: 'aborted' });
      webSocket.terminate();
    };
    options.signal.addEventListener('abort', abort, { once: true });
    webSocket.on('upgrade', (response) => {
      headers = response.headers;
      clock = readPeerClock(headers[TIME_HEADER], { nowMs: Date.now(), tookMs: performance.now() - askedMs });
      stream = response.socket;
    });
    webSocket.on('unexpected-response', (_request, response) => {
      void readProblemCode(response).then((refusal) => {
        settle({ ok: false, reason: `HTTP ${response.statusCode ?? 0}${refusal === undefined ? '' : ` ${refusal}`}`, status: response.statusCode ?? 0, ...(refusal === undefined ? {} : { code: refusal }) });
        webSocket.terminate();
      });
    });
    webSocket.on('error', (error) => settle({ ok: false, reason: error.message }));
    webSocket.on('open', () => {
      if (settled || stream === undefined) {
        webSocket.terminate();
        return;
      }
      stream.setNoDelay(true);
      // A frame that came along with the handshake's answer waits until the caller has seen the connection.
      webSocket.pause();
      setImmediate(() => webSocket.resume());
      const codec = webSocket.protocol === SUBPROTOCOL_V2 ? MASKED_V2 : MASKED_V1;
      settle({ ok: true, connection: new Connection(webSocket, stream, { ...options, codec }), headers, clock });
    });
  });
}

/** A socket on its way, or why its address or headers are none. */
function openSocket(url: string, protocols: string[], options: DialOptions): PeerSocket | string {
  try {
    return new PeerSocket(url, protocols, {
      perMessageDeflate: false,
      handshakeTimeout: options.handshakeTimeoutMs,
      maxPayload: Math.max(options.limits.frameMaxBytes, options.limits.controlMaxBytes),
      maxFragments: options.limits.fragmentsMax,
      headers: { ...options.headers },
    });
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const random32 = (): number => {
  if (randomAt === RANDOM_POOL_BYTES) {
    randomPool = randomBytes(RANDOM_POOL_BYTES);
    randomAt = 0;
  }
  randomAt += 4;
  return randomPool.readUInt32BE(randomAt - 4);
};

/** Mask keys are drawn in bulk: one system call for 1,024 frames. */
const RANDOM_POOL_BYTES = 4_096;
let randomPool: Buffer = Buffer.alloc(0);
let randomAt = RANDOM_POOL_BYTES;

const MASKED_V1 = maskedV1(random32);
const MASKED_V2 = maskedV2(random32);

/** The `code` of a problem document (RFC 9457), if that is what the peer answered; reads a few kilobytes at the most. */
export async function readProblemCode(response: IncomingMessage): Promise<string | undefined> {
  let text = '';
  try {
    for await (const piece of response) {
      text += String(piece);
      if (text.length > REFUSAL_MAX_BYTES) return undefined;
    }
    const problem: unknown = JSON.parse(text);
    const code = typeof problem === 'object' && problem !== null && 'code' in problem ? problem.code : undefined;
    return typeof code === 'string' && /^[A-Z_]{3,60}$/.test(code) ? code : undefined;
  } catch {
    return undefined;
  }
}
