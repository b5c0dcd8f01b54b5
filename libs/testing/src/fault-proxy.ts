import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

import { freePort } from './free-port.ts';
import { ownStoppable } from './owned-by-test.ts';

/*
 * Each connection is two pumps, one a direction. A pump reads a chunk, waits at the gate (closed while stalled), waits for its
 * share of the rate, writes, waits for the sink to drain, and only then reads on: what a slow or stalled peer does not take
 * backs up into the sender's own buffers, as on a real network.
 */
const SLICES_PER_SECOND = 50;

export interface FaultProxyOptions {
  readonly targetPort: number;
  /** A free one by default. */
  readonly port?: number;
}

export interface FaultProxy {
  readonly port: number;
  /** Connections open now, abandoned ones included. */
  readonly connectionCount: number;
  /** Destroys every connection and refuses new ones until `heal()`. */
  cut(): void;
  /** Stops forwarding either way, ends of connections included, and closes nothing; new connections are accepted and as silent. */
  stall(): void;
  /** Lets every client die unnoticed: its connection breaks, the target's half stays open and silent until `heal()`. New ones go through. */
  abandon(): void;
  /** Back to forwarding and accepting at full speed; what was held up while stalled goes on in order. */
  heal(): Promise<void>;
  /** Limits what each connection gets from the target towards the client; `Infinity` lifts it. */
  limitBytesPerSecond(bytesPerSecond: number): void;
  /** Destroys everything; idempotent. */
  stop(): Promise<void>;
}

/** Starts a TCP proxy on loopback in front of `targetPort` that can be told to misbehave. */
export async function startFaultProxy({ targetPort, port: wanted }: FaultProxyOptions): Promise<FaultProxy> {
  const port = wanted ?? (await freePort());
  const sockets = new Set<Socket>();
  const shared = new Gate();
  const abandoned = new Set<Gate>();
  const open = new Set<Connection>();
  let towardClientLimit = Number.POSITIVE_INFINITY;

  const server = createServer({ allowHalfOpen: true }, (client) => {
    const target = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true });
    const connection: Connection = { client, own: new Gate() };
    open.add(connection);
    const gate: Passable = { passed: () => Promise.all([shared.passed(), connection.own.passed()]).then(() => undefined) };
    const pair = [client, target];
    for (const socket of pair) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
    }
    const toTarget = pump(client, target, { gate, limit: () => Number.POSITIVE_INFINITY });
    const toClient = pump(target, client, { gate, limit: () => towardClientLimit });
    void Promise.all([toTarget, toClient]).then(() => {
      open.delete(connection);
      abandoned.delete(connection.own);
      for (const socket of pair) sockets.delete(socket.destroy());
    });
  });
  await listen(server, port);
  const disown = ownStoppable(stop);

  function cut(): void {
    if (server.listening) server.close();
    for (const socket of sockets) socket.destroy();
    openGates();
  }
  function openGates(): void {
    for (const gate of [shared, ...abandoned]) gate.open();
    abandoned.clear();
  }
  async function stop(): Promise<void> {
    disown();
    const closed = server.listening ? once(server, 'close') : undefined;
    cut();
    await closed;
  }
  return {
    port,
    get connectionCount() {
      return open.size;
    },
    cut,
    stall: () => shared.close(),
    abandon: () => {
      for (const { client, own } of open) {
        own.close();
        abandoned.add(own);
        client.destroy();
      }
    },
    heal: async () => {
      towardClientLimit = Number.POSITIVE_INFINITY;
      openGates();
      if (!server.listening) await listen(server, port);
    },
    limitBytesPerSecond: (bytesPerSecond) => {
      towardClientLimit = bytesPerSecond;
    },
    stop,
  };
}

interface Connection {
  readonly client: Socket;
  /** Closed once the client was abandoned. */
  readonly own: Gate;
}

interface Passable {
  passed(): Promise<void>;
}

class Gate implements Passable {
  #opened = Promise.resolve();
  #open: (() => void) | undefined;

  passed(): Promise<void> {
    return this.#opened;
  }

  close(): void {
    if (this.#open !== undefined) return;
    this.#opened = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  open(): void {
    this.#open?.();
    this.#open = undefined;
  }
}

/** Forwards until `source` ends (passed on as an end) or either breaks (both are destroyed, once the gate is open). */
async function pump(source: Socket, sink: Socket, rules: { readonly gate: Passable; readonly limit: () => number }): Promise<void> {
  try {
    for await (const chunk of source.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      await forward(chunk, sink, rules);
    }
    await rules.gate.passed();
    sink.end();
    await firstOf(sink, ['finish', 'close']);
  } catch {
    await rules.gate.passed();
    source.destroy();
    sink.destroy();
  }
}

async function forward(chunk: Buffer, sink: Socket, { gate, limit }: { readonly gate: Passable; readonly limit: () => number }): Promise<void> {
  for (let offset = 0; offset < chunk.length; ) {
    await gate.passed();
    const bytesPerSecond = limit();
    const slice = Number.isFinite(bytesPerSecond) ? chunk.subarray(offset, offset + Math.max(1, Math.floor(bytesPerSecond / SLICES_PER_SECOND))) : chunk.subarray(offset);
    if (slice.length < chunk.length - offset || Number.isFinite(bytesPerSecond)) await sleep((slice.length / bytesPerSecond) * 1_000);
    await gate.passed();
    if (sink.destroyed) throw new Error('the other side is gone');
    if (!sink.write(slice)) await firstOf(sink, ['drain', 'close']);
    offset += slice.length;
  }
}

function firstOf(socket: Socket, events: readonly string[]): Promise<void> {
  if (socket.closed || socket.writableFinished) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      for (const event of events) socket.off(event, done);
      resolve();
    };
    for (const event of events) socket.once(event, done);
  });
}

async function listen(server: Server, port: number): Promise<void> {
  server.listen({ port, host: '127.0.0.1' });
  await once(server, 'listening');
}
