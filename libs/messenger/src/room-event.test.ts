import { hostname } from 'node:os';
import { describe, expect, it } from 'vitest';
import { roomEvent } from './room-event.ts';

const now = new Date('2024-05-06T07:08:09.123Z');

describe('roomEvent', () => {
  it('fills in the whole v2 shape', () => {
    expect(roomEvent({ room: 'itb-1101', key: 'power', value: 'on', user: 'joe', tags: ['core-state'], device: 'itb-1101-d1', data: { a: 1 }, system: 'ITB-1101-CP1' }, now)).toEqual({
      'generating-system': 'ITB-1101-CP1',
      timestamp: '2024-05-06T07:08:09.123Z',
      'event-tags': ['core-state'],
      'target-device': { buildingID: 'ITB', roomID: 'ITB-1101', deviceID: 'ITB-1101-D1' },
      'affected-room': { buildingID: 'ITB', roomID: 'ITB-1101' },
      key: 'power',
      value: 'on',
      user: 'joe',
      data: { a: 1 },
    });
  });

  it('leaves out what it was not told and names this host', () => {
    const event = roomEvent({ room: 'ITB-1101', key: 'k', value: 'v' }, now);
    expect(Object.keys(event)).toEqual(['generating-system', 'timestamp', 'event-tags', 'affected-room', 'key', 'value', 'user']);
    expect(event).toMatchObject({ 'generating-system': hostname(), 'event-tags': [], user: '' });
  });

  it.each([['demo', 'DEMO'], ['a-b-c', 'A-B-C'], ['', '']])('takes %j, which is not BLDG-ROOM, for the whole room', (room, roomID) => {
    expect(roomEvent({ room, key: 'k', value: 'v' }, now)['affected-room']).toEqual({ roomID });
  });

  it.each(['cp1', 'itb-cp1', 'itb-1101-cp1-2'])('does not split the device %s', (device) => {
    expect(roomEvent({ room: 'ITB-1101', key: 'k', value: 'v', device }, now)['target-device']).toEqual({ deviceID: device.toUpperCase() });
  });
});
