import { eventually, startNatsCluster, startNatsServer, stopAll, type NatsCluster } from '@carillon/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import type { EventLog, LogEvent, LogGap, StoredEvent } from './event-log.ts';
import { askServer } from './jetstream-api.fixture.ts';
import { openJetStreamLog } from './jetstream-log.ts';
import { anEvent, appendAll, bytes, numbered, readAll, text, texts, WORKSPACE } from './log-world.conformance.ts';

const ROOMS = 5;
// Times that the leader is killed in one run.
const KILLS = 1;
const RETRY_MS = 50;
const RECOVERY_MS = 90_000;
// What a pattern may have missed while the servers learnt of it has been read by then.
const CONFIRMED_MS = 1_000;
const logs: EventLog[] = [];
const closeLogs = () => Promise.all(logs.splice(0).map((log) => log.close()));

/** In a cluster a stream has three replicas, though nobody says so. */
function open(servers: readonly string[], timeoutMs = 5_000): EventLog {
  const log = openJetStreamLog({ servers, name: 'chaos', timeoutMs });
  logs.push(log);
  return log;
}

const opened = (log: EventLog) => eventually(() => log.state === 'open', { timeoutMs: RECOVERY_MS });

/** Appends until it is acked, as a publisher with an outbox does: the same id each time, one event of a room after the other. */
async function insist(log: EventLog, event: LogEvent): Promise<number> {
  for (;;) {
    try {
      return (await log.append(event)).seq;
    } catch (error) {
      if (log.state === 'closed') throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

function collect(log: EventLog, workspaceId = WORKSPACE) {
  const events: StoredEvent[] = [];
  const gaps: LogGap[] = [];
  const tail = log.tail(workspaceId, { event: (event) => events.push(event), gap: (gap) => gaps.push(gap) });
  return { tail, events, gaps };
}

async function leaderOf(cluster: NatsCluster): Promise<NatsCluster['servers'][number]> {
  const [server] = cluster.servers;
  if (server === undefined) throw new Error('no servers');
  const info = await askServer<{ readonly cluster?: { readonly leader?: string } }>(server, '$JS.API.STREAM.INFO.CARILLON');
  const found = cluster.servers.find(({ port }) => info.cluster?.leader?.endsWith(`-${port}`));
  if (found === undefined) throw new Error('no leader');
  return found;
}

/** What was sent to each room, by whichever log. */
async function send(senders: readonly EventLog[], until: () => boolean): Promise<Map<string, string[]>> {
  const sent = new Map<string, string[]>();
  await Promise.all(
    Array.from({ length: ROOMS }, async (_, index) => {
      const room = `r-${index}`;
      const bodies: string[] = [];
      sent.set(room, bodies);
      while (!until()) {
        const body = `${bodies.length}`;
        const log = senders[index % senders.length];
        if (log === undefined) return;
        await insist(log, anEvent({ room, body: bytes(body) }));
        bodies.push(body);
      }
    }),
  );
  return sent;
}

const byRoom = (events: readonly StoredEvent[], room: string): string[] => events.filter((event) => event.room === room).map(text);

describe('a JetStream log on three servers', { timeout: 300_000 }, () => {
  // One cluster for all: to form it and to choose its first leader takes longer than what is tested.
  let cluster: NatsCluster;
  beforeAll(async () => {
    cluster = await startNatsCluster(3, { jetstream: true });
  });
  afterEach(closeLogs);
  afterAll(stopAll);

  it('has one epoch and one order for all that open it before there is a leader', async () => {
    const opening = cluster.urls.map((url) => open([url]));
    await Promise.all(opening.map(opened));
    const [first] = opening;
    const bounds = await Promise.all(opening.map((log) => log.bounds()));
    const seqs = first === undefined ? [] : await appendAll(first, 'a', numbered(50));

    expect(new Set(bounds.map(({ epoch }) => epoch)).size).toBe(1);
    for (const log of opening) expect((await readAll(log, ['a'])).map(({ seq }) => seq)).toEqual(seqs);
  });

  it('loses nothing that was acked, stores nothing twice and keeps tails complete when the leader is killed', async () => {
    const [one, other] = [open(cluster.urls.slice(0, 1)), open(cluster.urls.slice(1, 2))];
    await Promise.all([opened(one), opened(other)]);
    const tails = [collect(one), collect(other)];
    await Promise.all(tails.map(({ tail }) => tail.add('r-*')));
    let done = false;
    const sending = send([one, other], () => done);
    await eventually(() => tails[0]?.events.length !== undefined && tails[0].events.length > 200);

    for (let round = 0; round < KILLS; round += 1) {
      const leader = await eventuallyLeader(cluster);
      const before = (await readHead(one, other)) + 200;
      await leader.kill();
      await eventually(async () => (await readHead(one, other)) > before, { timeoutMs: RECOVERY_MS });
      await leader.restart();
    }
    done = true;
    const sent = await sending;
    const total = [...sent.values()].flat().length;
    for (const { events } of tails) await eventually(() => events.length >= total, { timeoutMs: RECOVERY_MS, what: 'the tails to be complete' });
    const stored = await readAll(one, ['r-*'], { maxEvents: 500 });

    expect(one.storedClass).toBe('replicated');
    expect(stored.map(({ id }) => id)).toHaveLength(new Set(stored.map(({ id }) => id)).size);
    for (const [room, bodies] of sent) {
      expect(byRoom(stored, room)).toEqual(bodies);
      for (const { events } of tails) expect(byRoom(events, room)).toEqual(bodies);
    }
    for (const { events, gaps } of tails) {
      expect(events).toHaveLength(total);
      expect(gaps).toEqual([]);
    }
  });

  it('reads all that was acked while the leader stands still, and while it thinks that it leads, and catches up', async () => {
    const leader = await eventuallyLeader(cluster);
    const log = open(cluster.servers.filter(({ port }) => port !== leader.port).slice(0, 1).map(({ url }) => url));
    await opened(log);
    const bodies = numbered(300);
    await insist(log, anEvent({ room: 'lag', body: bytes('0') }));
    leader.pause();
    await Promise.all(bodies.slice(1).map((body) => insist(log, anEvent({ room: 'lag', body: bytes(body) }))));
    const behind = await insistOnReading(log, 'lag');
    leader.resume();
    const catchingUp = [await insistOnReading(log, 'lag'), await insistOnReading(log, 'lag'), await insistOnReading(log, 'lag')];

    for (const read of [behind, ...catchingUp]) expect(read.sort()).toEqual([...bodies].sort());
  });

  it('gives a tail what it was not told of a room, also when the room is wanted again by another pattern', async () => {
    const [server] = cluster.servers;
    if (server === undefined) throw new Error('no servers');
    const log = open(cluster.urls);
    await opened(log);
    const { tail, events } = collect(log);
    await tail.add('again-*');
    const addedMs = performance.now();
    await insist(log, anEvent({ room: 'again-1', body: bytes('0') }));
    await eventually(() => events.length === 1 && performance.now() - addedMs > CONFIRMED_MS);
    const change = (config: object) => askServer(server, '$JS.API.STREAM.UPDATE.CARILLON', { body: JSON.stringify(config) });
    const { config } = await askServer<{ readonly config: { readonly republish?: unknown } }>(server, '$JS.API.STREAM.INFO.CARILLON');
    const { republish, ...silent } = config;
    await change(silent);
    for (const body of ['1', '2', '3']) await insist(log, anEvent({ room: 'again-1', body: bytes(body) }));
    await tail.add('*');
    for (const body of ['4', '5']) await insist(log, anEvent({ room: 'again-1', body: bytes(body) }));
    // Read for the sake of the pattern that was added: nothing is said meanwhile.
    await eventually(() => texts(events).includes('5'));
    await change({ ...silent, republish });
    await insist(log, anEvent({ room: 'again-1', body: bytes('6') }));
    await eventually(() => texts(events).includes('6'));

    expect(texts(events.filter(({ room }) => room === 'again-1'))).toEqual(numbered(7));
  });

  it('gives each event to one member of a consumer while servers are killed, and none is left over', async () => {
    const [one, other] = [open(cluster.urls), open(cluster.urls)];
    await Promise.all([opened(one), opened(other)]);
    const spec = { workspaceId: WORKSPACE, name: 'work', rooms: ['work'], from: 'start', ackTimeoutMs: 2_000, maxDeliveries: 100, maxInFlight: 50 } as const;
    const members = await Promise.all([one, other].map((log) => log.consumer(spec, async () => Promise.reject(new Error('nobody dies')))));
    // Given, not acked: of an ack whose answer was lost nobody hears whether it counted.
    const given = new Set<string>();
    const stop = new AbortController();
    const working = members.map(async (member) => {
      while (!stop.signal.aborted) {
        for (const delivery of await member.pull(10, stop.signal)) {
          given.add(text(delivery.event));
          await delivery.ack().catch(() => undefined);
        }
      }
    });
    const bodies = numbered(300);
    const sending = (async () => {
      for (const body of bodies) await insist(one, anEvent({ room: 'work', body: bytes(body) }));
    })();
    await eventually(() => given.size > 50);
    const leader = await eventuallyLeader(cluster);
    await leader.kill();
    await sending;
    await leader.restart();
    await eventually(async () => {
      const info = await members[0]?.info();
      return info?.inFlight === 0 && info.pending === 0;
    }, { timeoutMs: RECOVERY_MS, what: 'every event to be settled' });
    stop.abort();
    await Promise.all(working);

    expect([...given].sort()).toEqual([...bodies].sort());
  });
});

/** Reads until that works: what is read is never short, whichever replica it came from. */
async function insistOnReading(log: EventLog, room: string): Promise<string[]> {
  let got: string[] = [];
  await eventually(async () => {
    got = texts(await readAll(log, [room]));
    return true;
  }, { timeoutMs: RECOVERY_MS, what: 'the log to be read' });
  return got;
}

describe('a JetStream log on one server', { timeout: 120_000 }, () => {
  afterEach(async () => {
    await closeLogs();
    await stopAll();
  });

  it('says that it is away while the server stands still, and misses nothing afterwards', async () => {
    const server = await startNatsServer({ jetstream: true });
    // What is asked of it while it is away waits that long.
    const [log, witness] = [open([server.url], 2_000), open([server.url])];
    await Promise.all([opened(log), opened(witness)]);
    const { tail, events, gaps } = collect(witness);
    await tail.add('a');
    await insist(log, anEvent({ room: 'a', body: bytes('0') }));
    server.pause();
    const held = anEvent({ room: 'a', body: bytes('1') });
    await expect(log.append(held)).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await eventually(() => log.state === 'away');
    await expect(log.bounds()).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    server.resume();
    await opened(log);
    await insist(log, held);
    await insist(log, anEvent({ room: 'a', body: bytes('2') }));
    await eventually(() => events.length === 3);

    expect(texts(events)).toEqual(['0', '1', '2']);
    expect(gaps).toEqual([]);
    expect(texts(await readAll(log, ['a']))).toEqual(['0', '1', '2']);
  });

  it('gives a tail what was stored while its connection was cut', async () => {
    const server = await startNatsServer({ jetstream: true });
    const log = open([server.url]);
    await opened(log);
    const { tail, events } = collect(log);
    await tail.add('*');
    await appendAll(log, 'a', numbered(10));
    await server.kill();
    await eventually(() => log.state === 'away');
    await server.restart();
    await opened(log);
    await appendAll(log, 'b', ['10']);
    await eventually(() => events.length === 11);

    expect(texts(events)).toEqual(numbered(11));
    expect(events.map(({ seq }) => seq)).toEqual((await readAll(log, ['*'])).map(({ seq }) => seq));
  });
});

async function eventuallyLeader(cluster: NatsCluster): Promise<NatsCluster['servers'][number]> {
  let leader: NatsCluster['servers'][number] | undefined;
  await eventually(async () => {
    leader = await leaderOf(cluster).catch(() => undefined);
    return leader !== undefined;
  }, { timeoutMs: RECOVERY_MS, what: 'a leader' });
  if (leader === undefined) throw new Error('no leader');
  return leader;
}

async function readHead(...candidates: readonly EventLog[]): Promise<number> {
  const heads = await Promise.all(candidates.map((log) => log.bounds().then(({ head }) => head, () => 0)));
  return Math.max(...heads);
}
