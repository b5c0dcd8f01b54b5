import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { eventually, freePort, startFaultProxy, startNatsCluster, startNatsServer, stopAll, trackResources, type NatsServer } from '@carillon/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import type { Bus, BusLogLine, BusState } from './bus.ts';
import { CONFORMANCE_LIMITS, describeBus } from './bus.conformance.ts';
import { connectNats, type ConnectNatsOptions } from './nats-bus.ts';

const SETUP_TIMEOUT_MS = 180_000;
// Giving up a silent server takes 4 to 6 s, the backoff at its cap 5.
const HEAL_TIMEOUT_MS = 20_000;
const PAYLOAD = Buffer.from('payload');

describe('with a server that stays', () => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await startNatsServer({ maxPayload: CONFORMANCE_LIMITS.payloadMaxBytes });
  }, SETUP_TIMEOUT_MS);
  afterAll(() => server.stop());

  describeBus('connectNats', () => ({
    connect: async () => {
      const bus = connectNats({ servers: [server.url], name: 'conformance', outboundMaxBytes: CONFORMANCE_LIMITS.outboundMaxBytes });
      await eventually(() => bus.state === 'connected', { what: 'the bus to connect' });
      return bus;
    },
  }));
});

describe('connectNats', { timeout: 60_000 }, () => {
  let lines: BusLogLine[];
  let buses: Bus[];
  let released: () => Promise<void>;

  beforeEach(() => {
    lines = [];
    buses = [];
    released = trackResources();
  });
  afterEach(async () => {
    await Promise.all(buses.map((bus) => bus.close()));
    await stopAll();
    await released();
  });

  const open = (servers: readonly string[], more: Partial<ConnectNatsOptions> = {}): Bus => {
    const bus = connectNats({ servers, name: 'test', log: (line) => lines.push(line), ...more });
    buses.push(bus);
    return bus;
  };
  const reaches = (bus: Bus, state: BusState) => eventually(() => bus.state === state, { timeoutMs: HEAL_TIMEOUT_MS, what: `the bus to be ${state}` });
  const collect = (bus: Bus, subject: string) => {
    const got: string[] = [];
    const subscription = bus.subscribe(subject, { deliver: ({ payload }) => got.push(Buffer.from(payload).toString()) });
    return { got, subscription };
  };
  const texts = () => lines.map(({ text }) => text);

  it('connects when the server comes up later, with the subscriptions made before', async () => {
    const port = await freePort();
    const [left, right] = [open([`nats://127.0.0.1:${port}`]), open([`127.0.0.1:${port}`])];
    const { got, subscription } = collect(right, 'a.*');

    expect(left.state).toBe('connecting');
    expect(left.publish('a.b', PAYLOAD)).toBe('away');
    await expect(left.flush()).rejects.toMatchObject({ code: 'BUS_AWAY' });
    await eventually(() => texts().includes('NATS is out of reach'));

    await startNatsServer({ port });
    await subscription.active;
    await reaches(left, 'connected');
    expect(left.publish('a.b', PAYLOAD)).toBe('sent');
    await eventually(() => got.length === 1);
    expect(got).toEqual(['payload']);
  });

  it('survives kill -9 of the server: restores subscriptions, hands over nothing stale', async () => {
    const server = await startNatsServer();
    const [left, right] = [open([server.url]), open([server.url])];
    const states: BusState[] = [];
    left.onState((state) => states.push(state));
    const early = collect(right, 'a');
    await early.subscription.active;
    await reaches(left, 'connected');

    await server.kill('SIGKILL');
    await Promise.all([reaches(left, 'away'), reaches(right, 'away')]);
    for (let index = 0; index < 100; index += 1) expect(left.publish('a', Buffer.from('stale'))).toBe('away');
    const late = collect(right, 'a');

    await server.restart();
    await Promise.all([reaches(left, 'connected'), reaches(right, 'connected'), late.subscription.active]);
    await right.flush();
    left.publish('a', Buffer.from('fresh'));
    await eventually(() => late.got.length > 0 && early.got.length > 0);
    expect([early.got, late.got]).toEqual([['fresh'], ['fresh']]);
    expect(states).toEqual(['connected', 'away', 'connected']);
  });

  it('hands over nothing stale however the publishing meets the loss', async () => {
    const server = await startNatsServer();
    const [left, right] = [open([server.url]), open([server.url])];
    const { got, subscription } = collect(right, 'a');
    await subscription.active;
    await reaches(left, 'connected');

    for (let round = 1; round <= 3; round += 1) {
      let restarted = false;
      const restarting = server.restart().then(() => (restarted = true));
      // Publishes in every turn of the event loop from before the loss until the bus is back.
      await eventually(() => left.state === 'away' || void left.publish('a', Buffer.from(`before ${round}`)) || false, { intervalMs: 0 });
      await eventually(() => left.state === 'connected' || left.publish('a', Buffer.from('stale')) !== 'away', { timeoutMs: HEAL_TIMEOUT_MS, intervalMs: 0 });
      await restarting;
      await Promise.all([reaches(left, 'connected'), reaches(right, 'connected')]);
      await right.flush();
      left.publish('a', Buffer.from(`after ${round}`));
      await eventually(() => got.includes(`after ${round}`));
      expect(restarted).toBe(true);
    }
    expect(got).not.toContain('stale');
  });

  it('gives up a server that is silent and comes back when it speaks', async () => {
    const server = await startNatsServer();
    const [left, right] = [open([server.url], { outboundMaxBytes: 4 * 1024 * 1024 }), open([server.url])];
    const { got, subscription } = collect(right, 'fresh');
    await subscription.active;
    await reaches(left, 'connected');

    server.pause();
    // More than the socket takes, so that giving up cannot wait for the writes.
    const outcomes = new Set<string>();
    await eventually(() => {
      outcomes.add(left.publish('bulk', new Uint8Array(512 * 1024)));
      return left.state === 'away';
    }, { timeoutMs: HEAL_TIMEOUT_MS });
    expect(outcomes).toEqual(new Set(['sent', 'backlogged', 'away']));
    await reaches(right, 'away');
    expect(left.publish('fresh', Buffer.from('stale'))).toBe('away');

    server.resume();
    await Promise.all([reaches(left, 'connected'), reaches(right, 'connected')]);
    await right.flush();
    left.publish('fresh', Buffer.from('fresh'));
    await eventually(() => got.length > 0);
    expect(got).toEqual(['fresh']);
  });

  it('tells within the time given to a flush that the server is silent, and stays connected', async () => {
    const server = await startNatsServer();
    const bus = open([server.url]);
    await reaches(bus, 'connected');

    server.pause();
    const startedAtMs = performance.now();
    const outcomes = await Promise.allSettled([bus.flush({ timeoutMs: 1_000 }), bus.flush({ timeoutMs: 1_000 })]);
    expect(performance.now() - startedAtMs).toBeLessThan(1_500);
    for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: { code: 'BUS_AWAY' } });
    expect(bus.state).toBe('connected');

    server.resume();
    await bus.flush({ timeoutMs: 5_000 });
    expect(bus.state).toBe('connected');
  });

  it('does not pile up sockets while a server takes connections and says nothing', async () => {
    const server = await startNatsServer();
    server.pause();
    const bus = open([server.url]);
    await eventually(() => lines.some(({ fields }) => fields['reason'] === 'no greeting within 2000 ms'));
    await eventually(() => process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length <= 1);
    server.resume();
    await reaches(bus, 'connected');
  });

  it('heals after a cut network, and rejects what waited for an answer', async () => {
    const server = await startNatsServer();
    const proxy = await startFaultProxy({ targetPort: server.port });
    const bus = open([`nats://127.0.0.1:${proxy.port}`]);
    await reaches(bus, 'connected');

    proxy.stall();
    const flushed = bus.flush().catch((error: unknown) => error);
    const waiting = collect(bus, 'a').subscription;
    const ended = collect(bus, 'b').subscription;
    const unsubscribed = ended.unsubscribe();
    proxy.cut();

    expect(await flushed).toMatchObject({ code: 'BUS_AWAY' });
    await unsubscribed;
    await reaches(bus, 'away');
    await expect(ended.active).rejects.toMatchObject({ code: 'BUS_CLOSED' });
    await proxy.heal();
    await waiting.active;
    expect(bus.state).toBe('connected');
  });

  it('goes to another server of the cluster that it only heard of', async () => {
    const cluster = await startNatsCluster(3);
    const [left, right] = [open(cluster.urls.slice(0, 1)), open(cluster.urls.slice(1, 2))];
    const { got, subscription } = collect(right, 'a');
    await subscription.active;
    await reaches(left, 'connected');

    await cluster.servers[0]?.kill();
    await reaches(left, 'away');
    await reaches(left, 'connected');
    await eventually(() => {
      left.publish('a', PAYLOAD);
      return got.length > 0;
    });
  });

  it('logs on with user and password, or a token, and goes on trying when refused', async () => {
    const server = await startNatsServer({ extraConfig: 'authorization {\n  user: "u"\n  password: "p"\n}' });
    const right = open([server.url], { user: 'u', pass: 'p' });
    await reaches(right, 'connected');
    open([server.url], { user: 'u', pass: 'wrong' });
    await eventually(() => lines.some(({ fields }) => /Authorization/i.test(String(fields['reason']))));
    const tokenServer = await startNatsServer({ extraConfig: 'authorization {\n  token: "t"\n}' });
    await reaches(open([tokenServer.url], { token: 't' }), 'connected');
  });

  it('tells that a credentials file is missing, and goes on trying', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'carillon-bus-'));
    const server = await startNatsServer();
    open([server.url], { credsFile: join(folder, 'absent.creds') });
    await eventually(() => lines.some(({ fields }) => String(fields['reason']).includes('ENOENT')));
    await rm(folder, { recursive: true });
  });

  it('rejects a subscription that the server refuses, and keeps the others', async () => {
    const server = await startNatsServer({ extraConfig: 'authorization {\n  users: [\n    { user: "u", password: "p", permissions: { subscribe: { deny: ["secret.>"] } } }\n  ]\n}' });
    const [left, right] = [open([server.url], { user: 'u', pass: 'p' }), open([server.url], { user: 'u', pass: 'p' })];
    const { got, subscription } = collect(right, 'open');
    await expect(collect(right, 'secret.a').subscription.active).rejects.toMatchObject({ code: 'BUS_SUBSCRIPTION_REFUSED' });
    await subscription.active;
    await reaches(left, 'connected');

    left.publish('open', PAYLOAD);
    await eventually(() => got.length === 1);
    expect(texts()).toContain('The NATS server refused a subscription');
  });

  it('closes at once while it cannot connect, and rejects what waits', async () => {
    const bus = open([`nats://127.0.0.1:${await freePort()}`]);
    const { subscription } = collect(bus, 'a');
    await bus.close();

    expect(bus.state).toBe('closed');
    await expect(subscription.active).rejects.toMatchObject({ code: 'BUS_CLOSED' });
  });

  it('closes while the server is silent', async () => {
    const server = await startNatsServer();
    const bus = open([server.url]);
    await reaches(bus, 'connected');
    server.pause();
    const startedAt = performance.now();
    await bus.close();

    expect(performance.now() - startedAt).toBeLessThan(6_000);
  });

  it.each(['before', 'after'] as const)('closes when its signal aborts (%s it connects)', async (when) => {
    const server = await startNatsServer();
    const abort = new AbortController();
    if (when === 'before') abort.abort();
    const bus = open([server.url], { signal: abort.signal });
    if (when === 'after') await reaches(bus, 'connected');
    abort.abort();

    await reaches(bus, 'closed');
    await bus.close();
  });
});
