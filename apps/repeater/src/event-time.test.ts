import { eventually } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

import { EVENT_TIME_HEADER, readEventTime } from './event-time.ts';
import { createSite, eventOf, firstPeer, type TestRepeater } from './site.fixture.ts';

describe('the time of an event', () => {
  it.each([
    ['0', 0], ['1795264000000', 1_795_264_000_000], ['9007199254740991', Number.MAX_SAFE_INTEGER],
    ['2026-11-21T12:00:00Z', 1_795_262_400_000], ['2026-11-21T12:00:00.1239Z', 1_795_262_400_123], ['2026-11-21T13:30:00+01:30', 1_795_262_400_000],
    ['2024-02-29T00:00:00Z', 1_709_164_800_000], ['1970-01-01T00:00:00Z', 0],
  ])('is read from %j', (header, ms) => expect(readEventTime(header)).toBe(ms));

  it.each([
    '', ' ', 'now', '-1', '01', '1.5', '1e3', '0x10', '9007199254740992', '99999999999999999', '2026-11-21', '2026-11-21T12:00Z', '2026-11-21T12:00:00', '2026-11-21 12:00:00Z',
    '2026-02-30T12:00:00Z', '2026-13-01T12:00:00Z', '2026-11-21T25:00:00Z', '1969-12-31T23:59:59Z', '1970-01-01T00:00:00+00:01', '2026-11-21T12:00:00.0123456789Z', '1, 2',
  ])('is not %j', (header) => expect(readEventTime(header)).toBe('malformed'));

  it('is not said where there is none, and malformed where there are two', () => {
    expect([readEventTime(undefined), readEventTime(['1', '2'])]).toEqual([undefined, 'malformed']);
  });
});

describe('an event that says when it happened', () => {
  let site: ReturnType<typeof createSite>;
  beforeEach(() => void (site = createSite({ WebSocket, WebSocketServer })));
  afterEach(() => site.close());

  const post = (repeater: TestRepeater, value: string, time?: string) =>
    site.call(repeater, '/send', { method: 'POST', body: eventOf('R', value), headers: time === undefined ? {} : { [EVENT_TIME_HEADER]: time } });

  it('says so to the hub, beside when it was recorded, also after a restart', async () => {
    const folder = await site.folder();
    const first = await site.repeater({ CARILLON_DATA_DIR: folder });
    const beganMs = Date.now();
    expect((await post(first, 'a', '1795264000000')).status).toBe(200);
    expect((await post(first, 'b')).status).toBe(200);
    await first.stop();
    const hub = await site.ackingHub();
    const second = await site.repeater({ CARILLON_DATA_DIR: folder, CARILLON_REPEATER_HUB_URL: hub.url });
    expect((await post(second, 'c', '1970-01-01T00:00:00Z')).status).toBe(200);
    await eventually(() => hub.log.events.length === 3);
    expect(hub.log.events.map(({ body, et }) => [body, et])).toEqual([[eventOf('R', 'a'), 1_795_264_000_000], [eventOf('R', 'b'), undefined], [eventOf('R', 'c'), 0]]);
    expect(hub.log.events.every(({ at = 0 }) => at >= beganMs && at <= Date.now())).toBe(true);
  });

  it('is refused, and not kept, when the time is none', async () => {
    const repeater = await site.repeater();
    for (const time of ['yesterday', '-1', '2026-02-30T12:00:00Z']) expect(await post(repeater, 'x', time)).toMatchObject({ status: 400, code: 'REQUEST_MALFORMED' });
    expect(await repeater.metric('carillon_repeater_refused_total', 'REQUEST_MALFORMED')).toBe(3);
    expect(await repeater.metric('carillon_repeater_upstream_queue_frames')).toBe(0);
  });

  it('goes without it to a hub of the first protocol', async () => {
    const hub = await site.stub();
    const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: `ws://127.0.0.1:${hub.port}` });
    const link = await firstPeer(hub);
    expect((await post(repeater, 'x', '5')).status).toBe(200);
    await eventually(() => link.frames.length === 1);
    expect(link.texts()).toEqual([`R\n${eventOf('R', 'x')}`]);
  });
});
