import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Bus } from '@carillon/bus';
import type { EventLog } from '@carillon/log';
import { detachedHost, runProcess, type RunningProcess } from '@carillon/runtime';
import { eventually } from '@carillon/testing';
import { WebSocket, type ClientOptions } from 'ws';

import { loadHubConfig } from './config.ts';
import { openHubLog } from './durable/hub-log.ts';
import { startHub } from './hub.ts';
import type { PeerKind } from './sessions/peer.ts';
import type { HubStatus } from './http/status.ts';
import { VERSION } from './version.ts';

// Hubs in this process, and the peers, tails and raw sockets of strangers. What a test opened, `closeAll` closes.

const closers: (() => unknown)[] = [];
const secrets: string[] = [];
const allLogs: (readonly string[])[] = [];

/** Peers and sockets first, then hubs, each in the reverse order of their start. Throws when a hub has logged a secret. */
export async function closeAll(): Promise<void> {
  for (const close of closers.splice(0).reverse()) await close();
  const lines = allLogs.splice(0).flat();
  const told = secrets.splice(0).filter((secret) => lines.some((line) => line.includes(secret)));
  if (told.length > 0) throw new Error(`${told.length} secrets stand in the logs`);
}

/** Has `closeAll` see to it that no hub has logged an access key, or its secret alone. */
export function keepSecret(accessKey: string): void {
  secrets.push(accessKey, accessKey.slice(accessKey.lastIndexOf('_') + 1));
}

/** Has something closed by `closeAll`. */
export function onClose(close: () => unknown): void {
  closers.push(close);
}

export interface TestHub {
  readonly id: string;
  readonly port: number;
  readonly host: string;
  readonly url: string;
  readonly running: RunningProcess;
  /** Where it keeps its copy of access; gone after the test. */
  readonly dataDir: string;
  /** Log lines as they were written. */
  readonly logs: readonly string[];
  /** Sum of a metric's samples, of those with a label value when one is given. */
  metric(name: string, label?: string): Promise<number>;
  readiness(): Promise<{ readonly status: number; readonly text: string }>;
  status(): Promise<HubStatus>;
  /** Calls the hub; a body goes as JSON unless it is text or bytes. */
  call(method: string, path: string, options?: { readonly body?: unknown; readonly headers?: Record<string, string> }): Promise<Answer>;
  post(room: string, body?: object): Promise<Answer>;
  link(address: string): Promise<Answer>;
  stop(): Promise<void>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** `code` of a problem. */
  readonly code: string | undefined;
}

/** Small bounds and quick retries, and no keys asked for; `env` overrides. */
const ENVIRONMENT = {
  CARILLON_HUB_ACCESS: 'open',
  // Tests that want durable rooms say so with `log`.
  CARILLON_HUB_LOG: 'off',
  // Its entries take sequences, which many tests count; tests of it say `on`.
  CARILLON_HUB_TRAIL: 'off',
  CARILLON_HUB_ADMIN_LISTEN: '127.0.0.1:0',
  CARILLON_LOG_LEVEL: 'debug',
  CARILLON_DRAIN_TIMEOUT_MS: '5000',
  CARILLON_HUB_LINK_RETRY_FIRST_MS: '20',
  CARILLON_HUB_LINK_RETRY_CAP_MS: '60',
  CARILLON_HUB_COME_BACK_MIN_MS: '10',
  CARILLON_HUB_COME_BACK_MAX_MS: '30',
};

export interface TestHubOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly bus?: Bus;
  readonly feedBus?: Bus;
  readonly port?: number;
  /** Keeps durable rooms; by its default lane every room is one. */
  readonly log?: boolean;
  /** Puts something between the hub and its log, e.g. one that fails. */
  readonly wrapLog?: (log: EventLog) => EventLog;
  /** Of a hub that was there before; by default one that goes after the test. */
  readonly dataDir?: string;
}

export async function startTestHub({ env = {}, bus, feedBus, port = 0, log = false, wrapLog = (each) => each, dataDir: kept }: TestHubOptions = {}): Promise<TestHub> {
  const dataDir = kept ?? await mkdtemp(join(tmpdir(), 'carillon-hub-'));
  if (kept === undefined) onClose(() => rm(dataDir, { recursive: true, force: true }));
  const loaded = loadHubConfig({ ...ENVIRONMENT, ...(log ? { CARILLON_HUB_LOG: 'on' } : {}), CARILLON_DATA_DIR: dataDir, CARILLON_HUB_LISTEN: `127.0.0.1:${port}`, ...env });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const { config } = loaded;
  const logs: string[] = [];
  allLogs.push(logs);
  let started: Awaited<ReturnType<typeof startHub>> | undefined;
  const running = await runProcess({
    name: 'hub', version: VERSION, adminListen: config.common.adminListen, logLevel: config.common.logLevel, drainTimeoutMs: config.common.drainTimeoutMs,
    host: detachedHost({ write: (line) => logs.push(line) }),
    start: async (context) => {
      const eventLog = await openHubLog(config, { name: 'hub', log: context.log });
      started = await startHub({ config, version: VERSION, ...(eventLog === undefined ? {} : { eventLog: wrapLog(eventLog) }), ...(bus === undefined ? {} : { bus }), ...(feedBus === undefined ? {} : { feedBus }) }, context);
    },
  });
  if (started === undefined) throw new Error('the hub did not start');
  const { id, address } = started;
  const host = `127.0.0.1:${address.port}`;
  const admin = `http://127.0.0.1:${running.adminAddress.port}`;
  const stop = (): Promise<void> => running.stop('the test says so');
  onClose(stop);
  const call: TestHub['call'] = async (method, path, { body, headers = {} } = {}) => {
    const payload = body === undefined || typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
    const response = await fetch(`http://${host}${path}`, { method, headers, ...(payload === undefined ? {} : { body: payload as BodyInit }) });
    return readAnswer(response);
  };
  return {
    id, host, running, dataDir, logs, stop, call,
    port: address.port,
    url: `ws://${host}`,
    metric: async (name, label) => sumOf(await (await fetch(`${admin}/metrics`)).text(), name, label),
    readiness: async () => {
      const response = await fetch(`${admin}/readyz`);
      return { status: response.status, text: await response.text() };
    },
    status: async () => JSON.parse((await call('GET', '/status')).text) as HubStatus,
    post: (room, body = {}) => call('POST', '/event', { body: { 'affected-room': { roomID: room }, ...body } }),
    link: (link) => call('POST', `/interconnect/${encodeURIComponent(link)}`),
  };
}

async function readAnswer(response: Response): Promise<Answer> {
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, code: codeOf(text) };
}

/** The `code` of a problem or an error frame. */
export function codeOf(text: string): string | undefined {
  return /"code":"([A-Z_0-9]+)"/.exec(text)?.[1];
}

function sumOf(metrics: string, name: string, label: string | undefined): number {
  return metrics
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => label === undefined || line.includes(`="${label}"`))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf('}') + 1).trim().split(' ').at(line.includes('}') ? 0 : 1)), 0);
}

export interface TestPeer {
  readonly socket: WebSocket;
  readonly kind: PeerKind;
  /** Event frames as text, in the order they came. */
  readonly frames: string[];
  /** Control frames. */
  readonly texts: string[];
  /** How it ended. */
  readonly ended: Promise<{ readonly code: number; readonly reason: string }>;
  isOpen(): boolean;
  send(frame: string | Uint8Array): void;
  say(text: string): void;
  /** Subscribes, and resolves when the hub has done it. */
  subscribe(...rooms: readonly string[]): Promise<void>;
  unsubscribe(...rooms: readonly string[]): Promise<void>;
  /** Resolves when the hub has read everything sent so far: it answers a frame that it refuses. */
  heard(): Promise<void>;
  /** Resolves when a frame has come. */
  got(frame: string): Promise<void>;
  leave(): Promise<void>;
}

/** Joins as an original would: no subprotocol, no compression. */
export async function connectPeer(hub: { readonly url: string }, kind: PeerKind, options: ClientOptions = {}): Promise<TestPeer> {
  const socket = new WebSocket(`${hub.url}/connect/${kind}`, { perMessageDeflate: false, ...options });
  const frames: string[] = [];
  const texts: string[] = [];
  socket.on('message', (data, isBinary) => void (isBinary ? frames : texts).push((data as Buffer).toString('utf8')));
  const ended = new Promise<{ code: number; reason: string }>((resolve) => socket.once('close', (code, reason) => resolve({ code, reason: reason.toString('utf8') })));
  onClose(() => {
    socket.terminate();
    return ended;
  });
  await once(socket, 'open');
  socket.on('error', () => undefined);
  const say = (text: string): void => socket.send(text);
  const send = (frame: string | Uint8Array): void => socket.send(Buffer.from(frame as string), { binary: true });
  const heard = async (): Promise<void> => {
    const before = texts.length;
    // Not a subscription change, or a frame without a line feed: both are answered and survived.
    if (kind === 'messenger') say('{"rooms":0}');
    else send('x');
    await eventually(() => texts.length > before, { what: 'an error frame', intervalMs: 2 });
  };
  const change = async (rooms: readonly string[], create: boolean): Promise<void> => {
    say(JSON.stringify({ rooms, create }));
    await heard();
  };
  return {
    socket, kind, frames, texts, ended, send, say, heard,
    isOpen: () => socket.readyState === WebSocket.OPEN,
    subscribe: (...rooms) => change(rooms, true),
    unsubscribe: (...rooms) => change(rooms, false),
    got: (frame) => eventually(() => frames.includes(frame), { what: `${kind} to get ${JSON.stringify(frame.slice(0, 64))}`, intervalMs: 2, timeoutMs: 5_000 }).then(() => undefined),
    leave: async () => {
      socket.close();
      await ended;
    },
  };
}

/** A messenger that hears the rooms. */
export async function joinRooms(hub: { readonly url: string }, ...rooms: readonly string[]): Promise<TestPeer> {
  return joinRoomsWith({}, hub, ...rooms);
}

/** The same with headers, e.g. an access key. */
export async function joinRoomsWith(headers: Readonly<Record<string, string>>, hub: { readonly url: string }, ...rooms: readonly string[]): Promise<TestPeer> {
  const peer = await connectPeer(hub, 'messenger', { headers });
  if (rooms.length > 0) await peer.subscribe(...rooms);
  return peer;
}

/** Drops everything heard so far. */
export function forget(...peers: readonly TestPeer[]): void {
  for (const peer of peers) peer.frames.length = 0;
}

export interface TestTail {
  readonly response: Response;
  text(): string;
  /** Resolves when the stream has ended, by either side. */
  readonly ended: Promise<void>;
  abort(): void;
}

/** Opens a live tail and reads it to the end. */
export async function openTail(hub: TestHub, path: string, headers: Readonly<Record<string, string>> = {}): Promise<TestTail> {
  const abort = new AbortController();
  onClose(() => abort.abort());
  const response = await fetch(`http://${hub.host}${path}`, { headers, signal: abort.signal });
  let text = '';
  const read = async (): Promise<void> => {
    for await (const piece of response.body ?? []) text += Buffer.from(piece as Uint8Array).toString('utf8');
  };
  return { response, text: () => text, ended: read().catch(() => undefined), abort: () => abort.abort() };
}

export interface RawClient {
  readonly socket: Socket;
  text(): string;
  isEnded(): boolean;
}

/** A TCP client that says what it is told. */
export async function connectRaw(port: number): Promise<RawClient> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  let text = '';
  let ended = false;
  socket.on('data', (piece) => (text += piece.toString('latin1')));
  socket.on('error', () => undefined);
  socket.on('close', () => (ended = true));
  onClose(() => socket.destroy());
  await once(socket, 'connect');
  return { socket, text: () => text, isEnded: () => ended };
}

/** The head of an upgrade by hand. */
export function upgradeHead(path: string, headers: Readonly<Record<string, string | undefined>> = {}): string {
  const all = { Host: 'hub.test', Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version': '13', ...headers };
  return [`GET ${path} HTTP/1.1`, ...Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`])), '', ''].join('\r\n');
}
