import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { detachedHost, runProcess, type RunningProcess } from '@carillon/runtime';
import { eventually, trackResources } from '@carillon/testing';

import type { FeedEntry } from '@carillon/schemas';

import { startAckingHub, type AckingHub, type AckingHubOptions } from './acking-hub.fixture.ts';
import { loadRepeaterConfig } from './config.ts';
import { issueKey, startStubHub, type KeyChanges, type StubHub } from './hub-stub.fixture.ts';
import { startRepeater } from './repeater.ts';
import { REPEATER_VERSION } from './version.ts';

// A site in one process: real repeaters, stub hubs and devices with ws. Only tests import ws, so it is handed over.

type WsModule = typeof import('ws');
export type Ws = Pick<WsModule, 'WebSocket' | 'WebSocketServer'>;
type Socket = InstanceType<WsModule['WebSocket']>;

/** One side of a WebSocket: what came, as it came, and how it ended. */
export interface Peer {
  readonly socket: Socket;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly frames: Buffer[];
  /** Text frames that came, as objects. */
  readonly controls: unknown[];
  /** Binary frames as text. */
  texts(): string[];
  send(frame: Buffer | string): void;
  /** `{code, reason}` once it is closed. */
  closed(): { readonly code: number; readonly reason: string } | undefined;
  close(): Promise<void>;
}

/** A server that takes every join: a hub, or an original repeater. */
export interface StubServer {
  readonly port: number;
  readonly peers: Peer[];
  stop(): Promise<void>;
}

export interface TestRepeater {
  readonly host: string;
  readonly logs: readonly string[];
  /** A metric's value under a label value, 0 when it has no such sample. */
  metric(name: string, label?: string): Promise<number>;
  stop(): Promise<void>;
  readonly running: RunningProcess;
}

export function createSite({ WebSocket, WebSocketServer }: Ws) {
  const noLeaks = trackResources();
  const closers: (() => Promise<unknown>)[] = [];
  const logs: string[] = [];
  const shown: string[] = [];
  const secrets: string[] = [];

  /** A folder that is gone with the site. */
  async function folder(): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), 'carillon-repeater-'));
    closers.unshift(() => rm(path, { recursive: true }));
    return path;
  }

  /** A hub with an access feed. */
  async function hub(entries: readonly FeedEntry[] = [], port = 0): Promise<StubHub> {
    const started = await startStubHub({ WebSocketServer }, { entries, port });
    closers.push(started.stop);
    return started;
  }

  /** A hub of the second protocol; `log` is what an earlier one of it knows. */
  async function ackingHub(options: AckingHubOptions = {}): Promise<AckingHub> {
    const started = await startAckingHub({ WebSocketServer }, options);
    closers.push(started.stop);
    return started;
  }

  /** A key, whose secret must not show anywhere until the site is closed. */
  function issue(changes?: KeyChanges): ReturnType<typeof issueKey> {
    const issued = issueKey(changes);
    secrets.push(issued.secret.slice(-43));
    return issued;
  }

  async function stub(port = 0): Promise<StubServer> {
    // An original ignores the offer of the second protocol, and is then dialled again without.
    const server = new WebSocketServer({ port, host: '127.0.0.1', handleProtocols: () => false });
    const peers: Peer[] = [];
    server.on('connection', (socket, request) => {
      if (request.headers['sec-websocket-protocol'] === undefined) peers.push(peer(socket, request.url ?? '', request.headers));
    });
    await once(server, 'listening');
    const stop = async (): Promise<void> => {
      for (const socket of server.clients) socket.terminate();
      await new Promise((resolve) => server.close(resolve));
    };
    closers.push(stop);
    return { port: (server.address() as { port: number }).port, peers, stop };
  }

  async function repeater(env: Readonly<Record<string, string>> = {}): Promise<TestRepeater> {
    const loaded = loadRepeaterConfig({
      CARILLON_DATA_DIR: env['CARILLON_DATA_DIR'] ?? (await folder()), CARILLON_REPEATER_ACCESS: 'open',
      CARILLON_REPEATER_LISTEN: '127.0.0.1:0', CARILLON_REPEATER_ADMIN_LISTEN: '127.0.0.1:0', CARILLON_REPEATER_ID: 'ITB-1101-CP1',
      // No hub: a port that nothing listens on.
      CARILLON_REPEATER_HUB_URL: 'ws://127.0.0.1:1', CARILLON_REPEATER_HUB_RETRY_FIRST_MS: '20', CARILLON_REPEATER_HUB_RETRY_CAP_MS: '50',
      CARILLON_REPEATER_TARGET_RETRY_FIRST_MS: '20', CARILLON_REPEATER_TARGET_RETRY_CAP_MS: '50', ...env,
    });
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
    const own: string[] = [];
    let host = '';
    const running = await runProcess({
      name: 'repeater', version: REPEATER_VERSION, adminListen: loaded.config.common.adminListen, logLevel: 'debug', drainTimeoutMs: 2_000,
      host: detachedHost({ write: (line) => logs.push(line) && own.push(line) }),
      start: async (context) => {
        const { address } = await startRepeater(loaded.config, context);
        host = `${address.host}:${address.port}`;
      },
    });
    const stop = (): Promise<void> => running.stop('the test is over');
    closers.push(stop);
    const metric = async (name: string, label?: string): Promise<number> => {
      const text = await (await fetch(`http://127.0.0.1:${running.adminAddress.port}/metrics`, { headers: { connection: 'close' } })).text();
      shown.push(text);
      const line = text.split('\n').find((one) => one.startsWith(label === undefined ? `${name} ` : `${name}{`) && (label === undefined || one.includes(`="${label}"`)));
      return Number(line?.split(' ')[1] ?? 0);
    };
    return { host, logs: own, metric, stop, running };
  }

  /** Joins and waits until the join is accepted. */
  async function device(to: TestRepeater, path: string, headers: Readonly<Record<string, string>> = {}): Promise<Peer> {
    const socket = new WebSocket(`ws://${to.host}${path}`, { headers });
    const joined = peer(socket, path, headers);
    closers.push(() => joined.close());
    await once(socket, 'open');
    return joined;
  }

  /** The status and problem code that a join is refused with. */
  async function refusedJoin(to: TestRepeater, path: string, headers: Readonly<Record<string, string>> = {}): Promise<readonly [number | undefined, string]> {
    const socket = new WebSocket(`ws://${to.host}${path}`, { headers });
    socket.on('error', () => undefined);
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, import('node:http').IncomingMessage];
    let body = '';
    for await (const piece of response) body += String(piece);
    shown.push(body);
    socket.terminate();
    return [response.statusCode, (JSON.parse(body) as { code: string }).code];
  }

  /** Calls the device port; the code is that of a problem. */
  async function call(to: TestRepeater, path: string, init: RequestInit = {}): Promise<{ readonly status: number; readonly headers: Headers; readonly text: string; readonly code: string | undefined }> {
    const answer = await fetch(`http://${to.host}${path}`, { ...init, headers: { connection: 'close', ...(init.headers as Record<string, string>) } });
    const text = await answer.text();
    shown.push(text);
    const isProblem = answer.headers.get('content-type') === 'application/problem+json';
    return { status: answer.status, headers: answer.headers, text, code: isProblem ? (JSON.parse(text) as { code: string }).code : undefined };
  }

  async function close(): Promise<void> {
    for (let closer = closers.pop(); closer !== undefined; closer = closers.pop()) await closer();
    await noLeaks({ timeoutMs: 6_000 });
    const told = [...logs, ...shown].filter((text) => secrets.some((secret) => text.includes(secret)));
    if (told.length > 0) throw new Error(`a secret shows in:\n${told.join('\n')}`);
  }

  return { stub, hub, ackingHub, issue, folder, repeater, device, refusedJoin, call, close };
}

export function peer(socket: Socket, path: string, headers: IncomingHttpHeaders): Peer {
  const frames: Buffer[] = [];
  const controls: unknown[] = [];
  let ended: { code: number; reason: string } | undefined;
  socket.on('message', (bytes, isBinary) => {
    if (isBinary) frames.push(Buffer.from(bytes as Buffer));
    else controls.push(JSON.parse((bytes as Buffer).toString()));
  });
  socket.on('error', () => undefined);
  socket.on('close', (code, reason) => {
    ended = { code, reason: reason.toString() };
  });
  return {
    socket, path, headers, frames, controls,
    texts: () => frames.map((bytes) => bytes.toString()),
    send: (frame) => socket.send(typeof frame === 'string' ? Buffer.from(frame) : frame),
    closed: () => ended,
    close: async () => {
      socket.terminate();
      await eventually(() => socket.readyState === 3, { what: 'the socket to close' });
    },
  };
}

/** Waits until a stub has a peer and gives it. */
export function firstPeer(server: Pick<StubServer, 'peers'>, index = 0): Promise<Peer> {
  return eventually(() => server.peers[index] ?? false, { what: `peer ${index} of the stub` });
}

/** A v2 event's JSON. */
export function eventOf(room: string, value = 'on'): string {
  return JSON.stringify({ 'generating-system': 'ITB-1101-CP1', 'timestamp': '2019-03-04T05:06:07Z', 'event-tags': ['core-state'], 'affected-room': { buildingID: 'ITB', roomID: room }, 'key': 'power', value, 'user': '' });
}
