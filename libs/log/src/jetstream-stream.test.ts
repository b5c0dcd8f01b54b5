import { eventually, startNatsServer, stopAll, trackResources, type NatsServer } from '@carillon/testing';
import { afterEach, describe, expect, it } from 'vitest';

import type { EventLog, LogGap, LogState, StoredEvent } from './event-log.ts';
import { askServer } from './jetstream-api.fixture.ts';
import { openJetStreamLog, type JetStreamLogLine, type JetStreamLogOptions } from './jetstream-log.ts';
import { anEvent, appendAll, numbered, readAll, texts, WORKSPACE } from './log-world.conformance.ts';

const STREAM = 'CARILLON';
// For how long a log that cannot be opened is asked.
const REFUSED_MS = 3_000;
const logs: EventLog[] = [];
afterEach(async () => {
  await Promise.all(logs.splice(0).map((log) => log.close()));
  await stopAll();
});

function open(server: NatsServer, options: Partial<JetStreamLogOptions> = {}) {
  const lines: JetStreamLogLine[] = [];
  const log = openJetStreamLog({ servers: [server.url], name: 'test', replicas: 1, timeoutMs: 5_000, log: (line) => lines.push(line), ...options });
  logs.push(log);
  return { log, lines };
}

interface StreamConfig {
  readonly num_replicas?: number;
  readonly republish?: unknown;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Streams as an operator would change them, past the log. */
const streams = (server: NatsServer) => {
  const ask = (verb: string, name: string, config?: object) => askServer<{ readonly config: StreamConfig }>(server, `$JS.API.STREAM.${verb}.${name}`, config === undefined ? {} : { body: JSON.stringify(config) });
  return {
    add: (config: { readonly name: string; readonly subjects: readonly string[]; readonly duplicate_window?: number }) => ask('CREATE', config.name, config),
    info: (name: string) => ask('INFO', name),
    update: (config: object) => ask('UPDATE', STREAM, config),
    delete: (name: string) => ask('DELETE', name),
  };
};

const isOpen = (log: EventLog) => () => log.state === 'open';
const unavailable = (text: RegExp): unknown => expect.objectContaining({ code: 'LOG_UNAVAILABLE', message: expect.stringMatching(text) as unknown });

describe('the stream of a JetStream log', () => {
  it('leaves nothing behind once its log is closed', async () => {
    const server = await startNatsServer({ jetstream: true });
    const released = trackResources();
    const { log } = open(server);
    await log.bounds();
    const tail = log.tail(WORKSPACE, { event: () => undefined, gap: () => undefined });
    await tail.add('*');
    await appendAll(log, 'a', numbered(50));
    const consumer = await log.consumer({ workspaceId: WORKSPACE, name: 'c', rooms: ['a'], from: 'start', ackTimeoutMs: 60_000, maxDeliveries: 3, maxInFlight: 100 }, async () => undefined);
    await consumer.pull(10, new AbortController().signal);
    const waiting = consumer.pull(10, new AbortController().signal);
    await log.close();
    await waiting;

    await released();
  });

  it('is made once by several that open it at the same time', async () => {
    const server = await startNatsServer({ jetstream: true });
    const opened = Array.from({ length: 5 }, () => open(server).log);
    const bounds = await Promise.all(opened.map((log) => log.bounds()));

    expect(new Set(bounds.map(({ epoch }) => epoch)).size).toBe(1);
    expect(bounds[0]?.epoch).not.toBe('');
  });

  it('that is there with other settings is brought up to date, and says so', async () => {
    const server = await startNatsServer({ jetstream: true });
    const operator = streams(server);
    await operator.add({ name: STREAM, subjects: ['carillon.1.*.log.>'], duplicate_window: 5_000_000_000 });
    const { log, lines } = open(server);
    const { epoch } = await log.bounds();
    const { config } = await operator.info(STREAM);

    expect(config).toMatchObject({ duplicate_window: 600_000_000_000, discard: 'new', allow_direct: true, republish: { src: 'carillon.1.*.log.>' } });
    expect(config.metadata?.['carillon_epoch']).toBe(epoch);
    expect(lines.map(({ text }) => text)).toContain('The stream of the event log had other settings and was updated');
  });

  it('is not the log\'s when its subjects belong to another stream', async () => {
    const server = await startNatsServer({ jetstream: true });
    await streams(server).add({ name: 'OTHER', subjects: ['carillon.1.ws.log.>'] });
    const { log, lines } = open(server, { timeoutMs: REFUSED_MS });
    await eventually(() => lines.length > 0);

    await expect(log.bounds()).rejects.toEqual(unavailable(/Another stream than CARILLON has the event log's subjects/));
    expect(log.state).toBe('opening');
  });

  it('cannot be where the server has no JetStream', async () => {
    const { log, lines } = open(await startNatsServer(), { timeoutMs: REFUSED_MS });
    await eventually(() => lines.length > 0);

    await expect(log.bounds()).rejects.toEqual(unavailable(/has no JetStream.*turn it on/));
    await expect(log.append(anEvent({ room: 'a' }))).rejects.toEqual(unavailable(/has no JetStream/));
    expect(lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
  });

  it('that somebody deletes leaves the log away, and is not made anew by itself', async () => {
    const server = await startNatsServer({ jetstream: true });
    const { log, lines } = open(server, { timeoutMs: REFUSED_MS });
    await eventually(isOpen(log));
    await log.append(anEvent({ room: 'a' }));
    const states: LogState[] = [];
    log.onState((state) => states.push(state));
    const operator = streams(server);
    await operator.delete(STREAM);
    await eventually(() => log.state === 'away');
    await eventually(() => lines.some(({ fields }) => /It is not made anew by itself/.test(String(fields['reason']))));

    await expect(log.append(anEvent({ room: 'a' }))).rejects.toEqual(unavailable(/somebody deleted it/));
    await expect(log.bounds()).rejects.toEqual(unavailable(/somebody deleted it/));
    expect(states).toEqual(['away']);
    await expect(operator.info(STREAM)).rejects.toThrow(/stream not found/);
  });

  it('that somebody deletes is made anew with another epoch where that is allowed, and tails go on', async () => {
    const server = await startNatsServer({ jetstream: true });
    const { log } = open(server, { mayRecreate: true });
    const events: StoredEvent[] = [];
    const tail = log.tail(WORKSPACE, { event: (event) => events.push(event), gap: () => undefined });
    await tail.add('a');
    await appendAll(log, 'a', numbered(5));
    await eventually(() => events.length === 5);
    const before = await log.bounds();
    const states: LogState[] = [];
    log.onState((state) => states.push(state));
    await streams(server).delete(STREAM);
    // It may be away for less time than anybody looks.
    await eventually(() => states.join() === 'away,open');
    const after = await log.bounds();
    await appendAll(log, 'a', ['again']);
    await eventually(() => events.length === 6);

    expect(after).toMatchObject({ first: 1, head: 0 });
    expect(after.epoch).not.toBe(before.epoch);
    expect(texts(events)).toEqual([...numbered(5), 'again']);
  });

  it('that is there keeps its replicas, and needs no setting for them', async () => {
    const server = await startNatsServer({ jetstream: true });
    const operator = streams(server);
    const { log, lines } = open(server, { replicas: undefined });
    const { epoch } = await log.bounds();
    const { config } = await operator.info(STREAM);
    await log.close();
    const again = open(server, { replicas: undefined });

    expect((await again.log.bounds()).epoch).toBe(epoch);
    expect(config).toMatchObject({ num_replicas: 1 });
    expect(again.log.storedClass).toBe('stored');
    expect([...lines, ...again.lines].filter(({ level }) => level === 'warn')).toEqual([]);
  });

  it('that is made anew takes nothing for gone or expired of what was so in the one before', async () => {
    const server = await startNatsServer({ jetstream: true });
    const before = open(server).log;
    await before.bounds();
    await appendAll(before, 'a', numbered(3));
    const expiresAtMs = Date.now() + 1;
    await before.append(anEvent({ room: 'b', expiresAtMs }));
    before.setRetention(WORKSPACE, [{ pattern: 'a', maxAgeMs: null, maxBytes: 0 }]);
    const dueNotes = () => askServer<{ readonly state: { readonly messages: number } }>(server, `$JS.API.STREAM.INFO.${STREAM}_GONE`);
    await eventually(async () => (await dueNotes()).state.messages === 1);
    expect(await before.sweep()).toBe(4);
    await appendAll(before, 'a', numbered(3));
    const { seq } = await before.append(anEvent({ room: 'b', expiresAtMs: Date.now() + 1 }));
    await before.close();
    await streams(server).delete(STREAM);
    const { log } = open(server);
    await log.bounds();
    await appendAll(log, 'c', numbered(seq - 4));
    await appendAll(log, 'a', numbered(5));
    const page = await log.read({ workspaceId: WORKSPACE, rooms: ['a', 'b'], after: 0, maxEvents: 100, maxBytes: 100_000 });

    expect(texts(page.events)).toEqual(numbered(5));
    expect(page.events[0]?.prevSeq).toBe(0);
    expect(page.gaps).toEqual([]);
    expect(await log.sweep()).toBe(0);
    expect(texts(await readAll(log, ['a']))).toEqual(numbered(5));
    log.setRetention(WORKSPACE, [{ pattern: 'a', maxAgeMs: null, maxBytes: 0 }]);
    expect(await log.sweep()).toBe(5);
    expect((await log.read({ workspaceId: WORKSPACE, rooms: ['a'], after: 0, maxEvents: 1, maxBytes: 1 })).gaps).toEqual([{ from: seq - 3, to: seq + 1, reason: 'retention' }]);
  });

  it('that two sweep at once tells all that is gone', async () => {
    const server = await startNatsServer({ jetstream: true });
    const sweepers = [open(server).log, open(server).log];
    const [one] = sweepers as [EventLog, EventLog];
    await Promise.all(sweepers.map((log) => log.bounds()));
    const expiresAtMs = Date.now() + 200;
    const seqs = (await Promise.all(Array.from({ length: 40 }, () => one.append(anEvent({ room: 'a', expiresAtMs }))))).map(({ seq }) => seq);
    const [kept = 0] = await appendAll(one, 'a', ['kept']);
    await eventually(() => Date.now() > expiresAtMs);
    await Promise.all(sweepers.map((log) => log.sweep()));

    expect((await one.bounds()).first).toBe(kept);
    for (const log of sweepers) expect((await log.read({ workspaceId: WORKSPACE, rooms: ['a'], after: 0, maxEvents: 10, maxBytes: 1_000 })).gaps).toEqual([{ from: seqs[0], to: kept - 1, reason: 'retention' }]);
  });

  it('that has what nobody of us wrote says so as damage, and goes on', async () => {
    const server = await startNatsServer({ jetstream: true });
    const { log } = open(server);
    const gaps: LogGap[] = [];
    const events: StoredEvent[] = [];
    const tail = log.tail(WORKSPACE, { event: (event) => events.push(event), gap: (gap) => gaps.push(gap) });
    await tail.add('*');
    const strange = await askServer<{ readonly seq: number }>(server, `carillon.1.${WORKSPACE}.log.a`, { body: 'not a record' });
    await askServer(server, `carillon.1.${WORKSPACE}.gone.a`, { body: 'not a note' });
    await askServer(server, `carillon.1.${WORKSPACE}.due.77`, { body: 'not a note' });
    await appendAll(log, 'a', ['0']);
    await eventually(() => events.length === 1);
    const damage = [{ from: strange.seq, to: strange.seq, reason: 'damaged' }];

    expect(gaps).toEqual(damage);
    expect((await log.read({ workspaceId: WORKSPACE, rooms: ['a'], after: 0, maxEvents: 10, maxBytes: 1_000 })).gaps).toEqual(damage);
    expect(await log.sweep()).toBe(0);
    expect(log.counts.damagedRecords).toBeGreaterThanOrEqual(2);
  });

  it('that is full refuses, keeps everything, and takes again when there is room', async () => {
    const server = await startNatsServer({ jetstream: true });
    const { log } = open(server, { streamMaxBytes: 200_000 });
    await log.bounds();
    const body = new Uint8Array(20_000);
    let stored = 0;
    const fill = async (): Promise<unknown> => {
      for (;;) {
        await log.append(anEvent({ room: 'a', body }));
        stored += 1;
      }
    };
    await expect(fill()).rejects.toEqual(expect.objectContaining({ code: 'LOG_FULL' }));

    expect(await readAll(log, ['a'])).toHaveLength(stored);
    log.setRetention(WORKSPACE, [{ pattern: 'a', maxAgeMs: null, maxBytes: 50_000 }]);
    expect(await log.sweep()).toBeGreaterThan(0);
    await expect(log.append(anEvent({ room: 'a', body }))).resolves.toMatchObject({ duplicate: false });
  });

  it.each([
    ['what is heard next shows it', '4', {}],
    ['nothing that is heard shows it', undefined, { auditMs: 1_000 }],
  ])('that says nothing again for a while leaves no tail short: %s', async (_how, next, options) => {
    const server = await startNatsServer({ jetstream: true });
    const { log } = open(server, options);
    const events: StoredEvent[] = [];
    const tail = log.tail(WORKSPACE, { event: (event) => events.push(event), gap: () => undefined });
    await Promise.all([tail.add('a-*'), tail.add('b')]);
    await appendAll(log, 'a-1', ['0']);
    const operator = streams(server);
    const { config } = await operator.info(STREAM);
    const { republish, ...silent } = config;
    // What a leader that dies between storing and saying does: here for all that is stored meanwhile.
    await operator.update(silent);
    await appendAll(log, 'a-1', ['1', '2']);
    await appendAll(log, 'c', ['other']);
    await appendAll(log, 'b', ['3']);
    await operator.update({ ...silent, ...(republish === undefined ? {} : { republish }) });
    await appendAll(log, next === undefined ? 'a-2' : 'a-1', ['4']);
    await eventually(() => events.length === 5);

    const rooms = (room: string) => texts(events.filter((event) => event.room === room));
    expect([rooms('a-1'), rooms('a-2'), rooms('b')]).toEqual(next === undefined ? [['0', '1', '2'], ['4'], ['3']] : [['0', '1', '2', next], [], ['3']]);
  });
});
