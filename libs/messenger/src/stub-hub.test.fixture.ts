import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { matchesPattern, parseFrame, parseSubscriptionChange, SUBPROTOCOL_V2 } from '@carillon/wire';
import { WebSocketServer, type WebSocket } from 'ws';
import { ModelHub } from './model-hub.test.fixture.ts';

/** What the stub knows of one messenger. */
export interface StubPeer {
  readonly socket: WebSocket;
  readonly request: IncomingMessage;
  readonly patterns: Set<string>;
}

/**
 * A hub, small enough to see through: it routes between messengers and notes what it hears. By default one of v1, which
 * ignores offers of a subprotocol as the original does; with `model` one of v2, which answers at once.
 */
export interface StubHub {
  readonly url: string;
  readonly port: number;
  readonly peers: Set<StubPeer>;
  /** Text frames, and event frames as `room body`, in the order they came. */
  readonly heard: string[];
  /** How many connections there were, without those that their messengers gave up because the offer was ignored. */
  readonly joined: number;
  readonly offersIgnored: number;
  stop(closeCode?: number, reason?: string): Promise<void>;
}

export interface StubHubOptions {
  readonly port?: number;
  readonly model?: ModelHub;
  /** HTTP status to refuse handshakes with. */
  readonly refuseWith?: number;
  /** Body of such a refusal. */
  readonly problem?: string;
}

export async function startStubHub(options: StubHubOptions = {}): Promise<StubHub> {
  const server = createServer();
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => (options.model === undefined ? false : SUBPROTOCOL_V2) });
  const peers = new Set<StubPeer>();
  const heard: string[] = [];
  let joined = 0;
  let offersIgnored = 0;
  server.on('upgrade', (request, socket, head) => {
    if (options.refuseWith !== undefined) {
      const { problem = '' } = options;
      socket.end(`HTTP/1.1 ${options.refuseWith} No\r\nRetry-After: 3600\r\nContent-Length: ${problem.length}\r\nConnection: close\r\n\r\n${problem}`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      if (request.headers['sec-websocket-protocol'] !== undefined && webSocket.protocol === '') {
        offersIgnored += 1;
        webSocket.on('error', () => undefined);
        return;
      }
      joined += 1;
      const peer = { socket: webSocket, request, patterns: new Set<string>() };
      peers.add(peer);
      webSocket.on('close', () => peers.delete(peer));
      if (options.model !== undefined) return void joinModel(options.model, webSocket, heard);
      webSocket.on('message', (payload: Buffer, isBinary) => {
        if (isBinary) route(peers, peer, payload, heard);
        else register(peer, payload.toString(), heard);
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `ws://127.0.0.1:${port}`,
    port,
    peers,
    heard,
    get joined() {
      return joined;
    },
    get offersIgnored() {
      return offersIgnored;
    },
    async stop(closeCode, reason) {
      for (const { socket } of peers) {
        if (closeCode === undefined) socket.terminate();
        else socket.close(closeCode, reason);
      }
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function joinModel(model: ModelHub, webSocket: WebSocket, heard: string[]): void {
  const peer = model.join((frame) => webSocket.send(frame));
  webSocket.on('close', () => peer.leave());
  webSocket.on('message', (payload: Buffer, isBinary) => {
    if (!isBinary) heard.push(payload.toString());
    peer.receive(isBinary ? payload : payload.toString());
    peer.catchUp();
    peer.answer();
    model.consumers.deliver();
    for (const { delayMs, fire } of model.delayed.splice(0)) setTimeout(fire, delayMs).unref();
  });
}

function register(peer: StubPeer, text: string, heard: string[]): void {
  heard.push(text);
  const parsed = parseSubscriptionChange(text);
  if (!parsed.ok) return;
  for (const room of parsed.change.rooms) {
    if (parsed.change.create) peer.patterns.add(room);
    else peer.patterns.delete(room);
  }
}

function route(peers: ReadonlySet<StubPeer>, from: StubPeer, payload: Buffer, heard: string[]): void {
  const parsed = parseFrame(payload, 1);
  if (!parsed.ok) return;
  heard.push(`${parsed.room} ${new TextDecoder().decode(parsed.body)}`);
  for (const peer of peers) {
    // As the original does: not back to the sender, and once for each pattern that matches.
    if (peer === from) continue;
    for (const pattern of peer.patterns) if (matchesPattern(pattern, parsed.room)) peer.socket.send(payload, { binary: true });
  }
}

/** Waits until a condition holds; so long that a busy machine is slow and not wrong. */
export async function eventually(condition: () => boolean, timeoutMs = 30_000): Promise<void> {
  const until = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > until) throw new Error(`not within ${timeoutMs} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
