import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { closeAll, startTestHub } from '../hub.fixture.ts';
import { openSession, type TestSession } from '../sessions/session.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';

/** What a subscription has got, by the rules of the messenger: each sequence once, in order, wherever it came from. */
function taken({ heard }: TestSession, request: string): number[] {
  const seqs: number[] = [];
  let isLive = false;
  let last = 0;
  for (const each of heard) {
    if (each.kind === 'control') {
      if (each.frame.op === 'live' && each.frame.request === request) isLive = true;
      if (each.frame.op === 'behind' && each.frame.request === request) isLive = false;
      continue;
    }
    const { seq = 0, re } = each.fields;
    if (re === undefined ? !isLive : re !== request) continue;
    if (seq <= last) continue;
    last = seq;
    seqs.push(seq);
  }
  return seqs;
}

async function fill(writer: TestSession, count: number, room = ROOM): Promise<number[]> {
  return Promise.all(Array.from({ length: count }, (_, at) => writer.store(room, `${room} ${at}`)));
}

describe('a subscription since', () => {
  it('a sequence gets what was after it, and then what comes', async () => {
    const hub = await startTestHub({ log: true });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    const seqs = await fill(writer, 5);
    const live = await reader.subscribe('1', [ROOM], { since: { seq: seqs[1] ?? 0 } });
    expect(reader.bodies('1')).toEqual([2, 3, 4].map((at) => `${ROOM} ${at}`));
    expect(live.seq).toBeGreaterThanOrEqual(seqs[4] ?? 0);
    const more = await fill(writer, 2);
    await eventually(() => expect(taken(reader, '1')).toEqual([...seqs.slice(2), ...more]));
  });

  it('the last n, and a time, begin there', async () => {
    const hub = await startTestHub({ log: true });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    await fill(writer, 3, 'OTHER-1');
    await fill(writer, 5);
    await fill(writer, 3, 'OTHER-1');
    await reader.subscribe('1', [ROOM], { since: { last: 2 } });
    expect(reader.bodies('1')).toEqual([`${ROOM} 3`, `${ROOM} 4`]);
    await reader.subscribe('2', [ROOM], { since: { last: 0 } });
    expect(reader.bodies('2')).toEqual([]);
    await reader.subscribe('3', [ROOM], { since: { at: 0 } });
    expect(reader.bodies('3')).toHaveLength(5);
    await reader.subscribe('4', [ROOM], { since: { at: Date.now() + 60_000 } });
    expect(reader.bodies('4')).toEqual([]);
  });

  it('a sequence that the log has not come to is refused, one of another log is told and begins anew', async () => {
    const hub = await startTestHub({ log: true });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    await fill(writer, 2);
    reader.say({ op: 'subscribe', request: '1', rooms: [ROOM], since: { seq: 1_000_000 } });
    expect(await reader.got('error')).toMatchObject({ code: 'SINCE_INVALID', request: '1' });
    reader.say({ op: 'subscribe', request: '2', rooms: [ROOM], since: { last: 100_000 } });
    expect(await reader.got('error', ({ request }) => request === '2')).toMatchObject({ code: 'SINCE_INVALID' });
    await reader.subscribe('3', [ROOM], { since: { seq: 7, epoch: 'another' } });
    expect(reader.all('gap')).toEqual([{ op: 'gap', request: '3', from: 8, to: 8, reason: 'epoch' }]);
    expect(reader.bodies('3')).toHaveLength(2);
  });

  it('is told of what is past retention', async () => {
    const hub = await startTestHub({ log: true, env: { CARILLON_HUB_LOG_SWEEP_INTERVAL_MS: '100' } });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    const gone = await writer.store(ROOM, 'short', { ttl: 1 });
    const kept = await writer.store(ROOM, 'long');
    await eventually(async () => {
      const late = await openSession(hub);
      await late.subscribe('1', [ROOM], { since: { seq: 0 } });
      expect(late.all('gap')).toMatchObject([{ request: '1', reason: 'retention' }]);
      await late.leave();
    });
    await reader.subscribe('1', [ROOM], { since: { seq: 0 } });
    const [gap] = reader.all('gap');
    expect([(gap?.from ?? 0) <= gone, (gap?.to ?? 0) >= gone, reader.bodies()]).toEqual([true, true, ['long']]);
    expect(taken(reader, '1')).toEqual([kept]);
  });

  it('keeps what no policy names for as long as the hub is told', async () => {
    const hub = await startTestHub({ log: true, env: { CARILLON_HUB_LOG_SWEEP_INTERVAL_MS: '100', CARILLON_HUB_LOG_MAX_AGE_MS: '1' } });
    const writer = await openSession(hub);
    await writer.store(ROOM, 'old');
    await eventually(async () => {
      const late = await openSession(hub);
      await late.subscribe('1', [ROOM], { since: { seq: 0 } });
      expect([late.bodies('1'), late.all('gap').map(({ reason }) => reason)]).toEqual([[], ['retention']]);
      await late.leave();
    });
  });

  it('loses and repeats nothing while events pour in', async () => {
    const hub = await startTestHub({ log: true });
    const writer = await openSession(hub);
    const before = await fill(writer, 2_000);
    let isOver = false;
    const pouring = (async () => {
      const seqs: number[] = [];
      while (!isOver) seqs.push(...(await fill(writer, 50)));
      return seqs;
    })();
    const readers = await Promise.all([0, 1, 2, 3].map(async (at) => {
      const reader = await openSession(hub);
      await reader.subscribe('1', at % 2 === 0 ? [ROOM] : ['ITB-*'], { since: { seq: (before[0] ?? 1) - 1 + at } });
      return reader;
    }));
    await fill(writer, 10);
    isOver = true;
    const all = [...before, ...(await pouring)];
    const last = await writer.store(ROOM, 'end');
    for (const [at, reader] of readers.entries()) {
      await eventually(() => expect(taken(reader, '1').at(-1)).toBe(last));
      const got = new Set(taken(reader, '1'));
      expect(all.filter((seq) => seq > (before[0] ?? 1) - 1 + at && !got.has(seq))).toEqual([]);
    }
  });

  it('moves a reader that does not read from live to the log and back, and it misses nothing', async () => {
    const hub = await startTestHub({ log: true, env: { CARILLON_HUB_LANE_MAX_BYTES: '1MiB' } });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    await reader.subscribe('1', [ROOM]);
    reader.socket.pause();
    const body = 'x'.repeat(20_000);
    const seqs: number[] = [];
    for (let round = 0; round < 40; round += 1) seqs.push(...(await Promise.all(Array.from({ length: 20 }, () => writer.store(ROOM, body)))));
    reader.socket.resume();
    await eventually(() => expect(taken(reader, '1')).toEqual(seqs));
    expect(reader.all('behind').length).toBeGreaterThan(0);
    await eventually(() => expect(reader.all('live').length).toBeGreaterThan(reader.all('behind').length));
    const more = await writer.store(ROOM, 'more');
    await eventually(() => expect(taken(reader, '1').at(-1)).toBe(more));
  });
});

describe('a session', () => {
  it('does not hear itself, in the log neither, unless it wants to', async () => {
    const hub = await startTestHub({ log: true });
    const me = await openSession(hub, { session: 'me' });
    const other = await openSession(hub);
    await me.subscribe('1', [ROOM]);
    await me.store(ROOM, 'mine');
    await other.store(ROOM, 'theirs');
    await eventually(() => expect(me.bodies()).toEqual(['theirs']));
    await me.leave();
    const again = await openSession(hub, { session: 'me' });
    await again.subscribe('1', [ROOM], { since: { seq: 0 } });
    expect(again.bodies()).toEqual(['theirs']);
    await again.subscribe('2', [ROOM], { since: { seq: 0 }, echo: true });
    expect(again.bodies('2')).toEqual(['mine', 'theirs']);
    await again.store(ROOM, 'loud');
    await eventually(() => expect(again.bodies()).toContain('loud'));
  });

  it('may have several subscriptions to one room, each with its own place', async () => {
    const hub = await startTestHub({ log: true });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    await fill(writer, 3);
    await reader.subscribe('live', [ROOM]);
    await reader.subscribe('all', [ROOM, 'ITB-*'], { since: { seq: 0 } });
    expect(reader.bodies('all')).toHaveLength(3);
    await writer.store(ROOM, 'next');
    await eventually(() => expect(reader.bodies().filter((body) => body === 'next')).toHaveLength(1));
    reader.say({ op: 'unsubscribe', request: 'live' });
    await writer.store(ROOM, 'still');
    await eventually(() => expect(reader.bodies()).toContain('still'));
    reader.say({ op: 'unsubscribe', request: 'all' });
    reader.say({ op: 'unsubscribe', request: 'all' });
    expect(await reader.got('error')).toMatchObject({ code: 'REQUEST_UNKNOWN', request: 'all' });
    await writer.store(ROOM, 'unheard');
    reader.say({ op: 'subscribe', request: 'live', rooms: [] });
    await reader.got('live', ({ request, seq }) => request === 'live' && seq > 0);
    expect(reader.bodies()).not.toContain('unheard');
  });

  it('reads history forwards and backwards, page by page', async () => {
    const hub = await startTestHub({ log: true });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    const seqs = await fill(writer, 5);
    reader.say({ op: 'history', request: 'h1', rooms: [ROOM], after: 0, max: 2 });
    const page = await reader.got('page', ({ request }) => request === 'h1');
    expect(reader.bodies('h1')).toEqual([`${ROOM} 0`, `${ROOM} 1`]);
    expect(page.isLast).toBe(false);
    reader.say({ op: 'history', request: 'h2', rooms: [ROOM], after: page.next, max: 100 });
    expect(await reader.got('page', ({ request }) => request === 'h2')).toMatchObject({ isLast: true });
    expect(reader.bodies('h2')).toHaveLength(3);
    reader.say({ op: 'history', request: 'h3', rooms: [ROOM], before: seqs[4] ?? 0, max: 2 });
    await reader.got('page', ({ request }) => request === 'h3');
    expect(reader.bodies('h3')).toEqual([`${ROOM} 2`, `${ROOM} 3`]);
    for (const [request, more] of [['e1', { max: 0 }], ['e2', { max: 1_001 }], ['e3', { max: 1, before: 1, after: 1 }]] as const) {
      reader.say({ op: 'history', request, rooms: [ROOM], ...more });
      expect(await reader.got('error', (frame) => frame.request === request)).toMatchObject({ code: 'CONTROL_INVALID' });
    }
  });

  it('is told what it may not say', async () => {
    const hub = await startTestHub({ log: true, env: { CARILLON_HUB_PATTERNS_MAX: '3' } });
    const session = await openSession(hub);
    await session.subscribe('1', ['A', 'B']);
    const refused = async (text: string, code: string): Promise<void> => {
      const before = session.all('error').length;
      session.sayText(text);
      await eventually(() => expect(session.all('error').slice(before).map((frame) => frame.code)).toEqual([code]));
    };
    await refused('{"op":"subscribe","request":"1","rooms":["A"]}', 'REQUEST_IN_USE');
    await refused('{"op":"subscribe","request":"2","rooms":["C","D"]}', 'SUBSCRIPTIONS_EXCEEDED');
    await refused('{"op":"hello"}', 'HELLO_REQUIRED');
    await refused('{"op":"welcome"}', 'CONTROL_INVALID');
    await refused('{"op":"drain","afterMs":1}', 'CONTROL_INVALID');
    await refused('nonsense', 'CONTROL_INVALID');
    await refused('{"rooms":["A"],"create":true}', 'CONTROL_INVALID');
    await refused(JSON.stringify({ op: 'subscribe', request: '3', rooms: Array.from({ length: 100_000 }, () => 'A') }), 'CONTROL_TOO_LARGE');
    await session.subscribe('3', ['A', 'C']);
  });

  it('of a hub without a log is told so, and hears live rooms', async () => {
    const hub = await startTestHub();
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    expect(reader.all('welcome')[0]).not.toHaveProperty('epoch');
    reader.say({ op: 'subscribe', request: '1', rooms: [ROOM] });
    await reader.got('subscribed');
    await writer.store(ROOM, 'x');
    await eventually(() => expect(reader.bodies()).toEqual(['x']));
    reader.say({ op: 'history', request: 'h', rooms: [ROOM], max: 1 });
    expect(await reader.got('error')).toMatchObject({ code: 'LOG_ABSENT', request: 'h' });
  });
});
