import { eventually } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { EventLog, LogGap, LogPage, LogState, StoredEvent } from './event-log.ts';
import { describeConsumers } from './log-consumer.conformance.ts';
import { describeRetention } from './log-retention.conformance.ts';
import { anEvent, appendAll, bytes, CONFORMANCE_LIMITS, nextId, numbered, readAll, text, texts, WORKSPACE, type LogWorld } from './log-world.conformance.ts';

const PAGE = { workspaceId: WORKSPACE, after: 0, maxEvents: 100, maxBytes: 1024 * 1024 } as const;
const withCode = (code: string): unknown => expect.objectContaining({ name: 'LogError', code });

/** Runs the suite that every EventLog passes. `world` is called inside the tests: it may be made in a `beforeAll` before this call. */
export function describeEventLog(name: string, world: () => LogWorld): void {
  describe(`${name} as an EventLog`, () => {
    let log: EventLog;
    beforeEach(async () => {
      log = await world().fresh();
    });
    afterEach(() => log.close());
    const reopen = async (): Promise<void> => {
      log = await world().reopen(log);
    };

    describe('append', () => {
      it('keeps an event byte for byte, with its place', async () => {
        const body = Uint8Array.from({ length: 256 }, (_, index) => index);
        const event = anEvent({ room: 'ITB-1101/Büro 7.>', fields: '\tfrom=ü\ttp=00-1', atMs: 1_700_000_000_123, id: 'A-z_0'.padEnd(64, '9'), body });
        const before = Date.now();
        const first = await log.append(event);
        const second = await log.append({ ...event, id: nextId(), body: new Uint8Array(0), fields: '' });
        await reopen();

        expect(first).toEqual({ seq: first.seq, class: log.storedClass, duplicate: false });
        expect(first.seq).toBeGreaterThan(0);
        expect(second.seq).toBeGreaterThan(first.seq);
        const [one, two] = await readAll(log, [event.room]);
        expect({ ...one, body: Buffer.from(one?.body ?? []) }).toMatchObject({ workspaceId: WORKSPACE, room: event.room, id: event.id, atMs: event.atMs, fields: event.fields, body: Buffer.from(body), seq: first.seq, prevSeq: 0 });
        expect(two).toMatchObject({ seq: second.seq, prevSeq: first.seq, fields: '' });
        expect(two?.body).toHaveLength(0);
        expect(Math.abs((one?.storedAtMs ?? 0) - before)).toBeLessThan(60_000);
      });

      it('stores in the order of the calls, also when they are pipelined', async () => {
        const bodies = numbered(2_000);
        const seqs = (await Promise.all(bodies.map((body, index) => log.append(anEvent({ room: `r${index % 7}`, body: bytes(body) }))))).map(({ seq }) => seq);

        expect(seqs).toEqual([...seqs].sort((one, other) => one - other));
        expect(new Set(seqs).size).toBe(seqs.length);
        const events = await readAll(log, ['r*']);
        expect(texts(events)).toEqual(bodies);
        expect(events.map(({ seq }) => seq)).toEqual(seqs);
        const last = new Map<string, number>();
        for (const { room, seq, prevSeq } of events) {
          expect(prevSeq).toBe(last.get(room) ?? 0);
          last.set(room, seq);
        }
      });

      it('stores an event once, whatever comes between', async () => {
        const event = anEvent({ room: 'a', body: bytes('once') });
        const pipelined = await Promise.all([log.append(event), log.append(event), log.append({ ...event, atMs: event.atMs + 1 })]);
        await appendAll(log, 'b', numbered(50));
        const later = await log.append(event);
        await reopen();
        const afterwards = await log.append(event);

        expect([...pipelined, later, afterwards].map(({ duplicate }) => duplicate)).toEqual([false, true, true, true, true]);
        expect(new Set([...pipelined, later, afterwards].map(({ seq }) => seq)).size).toBe(1);
        expect(texts(await readAll(log, ['a']))).toEqual(['once']);
      });

      it('refuses the id of another event, and keeps that', async () => {
        const event = anEvent({ room: 'a', body: bytes('first') });
        const outcomes = await Promise.allSettled([log.append(event), log.append({ ...event, body: bytes('other') }), log.append({ ...event, room: 'b' })]);

        expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected']);
        await expect(log.append({ ...event, body: bytes('First') })).rejects.toEqual(withCode('EVENT_ID_REUSED'));
        await reopen();
        await expect(log.append({ ...event, room: 'b' })).rejects.toEqual(withCode('EVENT_ID_REUSED'));
        expect(texts(await readAll(log, ['*']))).toEqual(['first']);
      });

      it('tells ids apart by workspace', async () => {
        const event = anEvent({ room: 'a' });
        const one = await log.append(event);
        const other = await log.append({ ...event, workspaceId: 'ws-2' });

        expect([one.duplicate, other.duplicate]).toEqual([false, false]);
        expect((await log.find('ws-2', event.id))?.seq).toBe(other.seq);
      });

      it('takes any time of expiry, also together with others', async () => {
        const times = [Number.MAX_SAFE_INTEGER, Infinity, 2 ** 48, Date.now() + 3_600_000.5];
        const outcomes = await Promise.all([log.append(anEvent({ room: 'a' })), ...times.map((expiresAtMs) => log.append(anEvent({ room: 'a', expiresAtMs })))]);

        expect(outcomes.map(({ duplicate }) => duplicate)).toEqual([false, false, false, false, false]);
        const events = await readAll(log, ['a']);
        expect(events.map(({ seq }) => seq)).toEqual(outcomes.map(({ seq }) => seq));
        expect(events.slice(1).every(({ expiresAtMs = 0 }) => expiresAtMs > Date.now())).toBe(true);
        await log.append(anEvent({ room: 'b', expiresAtMs: -1 }));
        expect(await readAll(log, ['b'])).toEqual([]);
      });

      it('takes the largest event and refuses one that is larger', async () => {
        const largest = await log.append(anEvent({ room: 'a', body: new Uint8Array(CONFORMANCE_LIMITS.eventMaxBytes) }));
        await expect(log.append(anEvent({ room: 'a', body: new Uint8Array(CONFORMANCE_LIMITS.eventMaxBytes + 1) }))).rejects.toEqual(withCode('EVENT_TOO_LARGE'));

        expect((await readAll(log, ['a'])).map(({ seq, body }) => [seq, body.length])).toEqual([[largest.seq, CONFORMANCE_LIMITS.eventMaxBytes]]);
      });

      it('refuses what it cannot hold while it waits, stores the rest, and recovers', async () => {
        const body = new Uint8Array(CONFORMANCE_LIMITS.eventMaxBytes / 2);
        const outcomes = await Promise.allSettled(Array.from({ length: 100 }, () => log.append(anEvent({ room: 'a', body }))));
        const stored = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value.seq] : []));

        expect(stored.length).toBeGreaterThan(1);
        expect(stored.length * body.length).toBeLessThanOrEqual(CONFORMANCE_LIMITS.waitingMaxBytes * 1.5);
        for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toEqual(withCode('LOG_BACKLOGGED'));
        const after = await log.append(anEvent({ room: 'a', body }));
        expect((await readAll(log, ['a'])).map(({ seq }) => seq)).toEqual([...stored, after.seq]);
        expect(log.counts).toEqual({ waitingBytes: 0, backlogged: outcomes.length - stored.length, damagedRecords: 0, tailOverflows: 0 });
      });
    });

    describe('bounds', () => {
      it('are empty at first, grow, and survive', async () => {
        const empty = await log.bounds();
        expect(empty).toEqual({ epoch: empty.epoch, first: 1, head: 0 });
        expect(empty.epoch).not.toBe('');
        const seqs = await appendAll(log, 'a', numbered(3));
        const grown = await log.bounds();
        await reopen();

        expect(grown).toEqual({ epoch: empty.epoch, first: seqs[0], head: seqs.at(-1) });
        expect(await log.bounds()).toEqual(grown);
      });

      it('have another epoch in another log', async () => {
        const other = await world().fresh();
        expect((await other.bounds()).epoch).not.toBe((await log.bounds()).epoch);
        await other.close();
      });
    });

    describe('read', () => {
      it.each([
        [['a-1'], ['a-1']],
        [['a-*'], ['a-1', 'a-2']],
        [['a-**'], ['a-1', 'a-2', 'a-2-x']],
        [['*'], ['a-1', 'b', 'a-2', 'a-2-x', 'b/1']],
        [['a-1', 'a-*', 'a-1'], ['a-1', 'a-2']],
        [['b', 'a-2'], ['b', 'a-2']],
        [['nowhere', 'no-*'], []],
      ])('%j gives %j, each once', async (rooms, expected) => {
        for (const room of ['a-1', 'b', 'a-2', 'a-2-x', 'b/1']) await log.append(anEvent({ room }));
        for (const room of ['a-1', 'b']) await log.append(anEvent({ room, workspaceId: 'ws-2' }));

        expect((await readAll(log, rooms)).map(({ room }) => room)).toEqual(expected);
      });

      it('pages by events, and goes on where it stopped', async () => {
        const bodies = numbered(25);
        for (const body of bodies) await appendAll(log, Number(body) % 2 === 0 ? 'even' : 'odd', [body]);
        const pages: LogPage[] = [];
        for (let after = 0; pages.at(-1)?.isLast !== true; after = pages.at(-1)?.next ?? 0) pages.push(await log.read({ ...PAGE, rooms: ['even'], after, maxEvents: 4 }));

        expect(pages.flatMap((page) => texts(page.events))).toEqual(bodies.filter((body) => Number(body) % 2 === 0));
        for (const page of pages) {
          expect(page.events.length).toBeLessThanOrEqual(4);
          expect(page.gaps).toEqual([]);
          expect(page.next).toBeGreaterThanOrEqual(page.events.at(-1)?.seq ?? 0);
        }
      });

      it('pages by bytes, and gives one event at least', async () => {
        const body = 'x'.repeat(1_000);
        await appendAll(log, 'a', [body, body, body, body, body]);
        const small = await log.read({ ...PAGE, rooms: ['a'], maxBytes: 1 });
        const medium = await log.read({ ...PAGE, rooms: ['a'], maxBytes: 3_500 });

        expect([small.events.length, small.isLast]).toEqual([1, false]);
        expect(medium.events.length).toBeGreaterThanOrEqual(2);
        expect(medium.events.length).toBeLessThanOrEqual(3);
        expect((await log.read({ ...PAGE, rooms: ['a'], after: medium.next })).events).toHaveLength(5 - medium.events.length);
      });

      it('gives what lies after one sequence up to another', async () => {
        const seqs = await appendAll(log, 'a', numbered(6));
        const page = await log.read({ ...PAGE, rooms: ['a'], after: seqs[1] ?? 0, upTo: seqs[3] ?? 0 });

        expect(texts(page.events)).toEqual(['2', '3']);
        expect(page.isLast).toBe(true);
        expect(page.next).toBe(seqs[3]);
        expect(await log.read({ ...PAGE, rooms: ['a'], after: seqs[5] ?? 0 })).toEqual({ events: [], gaps: [], next: seqs[5], isLast: true });
        expect(await log.read({ ...PAGE, rooms: ['a'], after: (seqs[5] ?? 0) + 1_000 })).toMatchObject({ events: [], isLast: true });
      });

      it('knows its end, also when other rooms go on', async () => {
        await appendAll(log, 'a', ['0', '1']);
        const others = await appendAll(log, 'b', numbered(10));
        const full = await log.read({ ...PAGE, rooms: ['a'], maxEvents: 2 });
        const rest = full.isLast ? full : await log.read({ ...PAGE, rooms: ['a'], after: full.next });

        expect(texts(full.events)).toEqual(['0', '1']);
        expect(rest.isLast).toBe(true);
        expect(rest.next).toBeLessThanOrEqual(others.at(-1) ?? 0);
      });

      it('misses and repeats nothing while events are appended', async () => {
        const bodies = numbered(1_500);
        const appending = (async () => {
          for (let index = 0; index < bodies.length; index += 50) await Promise.all(bodies.slice(index, index + 50).map((body) => log.append(anEvent({ room: `r${Number(body) % 3}`, body: bytes(body) }))));
        })();
        const got: string[] = [];
        for (let after = 0; got.length < bodies.length; ) {
          const page = await log.read({ ...PAGE, rooms: ['r*'], after, maxEvents: 64 });
          got.push(...texts(page.events));
          after = page.next;
        }
        await appending;

        expect(got).toEqual(bodies);
      });
    });

    describe('readLast', () => {
      it('gives the last events of the rooms, oldest first', async () => {
        for (const body of numbered(20)) await appendAll(log, `r${Number(body) % 4}`, [body]);
        await appendAll(log, 'other', ['x']);
        const last = await log.readLast({ workspaceId: WORKSPACE, rooms: ['r1', 'r3'], count: 3, maxBytes: 1_000_000 });

        expect(texts(last.events)).toEqual(['15', '17', '19']);
        expect(last.isLast).toBe(true);
        expect((await log.read({ ...PAGE, rooms: ['r1', 'r3'], after: last.next })).events).toEqual([]);
        expect(texts((await log.readLast({ workspaceId: WORKSPACE, rooms: ['r*'], count: 100, maxBytes: 1_000_000 })).events)).toEqual(numbered(20));
      });

      it('gives fewer when they are too many bytes, the latest at least', async () => {
        await appendAll(log, 'a', ['x'.repeat(1_000), 'y'.repeat(1_000), 'z'.repeat(1_000)]);
        const small = await log.readLast({ workspaceId: WORKSPACE, rooms: ['a'], count: 3, maxBytes: 1 });
        const medium = await log.readLast({ workspaceId: WORKSPACE, rooms: ['a'], count: 3, maxBytes: 2_500 });

        expect(texts(small.events).map((body) => body[0])).toEqual(['z']);
        expect(texts(medium.events).map((body) => body[0])).toEqual(['y', 'z']);
      });

      it('gives the last events before a sequence, page by page to the first', async () => {
        for (const body of numbered(20)) await appendAll(log, `r${Number(body) % 4}`, [body]);
        const query = { workspaceId: WORKSPACE, rooms: ['r1', 'r3'], count: 3, maxBytes: 1_000_000 };
        const pages: string[][] = [];
        for (let before: number | undefined; ; ) {
          const { events, next } = await log.readLast({ ...query, before });
          expect(next).toBe(before === undefined ? (await log.bounds()).head : before - 1);
          if (events.length === 0) break;
          pages.unshift(texts(events));
          before = events[0]?.seq ?? 0;
        }

        expect(pages).toEqual([['1'], ['3', '5', '7'], ['9', '11', '13'], ['15', '17', '19']]);
        expect((await log.readLast({ ...query, before: 1 })).events).toEqual([]);
        expect((await log.readLast({ ...query, before: 0 })).events).toEqual([]);
        expect(texts((await log.readLast({ ...query, before: 1_000_000 })).events)).toEqual(['15', '17', '19']);
      });

      it('gives nothing of a room without events', async () => {
        const [seq = 0] = await appendAll(log, 'a', ['0']);
        expect(await log.readLast({ workspaceId: WORKSPACE, rooms: ['b', 'b-*'], count: 3, maxBytes: 1 })).toMatchObject({ events: [], gaps: [], isLast: true });
        expect(await log.readLast({ workspaceId: 'ws-2', rooms: ['*'], count: 3, maxBytes: 1 })).toMatchObject({ events: [] });
        expect((await log.readLast({ workspaceId: WORKSPACE, rooms: ['b'], count: 3, maxBytes: 1 })).next).toBeLessThanOrEqual(seq);
      });
    });

    describe('sequenceAt and find', () => {
      it('find the place before what was stored at a time or later', async () => {
        const [early = 0] = await appendAll(log, 'a', ['0']);
        const earlyMs = (await readAll(log, ['a']))[0]?.storedAtMs ?? 0;
        await eventually(() => Date.now() > earlyMs + 20);
        const lateSeqs = await appendAll(log, 'a', ['1', '2']);
        const lateMs = (await readAll(log, ['a']))[1]?.storedAtMs ?? 0;

        expect(await log.sequenceAt(0)).toBeLessThan(early);
        expect(texts(await readAll(log, ['a'], { after: await log.sequenceAt(earlyMs + 1) }))).toEqual(['1', '2']);
        expect(texts(await readAll(log, ['a'], { after: await log.sequenceAt(lateMs) }))).toEqual(['1', '2']);
        expect(await log.sequenceAt(lateMs + 3_600_000)).toBe(lateSeqs.at(-1));
      });

      it('find an event by its id', async () => {
        const event = anEvent({ room: 'a', body: bytes('here'), fields: '\tfrom=x' });
        const { seq } = await log.append(event);
        const found = await log.find(WORKSPACE, event.id);

        expect(found).toMatchObject({ seq, room: 'a', id: event.id, fields: '\tfrom=x', workspaceId: WORKSPACE });
        expect(text(found ?? { body: bytes('') })).toBe('here');
        expect(await log.find('ws-2', event.id)).toBeUndefined();
        expect(await log.find(WORKSPACE, 'unknown')).toBeUndefined();
      });
    });

    describe('tail', () => {
      const collect = (workspaceId = WORKSPACE) => {
        const events: StoredEvent[] = [];
        const gaps: LogGap[] = [];
        const tail = log.tail(workspaceId, { event: (event) => events.push(event), gap: (gap) => gaps.push(gap) });
        return { tail, events, gaps };
      };

      it('gives the events of the rooms that it wants, in order, as they are stored', async () => {
        const { tail, events, gaps } = collect();
        await Promise.all([tail.add('a'), tail.add('b-*')]);
        for (const room of ['a', 'b', 'b-1', 'a-1', 'b-1-2', 'a', 'b-2']) await log.append(anEvent({ room, fields: '\tfrom=x', body: bytes(room) }));
        await log.append(anEvent({ room: 'a', workspaceId: 'ws-2' }));
        await eventually(() => events.length >= 4);

        expect(texts(events)).toEqual(['a', 'b-1', 'a', 'b-2']);
        expect(events.map(({ seq, prevSeq, id, fields, atMs, storedAtMs }) => ({ seq, prevSeq, id, fields, atMs, storedAtMs }))).toEqual(
          (await readAll(log, ['a', 'b-*'])).map(({ seq, prevSeq, id, fields, atMs, storedAtMs }) => ({ seq, prevSeq, id, fields, atMs, storedAtMs })),
        );
        expect(gaps).toEqual([]);
        await tail.close();
      });

      it('gives an event once, however many of its patterns select it', async () => {
        const { tail, events } = collect();
        await Promise.all([tail.add('*'), tail.add('a'), tail.add('a**'), tail.add('a')]);
        await appendAll(log, 'a', numbered(20));
        await eventually(() => events.length >= 20);
        tail.remove('a');
        tail.remove('*');
        await appendAll(log, 'a', ['20']);
        await eventually(() => events.length >= 21);

        expect(texts(events)).toEqual(numbered(21));
        await tail.close();
      });

      it('gives an event to each of many tails', async () => {
        const tails = Array.from({ length: 10 }, () => collect());
        await Promise.all(tails.map(({ tail }, index) => tail.add(index % 2 === 0 ? 'a' : '*')));
        await appendAll(log, 'a', numbered(10));

        for (const { events } of tails) await eventually(() => events.length === 10);
        await Promise.all(tails.map(({ tail }) => tail.close()));
      });

      it('together with a read misses nothing and repeats nothing', async () => {
        const bodies = numbered(1_200);
        const appending = (async () => {
          for (let index = 0; index < bodies.length; index += 40) await Promise.all(bodies.slice(index, index + 40).map((body) => log.append(anEvent({ room: 'a', body: bytes(body) }))));
        })();
        await eventually(async () => (await log.bounds()).head > 100, { intervalMs: 1 });
        const { tail, events } = collect();
        const from = await tail.add('a');
        const before = await readAll(log, ['a'], { upTo: from });
        await appending;
        await eventually(() => before.length + events.length >= bodies.length);

        expect(before.length).toBeGreaterThan(0);
        expect(events.length).toBeGreaterThan(0);
        expect([...texts(before), ...texts(events)]).toEqual(bodies);
        expect(events[0]?.seq).toBeGreaterThan(from);
        await tail.close();
      });

      it('gives nothing of a room that was removed, and nothing once it is closed', async () => {
        const { tail, events } = collect();
        const witness = collect();
        await Promise.all([tail.add('a'), tail.add('b'), witness.tail.add('*')]);
        tail.remove('a');
        await appendAll(log, 'a', ['0']);
        await appendAll(log, 'b', ['1']);
        await eventually(() => events.length === 1);
        await tail.close();
        await tail.close();
        await appendAll(log, 'b', ['2']);
        await eventually(() => witness.events.length === 3);

        expect(texts(events)).toEqual(['1']);
        await witness.tail.close();
      });

      it('goes on when it throws', async () => {
        const seen: string[] = [];
        const tail = log.tail(WORKSPACE, { event: (event) => { seen.push(text(event)); throw new Error('a faulty subscriber'); }, gap: () => undefined });
        const other = collect();
        await Promise.all([tail.add('a'), other.tail.add('a')]);
        await appendAll(log, 'a', ['0', '1']);
        await eventually(() => seen.length === 2 && other.events.length === 2);

        expect(seen).toEqual(['0', '1']);
        await Promise.all([tail.close(), other.tail.close()]);
      });

      it('wants nothing of a room that was removed before it was in force', async () => {
        const { tail, events } = collect();
        const adding = tail.add('a');
        tail.remove('a');
        await adding;
        await tail.add('b');
        await appendAll(log, 'a', ['0']);
        await appendAll(log, 'b', ['1']);
        await eventually(() => events.length >= 1);
        const again = tail.add('a');
        tail.remove('a');
        await Promise.all([again, tail.add('a')]);
        await appendAll(log, 'a', ['2']);
        await eventually(() => events.length >= 2);

        expect(texts(events)).toEqual(['1', '2']);
        await tail.close();
      });

      it('says that an event had expired before it could be given', async () => {
        const { tail, events, gaps } = collect();
        await tail.add('a');
        const { seq } = await log.append(anEvent({ room: 'a', expiresAtMs: Date.now() - 1 }));
        await appendAll(log, 'a', ['1']);
        await eventually(() => events.length >= 1);

        expect(texts(events)).toEqual(['1']);
        expect(gaps).toEqual([{ from: seq, to: seq, reason: 'retention' }]);
        await tail.close();
      });

      it('may add, remove and append inside', async () => {
        const seen: string[] = [];
        const tail = log.tail(WORKSPACE, {
          event: (event) => {
            seen.push(text(event));
            if (event.room === 'a') void tail.add('b').then(() => log.append(anEvent({ room: 'b', body: bytes('b') })));
            tail.remove('a');
          },
          gap: () => undefined,
        });
        await tail.add('a');
        await appendAll(log, 'a', ['a']);
        await eventually(() => seen.length === 2);

        expect(seen).toEqual(['a', 'b']);
        await tail.close();
      });
    });

    describe('close', () => {
      it('finishes what was appended, tells its state, and takes nothing any more', async () => {
        const states: LogState[] = [];
        const ended: LogState[] = [];
        log.onState((state) => states.push(state));
        log.onState((state) => ended.push(state))();
        expect(log.state).toBe('open');
        const tail = log.tail(WORKSPACE, { event: () => undefined, gap: () => undefined });
        const appending = appendAll(log, 'a', numbered(100));
        await Promise.all([log.close(), log.close()]);
        await appending;
        await log.close();

        expect([log.state, states.at(-1), ended]).toEqual(['closed', 'closed', []]);
        const refused = [log.append(anEvent({ room: 'a' })), log.bounds(), log.read({ ...PAGE, rooms: ['a'] }), log.readLast({ ...PAGE, rooms: ['a'], count: 1 }), log.sequenceAt(0), log.find(WORKSPACE, 'x'), log.sweep(), log.deleteWorkspace(WORKSPACE), log.consumers(WORKSPACE), tail.add('a')];
        for (const promise of refused) await expect(promise).rejects.toEqual(withCode('LOG_CLOSED'));
        await tail.close();
        await reopen();
        expect(texts(await readAll(log, ['a']))).toEqual(numbered(100));
      });
    });

    describeRetention({ log: () => log, reopen });
    describeConsumers({ log: () => log, reopen });
  });
}
