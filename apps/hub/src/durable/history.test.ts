import type { EventLog } from '@carillon/log';
import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createFailingLog } from './failing-log.fixture.ts';
import { closeAll, startTestHub } from '../hub.fixture.ts';
import { openSession, type TestSession } from '../sessions/session.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';
/** Of history that a connection may have under way. */
const PAGES_MAX = 16;

/** Stores bodies `1` to `count`, one after the other. */
async function fill(writer: TestSession, count: number): Promise<number[]> {
  const seqs: number[] = [];
  for (let n = 1; n <= count; n += 1) seqs.push(await writer.store(ROOM, `${n}`));
  return seqs;
}

interface Range {
  readonly before?: number;
  readonly after?: number;
  readonly max?: number;
}

const ask = (reader: TestSession, request: string, { max = 100, ...range }: Range): void => reader.say({ op: 'history', request, rooms: [ROOM], max, ...range });

/** A log of which the first so many answers to where it ends come from a server that lags behind by two events. */
function lagging(answers: number): { readonly wrap: (log: EventLog) => EventLog; lag(): void; readonly left: number } {
  let left = 0;
  const wrap = (log: EventLog): EventLog => new Proxy(log, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      if (name !== 'bounds') return (...given: unknown[]): unknown => Reflect.apply(member, target, given);
      return async () => {
        const bounds = await target.bounds();
        if (left === 0) return bounds;
        left -= 1;
        return { ...bounds, head: bounds.head - 2 };
      };
    },
  });
  return {
    wrap,
    lag: () => void (left = answers),
    get left() {
      return left;
    },
  };
}

describe('a page of history', () => {
  it('after what the log has not come to is refused alone: the connection goes on, and is answered meanwhile', async () => {
    const hub = await startTestHub({ log: true });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    const seqs = await fill(writer, 3);
    const head = seqs.at(-1) ?? 0;
    ask(reader, 'above', { after: head + 1 });
    ask(reader, 'end', { after: head });
    ask(reader, 'some', { after: seqs[0] ?? 0 });
    expect(await reader.got('page', ({ request }) => request === 'end')).toEqual({ op: 'page', request: 'end', next: head, isLast: true });
    expect(await reader.got('page', ({ request }) => request === 'some')).toMatchObject({ next: head, isLast: true });
    expect(await reader.got('error')).toEqual({ op: 'error', code: 'SINCE_INVALID', detail: `${head + 1} is above ${head}`, request: 'above' });
    expect([reader.bodies('above'), reader.bodies('end'), reader.bodies('some')]).toEqual([[], [], ['2', '3']]);
    expect(reader.all('page')).toHaveLength(2);
    // What it could not have then is there later.
    await writer.store(ROOM, '4');
    await writer.store(ROOM, '5');
    ask(reader, 'again', { after: head + 1 });
    await reader.got('page', ({ request }) => request === 'again');
    expect(reader.bodies('again')).toEqual(['5']);
    expect(await hub.metric('carillon_hub_refused_total', 'SINCE_INVALID')).toBe(1);
  });

  it.each([1, 2, 1_000_000, Number.MAX_SAFE_INTEGER])('before what the log has not come to (%d above its end) is the newest', async (above) => {
    const hub = await startTestHub({ log: true });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    const seqs = await fill(writer, 3);
    ask(reader, 'h', { before: Math.min((seqs.at(-1) ?? 0) + above, Number.MAX_SAFE_INTEGER), max: 2 });
    await reader.got('page');
    expect(reader.bodies('h')).toEqual(['2', '3']);
    expect(reader.all('error')).toEqual([]);
  });

  it('after a position of this log waits for a server of it that lags, over either door', async () => {
    const log = lagging(3);
    const hub = await startTestHub({ log: true, wrapLog: log.wrap });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    const seqs = await fill(writer, 3);
    log.lag();
    ask(reader, 'h', { after: seqs[1] ?? 0 });
    await reader.got('page');
    expect([reader.bodies('h'), reader.all('error'), log.left]).toEqual([['3'], [], 0]);
    const { epoch } = reader.all('welcome')[0] ?? {};
    for (const [query, bodies] of [[`after=${epoch}-${seqs[1]}`, [3]], [`before=${epoch}-${(seqs[2] ?? 0) + 1}`, [1, 2, 3]]] as const) {
      log.lag();
      const { status, text } = await hub.call('GET', `/rooms/${ROOM}/history?${query}`);
      expect([status, log.left]).toEqual([200, 0]);
      expect((JSON.parse(text) as { readonly events: readonly { readonly body: number }[] }).events.map(({ body }) => body)).toEqual(bodies);
    }
  });

  it('too many at a time is refused with REQUESTS_EXCEEDED, and the others come', async () => {
    const log = createFailingLog();
    const hub = await startTestHub({ log: true, wrapLog: log.wrap });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    await fill(writer, 1);
    const release = log.hold('readLast');
    for (let n = 0; n <= PAGES_MAX; n += 1) ask(reader, `h${n}`, {});
    expect(await reader.got('error')).toEqual({ op: 'error', code: 'REQUESTS_EXCEEDED', detail: `at most ${PAGES_MAX} pages at a time`, request: `h${PAGES_MAX}` });
    release();
    await eventually(() => expect(reader.all('page')).toHaveLength(PAGES_MAX));
    ask(reader, 'later', {});
    await reader.got('page', ({ request }) => request === 'later');
    expect(reader.bodies('later')).toEqual(['1']);
    expect(reader.all('error')).toHaveLength(1);
  });
});
