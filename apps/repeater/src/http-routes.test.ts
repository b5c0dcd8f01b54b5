import { connect } from 'node:net';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

import { eventually } from '@carillon/testing';

import { createSite, eventOf, firstPeer, type TestRepeater } from './site.fixture.ts';

let site: ReturnType<typeof createSite>;
beforeEach(() => void (site = createSite({ WebSocket, WebSocketServer })));
afterEach(() => site.close());

const call = (repeater: TestRepeater, path: string, init?: RequestInit) => site.call(repeater, path, init);
const post = (repeater: TestRepeater, body: string | Buffer, headers: Record<string, string> = {}) => call(repeater, '/send', { method: 'POST', body: body as BodyInit, headers });

describe('POST /send', () => {
  test('tags the body as it came with its room, for the hub and for the room', async () => {
    const hub = await site.stub();
    const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: `ws://127.0.0.1:${hub.port}` });
    const link = await firstPeer(hub);
    const device = await site.device(repeater, '/connect/ITB-1101/D1');
    const body = `\n ${eventOf('ITB-1101')}\n`;
    expect(await post(repeater, body)).toMatchObject({ status: 200, text: 'ok' });
    await eventually(() => link.frames.length === 1 && device.frames.length === 1);
    expect(link.texts()).toEqual([`ITB-1101\n${body}`]);
    expect(device.texts()).toEqual([`ITB-1101\n${body}`]);
    expect(await repeater.metric('carillon_repeater_received_frames_total', 'http')).toBe(1);
  });

  test.each([
    ['', 400, 'JSON_INVALID'], ['{', 400, 'JSON_INVALID'], ['[]', 400, 'EVENT_INVALID'], ['{"key":7,"affected-room":{"roomID":"R"}}', 400, 'EVENT_INVALID'],
    ['{"timestamp":"yesterday","affected-room":{"roomID":"R"}}', 400, 'EVENT_INVALID'], ['{}', 400, 'ROOM_NAME_INVALID'], [eventOf('a\tb'), 400, 'ROOM_NAME_INVALID'], [eventOf('*'), 400, 'ROOM_NAME_INVALID'],
    [Buffer.from([0x22, 0xff, 0x22]), 400, 'BODY_INVALID_UTF8'], ['['.repeat(65), 400, 'JSON_TOO_DEEP'], ['{"__proto__":{}}', 400, 'JSON_KEY_FORBIDDEN'],
    [Buffer.alloc(2_000_000, 0x20), 413, 'BODY_TOO_LARGE'], [Buffer.alloc(20_000_000, 0x20), 413, 'BODY_TOO_LARGE'], [eventOf('R').padEnd(1_000_000), 413, 'BODY_TOO_LARGE'],
  ])('%# is refused with %i %s', async (body, status, code) => {
    const repeater = await site.repeater();
    expect(await post(repeater, body)).toMatchObject({ status, code });
    expect(await repeater.metric('carillon_repeater_refused_total', code)).toBe(1);
    expect(await repeater.metric('carillon_repeater_upstream_queue_frames')).toBe(0);
  });

  test('tells where the body is wrong', async () => {
    const repeater = await site.repeater();
    const { text } = await post(repeater, '{"key":7,"affected-room":{"roomID":1}}');
    expect(JSON.parse(text)).toMatchObject({ type: 'urn:carillon:error:EVENT_INVALID', status: 400, errors: [{ pointer: '/affected-room/roomID' }, { pointer: '/key' }] });
  });

  test('is refused when the queue is full, and nothing older is dropped for it', async () => {
    const repeater = await site.repeater({ CARILLON_REPEATER_OUTBOX: 'memory', CARILLON_REPEATER_UPSTREAM_QUEUE_MAX_BYTES: '1KiB', CARILLON_REPEATER_FRAME_MAX_BYTES: '1KiB' });
    const statuses: number[] = [];
    for (let n = 0; n < 5; n += 1) statuses.push((await post(repeater, eventOf('R', `${n}`))).status);
    expect(statuses).toEqual([200, 200, 503, 503, 503]);
    expect(await post(repeater, eventOf('R'))).toMatchObject({ code: 'UPSTREAM_QUEUE_FULL' });
    expect(await repeater.metric('carillon_repeater_dropped_events_total', 'hub-away')).toBe(0);
  });

  test('is refused to pages of other origins', async () => {
    const repeater = await site.repeater();
    expect(await post(repeater, eventOf('R'), { origin: 'https://other.example' })).toMatchObject({ status: 403, code: 'ORIGIN_REFUSED' });
    expect(await post(repeater, eventOf('R'), { origin: `http://${repeater.host}` })).toMatchObject({ status: 200 });
  });
});

test('what is not there and what is not allowed is said with a code', async () => {
  const repeater = await site.repeater();
  for (const path of ['/', '/nothing', '/send/', '/connect/a', '/__proto__', '/toString']) expect(await call(repeater, path), path).toMatchObject({ status: 404, code: 'ROUTE_NOT_FOUND' });
  const send = await call(repeater, '/send');
  expect([send.status, send.code, send.headers.get('allow')]).toEqual([405, 'METHOD_NOT_ALLOWED', 'POST']);
  const status = await call(repeater, '/status', { method: 'POST' });
  expect([status.status, status.code, status.headers.get('allow')]).toEqual([405, 'METHOD_NOT_ALLOWED', 'GET, HEAD']);
  expect(await call(repeater, '/connect/ITB-1101/D1')).toMatchObject({ status: 426, code: 'UPGRADE_REQUIRED' });
  expect(await call(repeater, '/health')).toMatchObject({ status: 200, text: '"healthy"' });
});

test('a request that is no HTTP gets a problem', async () => {
  const repeater = await site.repeater();
  const [host, port] = repeater.host.split(':');
  const socket = connect(Number(port), host);
  let answer = '';
  socket.on('data', (piece) => (answer += piece.toString()));
  socket.write('nonsense\r\n\r\n');
  await eventually(() => answer.includes('REQUEST_MALFORMED'));
  socket.destroy();
});

test('the status has the original\'s shape', async () => {
  const hub = await site.stub();
  const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: `ws://127.0.0.1:${hub.port}/k/secret` });
  const link = await firstPeer(hub);
  await site.device(repeater, '/connect/ITB-1101/D1');
  link.socket.ping();
  const status = await eventually(async () => {
    const answer = JSON.parse((await call(repeater, '/status')).text) as { info: { repeater: { 'hub-status': { 'last-ping-time': string } } } };
    return answer.info.repeater['hub-status']['last-ping-time'] !== '' && answer;
  });
  expect(status).toEqual({
    bin: 'carillon-repeater', statuscode: 'healthy', version: '0.1.0', uptime: expect.stringMatching(/s$/) as string,
    info: {
      repeater: {
        'pumping-stations': [{
          'id': 'D1', 'room': 'ITB-1101', 'remote-addr': '127.0.0.1', 'Uptime': expect.stringMatching(/s$/) as string,
          'send-buffer': { 'id': 'D1', 'buffer-capacity': 4_194_304, 'buffer-utilization': 0 }, 'read-timeout': '1m0s', 'write-timeout': '10s',
        }],
        'http-buffer': { 'id': 'upstream', 'buffer-capacity': 1_073_741_824, 'buffer-utilization': 0 },
        'hub-status': {
          'hub': `ws://127.0.0.1:${hub.port}/k/[redacted]`, 'connection': '127.0.0.1', 'subscription-list': [], 'state': 'good',
          'last-ping-time': expect.stringMatching(/^\d{4}-\d\d-\d\dT/) as string,
        },
      },
    },
  });
  await hub.stop();
  await eventually(async () => (await call(repeater, '/status')).text.includes('"sick"'));
  expect((await fetch(`http://127.0.0.1:${repeater.running.adminAddress.port}/readyz`, { headers: { connection: 'close' } })).status).toBe(200);
});
