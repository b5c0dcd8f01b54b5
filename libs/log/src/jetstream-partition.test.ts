import { eventually, startFaultProxy, startNatsCluster, startNatsServer, stopAll } from '@carillon/testing';
import { afterEach, describe, expect, it } from 'vitest';

import type { ConsumerSpec, Delivery, EventLog, LogConsumer } from './event-log.ts';
import { askServer } from './jetstream-api.fixture.ts';
import { openJetStreamLog, type JetStreamLogLine } from './jetstream-log.ts';
import { anEvent, appendAll, bytes, numbered, readAll, text, texts, WORKSPACE } from './log-world.conformance.ts';

const RECOVERY_MS = 90_000;
const RETRY_MS = 50;
// Of an append: longer than the others take to have a leader.
const PARTED_MAX_MS = 60_000;
const SPEC: ConsumerSpec = { workspaceId: WORKSPACE, name: 'work', rooms: ['work'], from: 'start', ackTimeoutMs: 3_000, maxDeliveries: 100, maxInFlight: 50 };
const nobodyDies = () => Promise.reject(new Error('nobody dies'));
const logs: EventLog[] = [];
const proxies: { stop(): Promise<void> }[] = [];

afterEach(async () => {
  await Promise.all(logs.splice(0).map((log) => log.close()));
  await Promise.all(proxies.splice(0).map((proxy) => proxy.stop()));
  await stopAll();
});

async function open(url: string): Promise<EventLog> {
  const log = openJetStreamLog({ servers: [url], name: 'partition' });
  logs.push(log);
  await eventually(() => log.state === 'open', { timeoutMs: RECOVERY_MS });
  return log;
}

async function insist(log: EventLog, body: string): Promise<void> {
  const event = anEvent({ room: 'work', body: bytes(body) });
  for (;;) {
    try {
      await log.append(event);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

describe('a JetStream log on a server that is parted from the others', { timeout: 300_000 }, () => {
  it.each(['follows', 'leads'] as const)('goes on by another server while that lasts, and keeps its order, when the server %s', async (what) => {
    const cluster = await startNatsCluster(3, { jetstream: true, partitionable: true });
    const lines: JetStreamLogLine[] = [];
    const log = openJetStreamLog({ servers: cluster.urls, name: 'partition', appendTimeoutMs: PARTED_MAX_MS, log: (line) => lines.push(line) });
    logs.push(log);
    await eventually(() => log.state === 'open', { timeoutMs: RECOVERY_MS });
    await appendAll(log, 'a', numbered(10));
    const at = cluster.servers.findIndex(({ url }) => url.endsWith(String(lines.find(({ fields }) => fields['server'] !== undefined)?.fields['server'])));
    const server = cluster.servers[at];
    if (server === undefined) throw new Error('no server');
    // Where the stream is led from, as this test wants it.
    await eventually(async () => {
      const { cluster: { leader } } = await askServer<{ readonly cluster: { readonly leader?: string } }>(server, '$JS.API.STREAM.INFO.CARILLON');
      if (leader !== undefined && leader.endsWith(`-${server.port}`) === (what === 'leads')) return true;
      await askServer(server, '$JS.API.STREAM.LEADER.STEPDOWN.CARILLON');
      return false;
    }, { timeoutMs: RECOVERY_MS, intervalMs: 1_000, what: `the server to be one that ${what}` });
    await appendAll(log, 'a', numbered(10, 'led '));
    const heard: string[] = [];
    const tail = log.tail(WORKSPACE, { event: (event) => heard.push(text(event)), gap: () => undefined });
    await tail.add('a');

    const { length } = lines;
    cluster.partitions[at]?.stall();
    const bodies = numbered(50, 'parted ');
    await appendAll(log, 'a', bodies);
    await eventually(() => heard.length === bodies.length);
    expect(heard).toEqual(bodies);
    expect(lines.slice(length).map((line) => line.text)).toContain('The event log goes on by another server');
    expect(log.state).toBe('open');
    await cluster.partitions[at]?.heal();
    await appendAll(log, 'a', ['healed']);
    expect(texts(await readAll(log, ['a']))).toEqual([...numbered(10), ...numbered(10, 'led '), ...bodies, 'healed']);
  });
});

describe('a consumer of a JetStream log', { timeout: 300_000 }, () => {
  it('goes on for all its members while servers are parted from each other, and gives nothing again that was acked', async () => {
    const cluster = await startNatsCluster(3, { jetstream: true, partitionable: true });
    const opened = await Promise.all(cluster.urls.map((url) => open(url)));
    const members: LogConsumer[] = [];
    for (const log of opened) members.push(await log.consumer(SPEC, nobodyDies));
    const given: string[] = [];
    const acked = new Set<string>();
    const afterAck: string[] = [];
    const stop = new AbortController();
    const working = Promise.all(members.map(async (member) => {
      while (!stop.signal.aborted) {
        for (const delivery of await member.pull(5, stop.signal)) {
          const body = text(delivery.event);
          if (acked.has(body)) afterAck.push(body);
          given.push(body);
          await delivery.ack().then(() => acked.add(body), () => undefined);
        }
      }
    }));
    const bodies = numbered(120);
    const [writer] = opened;
    if (writer === undefined) throw new Error('no log');
    for (const [at, how] of (['cut', 'stall', 'stall'] as const).entries()) {
      const sent = bodies.slice(at * 40, (at + 1) * 40);
      cluster.partitions[at]?.[how]();
      // While it lasts the log may be away for the writer.
      const sending = (async () => {
        for (const body of sent) await insist(writer, body);
      })();
      const partedMs = performance.now();
      await eventually(() => performance.now() - partedMs > 6_000);
      await cluster.partitions[at]?.heal();
      await sending;
    }
    await eventually(() => new Set(given).size === bodies.length, { timeoutMs: RECOVERY_MS, what: 'every event to be given' });
    await eventually(async () => {
      const info = await members[0]?.info();
      return info?.pending === 0 && info.inFlight === 0;
    }, { timeoutMs: RECOVERY_MS, what: 'every event to be settled' });
    stop.abort();
    await working;

    expect(afterAck).toEqual([]);
    expect([...new Set(given)].sort()).toEqual([...bodies].sort());
  });

  it('does not give what was held up on its way when others have been given it', async () => {
    const server = await startNatsServer({ jetstream: true });
    const proxy = await startFaultProxy({ targetPort: server.port });
    proxies.push(proxy);
    const [near, far] = [await open(server.url), await open(`nats://127.0.0.1:${proxy.port}`)];
    const spec = { ...SPEC, ackTimeoutMs: 1_000 };
    const [nearby, away] = [await near.consumer(spec, nobodyDies), await far.consumer(spec, nobodyDies)];
    const stop = new AbortController();
    const late: Delivery[] = [];
    const pulling = (async () => {
      while (!stop.signal.aborted) late.push(...(await away.pull(10, stop.signal)));
    })();
    // The one who waits longest is given it.
    await appendAll(near, 'work', ['0']);
    await eventually(() => late.length === 1);
    await late[0]?.ack();
    await eventually(async () => (await nearby.info()).inFlight === 0);
    proxy.stall();
    await appendAll(near, 'work', ['1']);
    const [again] = await nearby.pull(10, AbortSignal.timeout(30_000));
    await again?.ack();
    await proxy.heal();
    await appendAll(near, 'work', ['2']);
    await eventually(() => late.some((delivery) => text(delivery.event) === '2'));
    stop.abort();
    await pulling;

    expect(again && text(again.event)).toBe('1');
    expect(late.map((delivery) => text(delivery.event)).filter((body) => body === '1')).toEqual([]);
  });

  it('does not say that an ack counted which came when others had been given the event', async () => {
    const server = await startNatsServer({ jetstream: true });
    const proxy = await startFaultProxy({ targetPort: server.port });
    proxies.push(proxy);
    const [near, far] = [await open(server.url), await open(`nats://127.0.0.1:${proxy.port}`)];
    const spec = { ...SPEC, ackTimeoutMs: 1_000 };
    await appendAll(near, 'work', ['0']);
    const away = await far.consumer(spec, nobodyDies);
    const [held] = await away.pull(1, AbortSignal.timeout(30_000));
    proxy.stall();
    const acked = held?.ack().then(() => 'acked', (error: { readonly code?: string }) => error.code);
    const nearby = await near.consumer(spec, nobodyDies);
    const [again] = await nearby.pull(1, AbortSignal.timeout(30_000));
    await proxy.heal();

    expect([again && text(again.event), again?.attempt]).toEqual(['0', 2]);
    // Refused for its time, or for a connection that was given up meanwhile.
    expect(['DELIVERY_UNKNOWN', 'LOG_UNAVAILABLE']).toContain(await acked);
    await again?.ack();
    await eventually(async () => (await nearby.info()).inFlight === 0);
  });
});
