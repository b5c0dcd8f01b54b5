import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { eventually, freePort, startNatsCluster, startNatsServer, stopAll, trackResources, type NatsServer } from '@carillon/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { CONFORMANCE_LIMITS } from './bus.conformance.ts';
import type { Bus, BusLogLine, BusState } from './bus.ts';
import { askServer } from './jetstream-api.fixture.ts';
import { collectWatch, describeKeyValues } from './key-values.conformance.ts';
import { connectNats, type ConnectNatsOptions } from './nats-bus.ts';

const SETUP_TIMEOUT_MS = 180_000;
// Giving up a silent server takes 4 to 6 s, a silent consumer 3 to 4, the backoffs at their caps 5 and 3.
const HEAL_TIMEOUT_MS = 25_000;
const BUCKET = 'ACCESS';
const STREAM = `KV_${BUCKET}`;

const bytes = (value: string): Uint8Array => Buffer.from(value, 'utf8');

describe('with a server that stays', () => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await startNatsServer({ jetstream: true, maxPayload: CONFORMANCE_LIMITS.payloadMaxBytes });
  }, SETUP_TIMEOUT_MS);
  afterAll(() => server.stop());

  describeKeyValues('connectNats', () => ({
    connect: async () => {
      const bus = connectNats({ servers: [server.url], name: 'conformance', outboundMaxBytes: CONFORMANCE_LIMITS.outboundMaxBytes });
      await eventually(() => bus.state === 'connected', { what: 'the bus to connect' });
      return bus;
    },
  }));
});

describe('key-values on NATS', { timeout: 90_000 }, () => {
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
  const heals = (condition: () => boolean, what: string) => eventually(condition, { timeoutMs: HEAL_TIMEOUT_MS, what });
  const reaches = (bus: Bus, state: BusState) => heals(() => bus.state === state, `the bus to be ${state}`);
  const warnings = (text: string) => lines.filter((line) => line.text === text && line.level === 'warn');
  /** Puts until the store takes it, as a caller does who gets `BUS_AWAY`. */
  const putsAgain = (bus: Bus, key: string, value: string) =>
    eventually(() => bus.keyValues(BUCKET).put(key, bytes(value)).then(() => true, () => false), { timeoutMs: HEAL_TIMEOUT_MS, what: `${key} to be stored` });
  const deleteStream = (server: NatsServer) => askServer(server, `$JS.API.STREAM.DELETE.${STREAM}`);
  const streamConfig = async (server: NatsServer) => (await askServer<{ readonly config: object }>(server, `$JS.API.STREAM.INFO.${STREAM}`)).config;
  const consumerNames = async (server: NatsServer) => (await askServer<{ readonly consumers: readonly string[] | null }>(server, `$JS.API.CONSUMER.NAMES.${STREAM}`)).consumers ?? [];

  it('come into force when the server comes up later, with what was asked before', async () => {
    const port = await freePort();
    const [left, right] = [open([`nats://127.0.0.1:${port}`]), open([`nats://127.0.0.1:${port}`])];
    const { got } = collectWatch(right.keyValues(BUCKET));
    const startedAtMs = performance.now();
    const outcomes = await Promise.allSettled([left.keyValues(BUCKET).put('a', bytes('never')), left.keyValues(BUCKET).get('a')]);
    expect(performance.now() - startedAtMs).toBeLessThan(7_000);
    for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: { code: 'BUS_AWAY' } });

    await startNatsServer({ port, jetstream: true });
    await putsAgain(left, 'a', 'late');
    await heals(() => got.includes('a=late') && got.includes('synced'), 'the watch to be in force');
    expect(got).not.toContain('a=never');
  });

  it('store what is put before the bus is connected, in order', async () => {
    const server = await startNatsServer({ jetstream: true });
    const keyValues = open([server.url]).keyValues(BUCKET);
    const revisions = await Promise.all(Array.from({ length: 100 }, (_, index) => keyValues.put(`k.${index}`, bytes(String(index)))));

    expect(revisions).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
  });

  it('survive kill -9 of the server: everything again, then what was put meanwhile', async () => {
    const server = await startNatsServer({ jetstream: true });
    const [left, right] = [open([server.url]), open([server.url])];
    await left.keyValues(BUCKET).put('a', bytes('1'));
    await left.keyValues(BUCKET).put('b', bytes('2'));
    const { got, syncedTimes } = collectWatch(right.keyValues(BUCKET));
    await heals(() => syncedTimes() === 1, 'the watch to be in force');

    await server.kill('SIGKILL');
    await Promise.all([reaches(left, 'away'), reaches(right, 'away')]);
    await server.restart();
    await putsAgain(left, 'a', '3');
    await heals(() => syncedTimes() === 2 && got.includes('a=3'), 'the watch to begin anew');
    await left.keyValues(BUCKET).put('b', bytes('4'));
    await heals(() => got.includes('b=4'), 'a change');

    expect(got.slice(0, 3)).toEqual(['a=1', 'b=2', 'synced']);
    expect(got.slice(3).indexOf('b=2')).toBeLessThan(got.slice(3).indexOf('synced'));
    expect(got.slice(3)).toContain('b=2');
  });

  it('begin anew when the stream is deleted under them', async () => {
    const server = await startNatsServer({ jetstream: true });
    const [left, right] = [open([server.url]), open([server.url])];
    await left.keyValues(BUCKET).put('a', bytes('1'));
    const { got, syncedTimes } = collectWatch(right.keyValues(BUCKET));
    await heals(() => syncedTimes() === 1, 'the watch to be in force');

    await deleteStream(server);
    const deletedAtMs = performance.now();
    await putsAgain(left, 'b', '2');
    await heals(() => syncedTimes() === 2 && got.includes('b=2'), 'the watch to begin anew');

    expect(got).toEqual(['a=1', 'synced', 'b=2', 'synced']);
    expect(performance.now() - deletedAtMs).toBeLessThan(10_000);
    expect([left.state, right.state]).toEqual(['connected', 'connected']);
    expect(await right.keyValues(BUCKET).get('a')).toBeUndefined();
  });

  it('make the bucket again when it is deleted and nobody puts', async () => {
    const server = await startNatsServer({ jetstream: true });
    const { got } = collectWatch(open([server.url]).keyValues(BUCKET));
    await heals(() => got.length === 1, 'the watch to be in force');
    await deleteStream(server);
    await heals(() => got.length === 2, 'the watch to begin anew');

    expect(got).toEqual(['synced', 'synced']);
  });

  it('begin anew when their consumer is lost', async () => {
    const server = await startNatsServer({ jetstream: true });
    const bus = open([server.url]);
    await bus.keyValues(BUCKET).put('a', bytes('1'));
    const { got, syncedTimes } = collectWatch(bus.keyValues(BUCKET));
    await heals(() => syncedTimes() === 1, 'the watch to be in force');
    const [name = ''] = await consumerNames(server);
    await askServer(server, `$JS.API.CONSUMER.DELETE.${STREAM}.${name}`);
    await bus.keyValues(BUCKET).put('a', bytes('2'));
    await heals(() => syncedTimes() === 2, 'the watch to begin anew');

    expect(got).toEqual(['a=1', 'synced', 'a=2', 'synced']);
    expect(await consumerNames(server)).not.toContain(name);
  });

  it('begin anew when the server was wiped', async () => {
    const storeDir = await mkdtemp(join(tmpdir(), 'carillon-bus-'));
    const server = await startNatsServer({ jetstream: true, storeDir });
    const [left, right] = [open([server.url]), open([server.url])];
    await left.keyValues(BUCKET).put('a', bytes('1'));
    const { got, syncedTimes } = collectWatch(right.keyValues(BUCKET));
    await heals(() => syncedTimes() === 1, 'the watch to be in force');

    await server.kill('SIGKILL');
    await rm(storeDir, { recursive: true });
    await server.restart();
    await heals(() => syncedTimes() === 2, 'the watch to begin anew');
    await putsAgain(left, 'b', '2');
    await heals(() => got.includes('b=2'), 'a change');

    expect(got).toEqual(['a=1', 'synced', 'synced', 'b=2']);
    await rm(storeDir, { recursive: true });
  });

  it('survive a server that is silent and speaks again', async () => {
    const server = await startNatsServer({ jetstream: true });
    const [left, right] = [open([server.url]), open([server.url])];
    const { got, syncedTimes } = collectWatch(right.keyValues(BUCKET));
    await heals(() => syncedTimes() === 1, 'the watch to be in force');
    await left.keyValues(BUCKET).put('a', bytes('1'));

    server.pause();
    const startedAtMs = performance.now();
    await expect(left.keyValues(BUCKET).put('b', bytes('2'))).rejects.toMatchObject({ code: 'BUS_AWAY' });
    expect(performance.now() - startedAtMs).toBeLessThan(7_000);
    await Promise.all([reaches(left, 'away'), reaches(right, 'away')]);
    server.resume();
    await putsAgain(left, 'c', '3');
    await heals(() => syncedTimes() >= 2 && got.includes('c=3'), 'the watch to begin anew');

    const anew = got.slice(got.indexOf('synced') + 1);
    expect(anew.lastIndexOf('a=1')).toBeGreaterThan(anew.indexOf('a=1'));
    expect(anew).toContain('synced');
  });

  it('refuse when the server has no JetStream, say it once, and come into force when it has', async () => {
    const server = await startNatsServer();
    const bus = open([server.url]);
    const { got } = collectWatch(bus.keyValues(BUCKET));
    const keyValues = bus.keyValues(BUCKET);
    await expect(keyValues.put('a', bytes('1'))).rejects.toMatchObject({ code: 'BUS_KV_REFUSED', message: expect.stringMatching(/no JetStream.*turn it on \(`jetstream`/) as string });
    await expect(keyValues.get('a')).rejects.toMatchObject({ code: 'BUS_KV_REFUSED' });
    const tries = () => lines.filter(({ text }) => text === 'A watch of key-values is not in force');
    await heals(() => tries().length > 3, 'the watch to try again');
    expect(warnings('A watch of key-values is not in force')).toHaveLength(1);

    await server.stop();
    await startNatsServer({ port: server.port, jetstream: true });
    await heals(() => got.includes('synced'), 'the watch to be in force');
    expect(await keyValues.put('a', bytes('1'))).toBe(1);
  });

  it('refuse what the server or its permissions do not allow', async () => {
    const alone = await startNatsServer({ jetstream: true });
    await expect(open([alone.url]).keyValues(BUCKET, { replicas: 3 }).put('a', bytes('1'))).rejects.toMatchObject({ code: 'BUS_KV_REFUSED', message: expect.stringContaining('replicas') as string });

    const users = 'authorization {\n  users: [\n    { user: "u", password: "p", permissions: { publish: { deny: ["$JS.API.>"] } } }\n    { user: "v", password: "p", permissions: { publish: { deny: ["$KV.>"] } } }\n  ]\n}';
    const server = await startNatsServer({ jetstream: true, extraConfig: users });
    for (const user of ['u', 'v']) {
      await expect(open([server.url], { user, pass: 'p' }).keyValues(BUCKET).put('a', bytes('1'))).rejects.toMatchObject({ code: 'BUS_KV_REFUSED', message: expect.stringContaining('allow $JS.API.> and $KV.>') as string });
    }
  });

  it('refuse what a full store does not take, and go on', async () => {
    const server = await startNatsServer({ jetstream: true });
    const body = JSON.stringify({ name: STREAM, subjects: [`$KV.${BUCKET}.>`], max_msgs_per_subject: 1, max_bytes: 4_096, discard: 'new' });
    await askServer(server, `$JS.API.STREAM.CREATE.${STREAM}`, { body });
    const keyValues = open([server.url]).keyValues(BUCKET);
    await expect(keyValues.put('a', new Uint8Array(8_192))).rejects.toMatchObject({ code: 'BUS_KV_REFUSED' });

    expect(await keyValues.put('a', bytes('1'))).toBeGreaterThan(0);
  });

  it('let several handles make the bucket at once, as the key-value buckets of NATS are', async () => {
    const server = await startNatsServer({ jetstream: true });
    const handles = Array.from({ length: 8 }, () => open([server.url]));
    await Promise.all(handles.map((bus, index) => bus.keyValues(BUCKET).put(`k.${index}`, bytes(''))));
    const { got } = collectWatch(open([server.url]).keyValues(BUCKET));
    await heals(() => got.length === 9, 'every entry');

    expect(await streamConfig(server)).toMatchObject({ storage: 'file', num_replicas: 1, max_msgs_per_subject: 1, allow_rollup_hdrs: true });
  });

  it('are kept on several servers of a cluster and outlive one', async () => {
    const cluster = await startNatsCluster(3, { jetstream: true });
    const [left, right] = [open(cluster.urls.slice(1)), open(cluster.urls.slice(1))];
    const { got, syncedTimes } = collectWatch(right.keyValues(BUCKET, { replicas: 3 }));
    await heals(() => syncedTimes() === 1, 'the watch to be in force');
    await left.keyValues(BUCKET, { replicas: 3 }).put('a', bytes('1'));
    await heals(() => got.includes('a=1'), 'a change');

    const [first] = cluster.servers;
    await first?.kill();
    await putsAgain(left, 'b', '2');
    await heals(() => got.includes('b=2'), 'a change');
    expect(await Promise.all(cluster.servers.slice(1, 2).map(streamConfig))).toEqual([expect.objectContaining({ num_replicas: 3 })]);
  });

  it('pass over what others deleted or purged', async () => {
    const server = await startNatsServer({ jetstream: true });
    const bus = open([server.url]);
    const keyValues = bus.keyValues(BUCKET);
    for (const key of ['a', 'b', 'c']) await keyValues.put(key, bytes('1'));
    await askServer(server, `$KV.${BUCKET}.a`, { headers: { 'KV-Operation': 'DEL' } });
    await askServer(server, `$JS.API.STREAM.PURGE.${STREAM}`, { body: JSON.stringify({ filter: `$KV.${BUCKET}.b` }) });
    const { got } = collectWatch(keyValues);
    await heals(() => got.includes('synced'), 'the watch to be in force');

    expect(got).toEqual(['c=1', 'synced']);
    expect([await keyValues.get('a'), await keyValues.get('b')]).toEqual([undefined, undefined]);
  });

  it('give more than the server may have on its way at once', async () => {
    const server = await startNatsServer({ jetstream: true, maxPayload: CONFORMANCE_LIMITS.payloadMaxBytes });
    const [left, right] = [open([server.url]), open([server.url])];
    const value = new Uint8Array(60 * 1024);
    // The list of the keys alone is larger than a payload; the values are many times what flow control lets through unasked.
    await Promise.all(Array.from({ length: 2_000 }, (_, index) => left.keyValues(BUCKET).put(`workspace-of-a-long-name.key.${index}`, bytes(''))));
    await Promise.all(Array.from({ length: 400 }, (_, index) => left.keyValues(BUCKET).put(`large.${index}`, value)));
    let bytesGiven = 0;
    let synced = 0;
    right.keyValues(BUCKET).watch({ entry: (entry) => (bytesGiven += entry.value.length), synced: () => (synced += 1) });
    await heals(() => synced === 1, 'the watch to be in force');

    expect(bytesGiven).toBe(400 * value.length);
  });

  it('leave no consumer behind, however they end', async () => {
    const server = await startNatsServer({ jetstream: true });
    const [left, right] = [open([server.url]), open([server.url])];
    const watches = [left, left, right].map((bus) => collectWatch(bus.keyValues(BUCKET)));
    await heals(() => watches.every(({ got }) => got.length === 1), 'the watches to be in force');
    expect(await consumerNames(server)).toHaveLength(3);

    await watches[0]?.watch.stop();
    expect(await consumerNames(server)).toHaveLength(2);
    await right.close();
    expect(await consumerNames(server)).toHaveLength(1);
    const early = collectWatch(left.keyValues(BUCKET));
    await Promise.all([early.watch.stop(), left.close()]);
    await eventually(async () => (await consumerNames(server)).length === 0, { timeoutMs: HEAL_TIMEOUT_MS });
    expect(early.got).toEqual([]);
  });

  it('end with the bus while the server is silent', async () => {
    const server = await startNatsServer({ jetstream: true });
    const bus = open([server.url]);
    const { got, watch } = collectWatch(bus.keyValues(BUCKET));
    await heals(() => got.length === 1, 'the watch to be in force');

    server.pause();
    const outcomes = [bus.keyValues(BUCKET).put('a', bytes('1')), bus.keyValues(BUCKET).get('a'), bus.keyValues('OTHER').put('a', bytes('1'))].map((outcome) => outcome.catch((error: unknown) => error));
    const stopped = watch.stop();
    const startedAtMs = performance.now();
    const closed = bus.close();
    for (const outcome of await Promise.all(outcomes)) expect(outcome).toMatchObject({ code: 'BUS_CLOSED' });
    await Promise.all([closed, stopped]);

    expect(performance.now() - startedAtMs).toBeLessThan(6_000);
  });

  it('end with the bus while it cannot connect', async () => {
    const bus = open([`nats://127.0.0.1:${await freePort()}`]);
    const { got, watch } = collectWatch(bus.keyValues(BUCKET));
    const stored = bus.keyValues(BUCKET).put('a', bytes('1')).catch((error: unknown) => error);
    await bus.close();

    expect(await stored).toMatchObject({ code: 'BUS_CLOSED' });
    await watch.stop();
    expect(got).toEqual([]);
  });
});
