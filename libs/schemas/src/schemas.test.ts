import { describe, expect, it } from 'vitest';

import { deviceFromId, parseJsonBody, readRoomEvent, roomEvent, roomFromId } from './index.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const event = { 'generating-system': 'CP1', timestamp: '2026-11-21T10:00:00.123456789-07:00', 'event-tags': ['core-state'], 'affected-room': { buildingID: 'ITB', roomID: 'ITB-1101' }, key: 'power', value: 'on', user: 'me' };

describe('a v2 event', () => {
  it('keeps every field of the original and fills what is missing', () => {
    expect(roomEvent.parse(event)).toEqual({ ...event, 'target-device': {} });
    expect(roomEvent.parse({})).toMatchObject({ key: '', 'event-tags': null, 'affected-room': {} });
  });

  it.each(['2026-11-21T10:00:00Z', '2026-11-21T10:00:00.1+02:00', '2026-11-21T10:00:00.123456789Z'])('takes the timestamp %s', (timestamp) => {
    expect(roomEvent.safeParse({ ...event, timestamp }).success).toBe(true);
  });

  it.each(['yesterday', '2026-11-21', '', 7, '2026-13-01T00:00:00Z'])('refuses the timestamp %s', (timestamp) => {
    expect(roomEvent.safeParse({ ...event, timestamp }).success).toBe(false);
  });

  it('names the room it is routed by', () => {
    expect(readRoomEvent(bytes(JSON.stringify(event)))).toMatchObject({ ok: true, room: 'ITB-1101' });
  });

  it('is refused with a pointer to each bad field', () => {
    const answer = readRoomEvent(bytes(JSON.stringify({ ...event, key: 7, 'affected-room': { roomID: [] } })));
    expect(answer).toMatchObject({ ok: false, code: 'EVENT_INVALID' });
    expect(!answer.ok && answer.errors.map(({ pointer }) => pointer)).toEqual(['/affected-room/roomID', '/key']);
  });

  it.each(['', 'A\nB', 'A*', '\t', 'x'.repeat(257).slice(0, 256) + '€'])('is refused without a room to route it by (%j)', (roomID) => {
    const answer = readRoomEvent(bytes(JSON.stringify({ ...event, 'affected-room': { roomID } })));
    expect(answer.ok ? '' : answer.code).toMatch(/^(ROOM_NAME_INVALID|EVENT_INVALID)$/);
  });
});

describe('ids', () => {
  it.each([
    ['itb-1101-cp1', { buildingID: 'ITB', roomID: 'ITB-1101', deviceID: 'ITB-1101-CP1' }],
    ['a-b-c-d', { deviceID: 'A-B-C-D' }],
    ['solo', { deviceID: 'SOLO' }],
  ])('splits the device %s', (id, expected) => expect(deviceFromId(id)).toEqual(expected));

  it.each([
    ['itb-1101', { buildingID: 'ITB', roomID: 'ITB-1101' }],
    ['a-b-c', { roomID: 'A' }],
    ['lobby', { roomID: 'LOBBY' }],
  ])('splits the room %s', (id, expected) => expect(roomFromId(id)).toEqual(expected));
});

describe('a JSON body', () => {
  it('may be nested 64 deep and no deeper', () => {
    expect(parseJsonBody(bytes('['.repeat(64) + ']'.repeat(64))).ok).toBe(true);
    expect(parseJsonBody(bytes('['.repeat(65) + ']'.repeat(65)))).toMatchObject({ code: 'JSON_TOO_DEEP' });
    expect(parseJsonBody(bytes('['.repeat(100_000) + ']'.repeat(100_000)))).toMatchObject({ code: 'JSON_TOO_DEEP' });
  });

  it('does not count brackets inside strings', () => {
    expect(parseJsonBody(bytes(`"${'['.repeat(100)}\\"${'{'.repeat(100)}"`))).toMatchObject({ ok: true });
  });

  it.each(['{"__proto__":{"admin":true}}', '{"data":{"\\u005f_proto__":1}}'])('may not hold __proto__ (%s)', (text) => {
    expect(parseJsonBody(bytes(text))).toMatchObject({ code: 'JSON_KEY_FORBIDDEN' });
    expect(({} as Record<string, unknown>)['admin']).toBeUndefined();
  });

  it('is refused when it is not UTF-8 or not JSON', () => {
    expect(parseJsonBody(Uint8Array.of(0x22, 0xff, 0x22))).toMatchObject({ code: 'BODY_INVALID_UTF8' });
    expect(parseJsonBody(bytes('{'))).toMatchObject({ code: 'JSON_INVALID' });
    expect(parseJsonBody(bytes(''))).toMatchObject({ code: 'JSON_INVALID' });
  });
});
