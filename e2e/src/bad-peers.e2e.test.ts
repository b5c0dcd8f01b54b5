import type { Socket } from 'node:net';

import { connect, type Messenger } from '@carillon/messenger';
import { eventually, startFaultProxy, stopAll, trackResources } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { countedBody } from './counted-event.ts';
import { HubProcess } from './hub-process.ts';
import { handshake, openSocket, subscribeFrame, upgradeRequest, type Handshake } from './raw-peer.ts';
import { Reception } from './reception.ts';
import { seededRandom, seedsOf } from './seeded-random.ts';

/**
 * Peers that misbehave against one hub process, while a publisher and a subscriber that have nothing to do with them must
 * not lose an event. Bounds are set small, so that they are reached here.
 */
const CONNECTIONS = 5_000;
const DRIBBLERS = 200;
const DRIBBLE_EVERY_MS = 100;
const GARBAGE_SOCKETS = 100;
const SLOW_PEERS = 20;
const SLOW_BYTES_PER_SECOND = 1_024;
const FLOOD_BODY = 'x'.repeat(32_768);
const FLOOD_EVERY_MS = 10;
const ROOM = 'CALM-1';
const FLOOD_ROOM = 'FLOOD-1';
const BYSTANDER_EVERY_MS = 10;
/** A hub that runs from its TypeScript source takes about 115 MiB; lanes may hold 32 MiB, and 5,000 peers took 50 MiB here. */
const RSS_MAX_BYTES = 320 * 1_048_576;
const HUB_ENV = {
  CARILLON_HUB_HANDSHAKE_TIMEOUT_MS: '8000',
  CARILLON_HUB_WRITE_TIMEOUT_MS: '3000',
  CARILLON_HUB_FRAME_MAX_BYTES: '262144',
  CARILLON_HUB_LANE_MAX_BYTES: '1MiB',
  CARILLON_HUB_LANES_TOTAL_MAX_BYTES: '32MiB',
  CARILLON_LOG_LEVEL: 'error',
};

let released: ReturnType<typeof trackResources>;
let sockets: Socket[];

beforeEach(() => {
  released = trackResources();
  sockets = [];
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await stopAll();
  await released({ timeoutMs: 10_000 });
});

const kept = <Of extends Socket>(socket: Of): Of => {
  sockets.push(socket);
  return socket;
};

const join = async (port: number): Promise<Handshake> => {
  const joined = await handshake(port, '/connect/messenger');
  kept(joined.socket);
  return joined;
};

/** A publisher and a subscriber who mind their own business. */
class Bystanders {
  readonly reception = new Reception();
  readonly #subscriber: Messenger;
  readonly #publisher: Messenger;
  readonly #refused: unknown[] = [];
  #unanswered = 0;
  #counter = 0;
  #timer: NodeJS.Timeout | undefined;

  private constructor(url: string) {
    this.#subscriber = connect(url);
    this.#publisher = connect(url);
    this.#subscriber.subscribe(ROOM, this.reception.take);
  }

  static async start({ url }: HubProcess): Promise<Bystanders> {
    const bystanders = new Bystanders(url);
    await eventually(async () => {
      await bystanders.#publish();
      return bystanders.reception.last('calm') > 0;
    }, { what: 'the first event' });
    bystanders.#timer = setInterval(() => {
      bystanders.#publish().catch((error: unknown) => void bystanders.#refused.push(error));
    }, BYSTANDER_EVERY_MS);
    return bystanders;
  }

  async #publish(): Promise<void> {
    this.#counter += 1;
    this.#unanswered += 1;
    try {
      await this.#publisher.send(ROOM, countedBody(ROOM, { publisher: 'calm', counter: this.#counter }));
    } finally {
      this.#unanswered -= 1;
    }
  }

  /** Waits for an event that is published from now on. */
  async goOn(): Promise<void> {
    const since = this.#counter;
    await eventually(() => this.reception.last('calm') > since + 5, { what: 'the bystanders\' events to flow' });
  }

  /** Ends, and says what went wrong in all that time: nothing, if the hub is right. */
  async stop(): Promise<{ readonly events: number; readonly wrong: object }> {
    clearInterval(this.#timer);
    await eventually(() => this.reception.last('calm') === this.#counter, { what: 'the bystanders\' last event' });
    // An event may be heard before its publisher is answered.
    await eventually(() => this.#unanswered === 0, { what: 'the bystanders\' last answer' });
    const errors = [...this.#refused, ...[this.#publisher, this.#subscriber].flatMap(({ state }) => (state.lastError === undefined ? [] : [state.lastError.code]))];
    await Promise.all([this.#publisher.close(), this.#subscriber.close()]);
    const { duplicates, reordered, torn } = this.reception;
    return { events: this.#counter, wrong: { missed: this.reception.missed('calm'), duplicates, reordered, torn, errors } };
  }
}

const NOTHING_WRONG = { missed: 0, duplicates: 0, reordered: 0, torn: 0, errors: [] };

async function isWell(hub: HubProcess): Promise<void> {
  expect((await hub.admin('/livez')).status).toBe(200);
  expect(hub.service.rssBytes()).toBeLessThan(RSS_MAX_BYTES);
}

const floodFrames = (publisher: Messenger): NodeJS.Timeout =>
  setInterval(() => void publisher.send(FLOOD_ROOM, FLOOD_BODY).catch(() => undefined), FLOOD_EVERY_MS);

describe('a hub among bad peers', () => {
  it('takes 5,000 connections at once, lives through their sudden end, dribbled handshakes, slow readers and garbage', async () => {
    const hub = await HubProcess.start('brave', { env: HUB_ENV });
    const bystanders = await Bystanders.start(hub);
    const rss: Record<string, number> = {};
    const noteRss = (phase: string): void => void (rss[phase] = Math.round(hub.service.rssBytes() / 1_048_576));
    noteRss('start');

    // A crowd.
    const crowd = await Promise.all(Array.from({ length: CONNECTIONS }, () => join(hub.port)));
    expect(crowd.filter(({ status }) => status !== 101)).toEqual([]);
    expect((await hub.metrics()).get('carillon_hub_connections', { kind: 'messenger' })).toBe(CONNECTIONS + 2);
    await bystanders.goOn();
    noteRss('crowd');
    for (const { socket } of crowd) socket.destroy();
    await eventually(async () => (await hub.metrics()).get('carillon_hub_connections', { kind: 'messenger' }) === 2, { what: 'the crowd to be gone' });
    await bystanders.goOn();

    // Handshakes that never end.
    const dribblers = await Promise.all(Array.from({ length: DRIBBLERS }, async () => kept(await openSocket(hub.port))));
    let answers = 0;
    for (const socket of dribblers) socket.once('data', (piece: Buffer) => (answers += /^HTTP\/1\.1 408 /.test(piece.toString('latin1')) ? 1 : 0));
    const request = upgradeRequest(hub.port, '/connect/messenger');
    let sent = 0;
    const dribbling = setInterval(() => {
      for (const socket of dribblers) if (socket.writable) socket.write(request.charAt(sent % (request.length - 4)));
      sent += 1;
    }, DRIBBLE_EVERY_MS);
    await eventually(() => dribblers.every(({ closed }) => closed), { what: 'the hub to end the handshakes' });
    clearInterval(dribbling);
    expect((await hub.metrics()).get('carillon_hub_refused_total', { code: 'REQUEST_TIMEOUT' })).toBe(DRIBBLERS);
    expect(answers).toBe(DRIBBLERS);
    await bystanders.goOn();
    noteRss('dribblers');

    // Peers that read little or nothing, and one that reads all of the same flood.
    const throttle = await startFaultProxy({ targetPort: hub.port });
    throttle.limitBytesPerSecond(SLOW_BYTES_PER_SECOND);
    const slow = await Promise.all(Array.from({ length: SLOW_PEERS }, async (_, index) => {
      const { socket, status } = await join(index % 2 === 0 ? hub.port : throttle.port);
      expect(status).toBe(101);
      socket.write(subscribeFrame([FLOOD_ROOM]));
      if (index % 2 === 0) socket.pause();
      else socket.resume();
      return socket;
    }));
    const reader = connect(hub.url);
    let floodEvents = 0;
    reader.subscribe(FLOOD_ROOM, () => (floodEvents += 1));
    const flooder = connect(hub.url);
    await Promise.all([reader.ready(), flooder.ready()]);
    const flood = floodFrames(flooder);
    let queuedMaxBytes = 0;
    await eventually(async () => {
      const metrics = await hub.metrics();
      queuedMaxBytes = Math.max(queuedMaxBytes, metrics.get('carillon_hub_lane_queued_bytes') ?? 0);
      const cut = ['PEER_SLOW', 'PEER_STALLED', 'MEMORY_PRESSURE'].map((cause) => metrics.get('carillon_hub_connections_closed_total', { cause }) ?? 0);
      return cut.reduce((sum, count) => sum + count, 0) === SLOW_PEERS;
    }, { timeoutMs: 30_000, intervalMs: 100, what: 'the slow peers to be cut with a code' });
    clearInterval(flood);
    expect((await hub.metrics()).get('carillon_hub_events_dropped_total', { reason: 'peer-slow' })).toBeGreaterThan(0);
    expect(queuedMaxBytes).toBeLessThanOrEqual(32 * 1_048_576);
    expect(floodEvents).toBeGreaterThan(0);
    expect(reader.state.lastError).toBeUndefined();
    await bystanders.goOn();
    noteRss('slow');
    for (const socket of slow) socket.destroy();
    await throttle.stop();
    await Promise.all([reader.close(), flooder.close()]);

    // Noise, before and after a handshake.
    const [seed] = seedsOf([5]) as [number];
    const random = seededRandom(seed);
    const noisy = await Promise.all(Array.from({ length: GARBAGE_SOCKETS }, async (_, index) => {
      const socket = index % 2 === 0 ? kept(await openSocket(hub.port)) : (await join(hub.port)).socket;
      socket.resume();
      socket.write(Buffer.from(Array.from({ length: 1 + Math.floor(random() * 4_096) }, () => Math.floor(random() * 256))));
      return socket;
    }));
    await bystanders.goOn();
    for (const socket of noisy) socket.destroy();
    await eventually(async () => (await hub.metrics()).get('carillon_hub_connections', { kind: 'messenger' }) === 2, { what: 'the noise to be gone' });

    const { events, wrong } = await bystanders.stop();
    noteRss('end');
    process.stdout.write(`${JSON.stringify({ case: 'bad-peers', connections: CONNECTIONS, bystanderEvents: events, wrong, queuedMaxBytes, rssMiB: rss })}\n`);
    expect(wrong).toEqual(NOTHING_WRONG);
    await isWell(hub);
    expect(await hub.stop()).toEqual({ code: 0, signal: null });
  });

  it('answers those beyond its limit with 503 and a code, and takes others when there is room again', async () => {
    const limit = 100;
    const hub = await HubProcess.start('small', { env: { ...HUB_ENV, CARILLON_HUB_CONNECTIONS_MAX: `${limit}` } });
    const bystanders = await Bystanders.start(hub);

    const crowd = await Promise.all(Array.from({ length: limit * 2 }, () => join(hub.port)));

    const inside = crowd.filter(({ status }) => status === 101);
    const refused = crowd.filter(({ status }) => status === 503);
    expect([inside.length, refused.length]).toEqual([limit - 2, limit + 2]);
    for (const { answer } of refused) expect(answer).toContain('CONNECTIONS_EXCEEDED');
    for (const { socket } of inside) socket.destroy();
    await eventually(async () => (await join(hub.port)).status === 101, { what: 'room for one more' });
    expect((await bystanders.stop()).wrong).toEqual(NOTHING_WRONG);
    await isWell(hub);
  });
});
