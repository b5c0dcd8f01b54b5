import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { openOutbox } from '@carillon/log/outbox';
import { eventually, freePort, spawnService } from '@carillon/testing';
import { WebSocketServer, type WebSocket } from 'ws';

import { wait } from './fan-out.ts';
import { binaryFrame, RawPeer } from './raw-peer.ts';

/**
 * A repeater that comes back with a long backlog on disk: how soon it is ready, how fast the backlog drains into a hub that acks, at
 * the default pace, and how long an event takes meanwhile that happens now, in a room of its own. The hub is a stub in this process
 * that knows each event by its number.
 */
export interface OutboxResult {
  readonly events: number;
  /** From the start of the process, which Node and the compiler take their part of, to readiness. */
  readonly readyMs: number;
  /** Of these, from opening the outbox to it being open. */
  readonly openMs: number;
  readonly drainedPerSecond: number;
  readonly liveEvents: number;
  readonly liveP99Ms: number;
  /** Events of either kind that did not come. */
  readonly lost: number;
}

const ROOMS = 100;
const APPEND_WINDOW = 20_000;
const LIVE_EVERY_MS = 20;
const DRAIN_TIMEOUT_MS = 600_000;
const NO_BOUND = 100 * 1024 ** 3;

export async function measureOutbox({ events, eventBytes }: { readonly events: number; readonly eventBytes: number }): Promise<OutboxResult> {
  const folder = await mkdtemp(join(tmpdir(), 'carillon-bench-'));
  const hub = await startAckingStub(events);
  try {
    await fill(folder, { events, eventBytes });
    const openMs = await timeOpen(folder);
    return { events, openMs, ...(await drain(folder, hub, events)) };
  } finally {
    await hub.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

const optionsOf = (folder: string) => ({ dir: join(folder, 'outbox'), log: { warn: () => undefined }, maxBytes: NO_BOUND, overflow: 'refuse', waitingMaxBytes: NO_BOUND }) as const;

async function fill(folder: string, { events, eventBytes }: { readonly events: number; readonly eventBytes: number }): Promise<void> {
  const outbox = await openOutbox(optionsOf(folder));
  const padding = 'x'.repeat(eventBytes);
  for (let from = 0; from < events; from += APPEND_WINDOW) {
    const count = Math.min(APPEND_WINDOW, events - from);
    await Promise.all(Array.from({ length: count }, (_, index) => {
      const room = `BENCH-${(from + index) % ROOMS}`;
      const frame = Buffer.from(`${room}\n${`${from + index} ${padding}`.slice(0, eventBytes)}`);
      return outbox.append({ id: `bench-${from + index}`, frame, tagEnd: room.length, recordedAtMs: Date.now() });
    }));
  }
  await outbox.close();
}

async function timeOpen(folder: string): Promise<number> {
  const beganMs = performance.now();
  const outbox = await openOutbox(optionsOf(folder));
  const tookMs = performance.now() - beganMs;
  await outbox.close();
  return Math.round(tookMs);
}

async function drain(folder: string, hub: AckingStub, events: number): Promise<Omit<OutboxResult, 'events' | 'openMs'>> {
  const [port, adminPort] = [await freePort(), await freePort()];
  const beganMs = performance.now();
  const repeater = await spawnService({
    command: 'apps/repeater/src/main.ts',
    env: {
      CARILLON_REPEATER_LISTEN: `127.0.0.1:${port}`, CARILLON_REPEATER_ADMIN_LISTEN: `127.0.0.1:${adminPort}`, CARILLON_REPEATER_ACCESS: 'open', CARILLON_REPEATER_HUB_URL: hub.url,
      CARILLON_REPEATER_OUTBOX_MAX_BYTES: `${NO_BOUND}`, CARILLON_DATA_DIR: folder, CARILLON_LOG_LEVEL: 'warn',
    },
    readyWhen: `http://127.0.0.1:${adminPort}/readyz`,
  });
  const readyMs = Math.round(performance.now() - beganMs);
  try {
    const device = await RawPeer.connect({ port, path: '/connect/LIVE-1/D1' });
    let sent = 0;
    const timer = setInterval(() => device.send(binaryFrame(Buffer.from(`LIVE-1\n${(sent += 1)} ${performance.now()}`))), LIVE_EVERY_MS);
    const deadlineMs = performance.now() + DRAIN_TIMEOUT_MS;
    while (hub.backlog() < events && performance.now() < deadlineMs) await wait(50);
    clearInterval(timer);
    await eventually(() => hub.liveMs.length >= sent, { what: 'the last live events' }).catch(() => undefined);
    device.destroy();
    const sorted = hub.liveMs.sort((left, right) => left - right);
    return {
      readyMs, drainedPerSecond: Math.round(events / hub.backlogSeconds()), liveEvents: sent,
      liveP99Ms: Math.round((sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN) * 10) / 10,
      lost: events - hub.backlog() + sent - hub.liveMs.length,
    };
  } finally {
    await repeater.stop();
  }
}

interface AckingStub {
  readonly url: string;
  /** Different events of the backlog that came. */
  backlog(): number;
  /** From the first of them to the last. */
  backlogSeconds(): number;
  /** What each live event took. */
  readonly liveMs: number[];
  stop(): Promise<void>;
}

async function startAckingStub(events: number): Promise<AckingStub> {
  const seen = new Uint8Array(events);
  const liveMs: number[] = [];
  let backlog = 0;
  let [firstMs, lastMs] = [0, 0];
  const take = (frame: Buffer): string => {
    const tagEnd = frame.indexOf(10);
    const body = frame.toString('latin1', tagEnd + 1, tagEnd + 40).split(' ');
    if (frame.toString('latin1', 0, 5) === 'LIVE-') liveMs.push(performance.now() - Number(body[1]));
    else if (seen[Number(body[0])] === 0) {
      seen[Number(body[0])] = 1;
      backlog += 1;
      lastMs = performance.now();
      firstMs ||= lastMs;
    }
    return /\tid=([^\t]+)/.exec(frame.toString('latin1', 0, tagEnd))?.[1] ?? '';
  };
  const server = createServer((_request, response) => void response.writeHead(404).end());
  const sockets = new WebSocketServer({ server, handleProtocols: (offered) => (offered.has('carillon.2') ? 'carillon.2' : false), perMessageDeflate: false });
  sockets.on('connection', (socket: WebSocket) => {
    let acked: [string, number][] = [];
    socket.on('message', (bytes) => {
      acked.push([take(bytes as Buffer), 1]);
      if (acked.length > 1) return;
      setImmediate(() => {
        socket.send(JSON.stringify({ op: 'published', class: 'stored', events: acked }));
        acked = [];
      });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    backlog: () => backlog, backlogSeconds: () => (lastMs - firstMs) / 1_000, liveMs,
    stop: async () => {
      for (const socket of sockets.clients) socket.terminate();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
