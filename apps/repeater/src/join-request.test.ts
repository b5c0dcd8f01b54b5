import { describe, expect, test } from 'vitest';

import { pathOf, readJoinPath } from './join-request.ts';

describe('the path of a join', () => {
  test('is percent-decoded', () => {
    expect(readJoinPath('/connect/ITB-1101/ITB-1101-CP1', 256)).toEqual({ ok: true, room: 'ITB-1101', id: 'ITB-1101-CP1' });
    expect(readJoinPath('/connect/ITB%2F11%2001/%C3%A9', 256)).toEqual({ ok: true, room: 'ITB/11 01', id: 'é' });
    expect(pathOf('/connect/a/b?x=/y')).toBe('/connect/a/b');
  });

  test.each([
    ['/connect/a', 'ROUTE_NOT_FOUND'], ['/connect/a/b/c', 'ROUTE_NOT_FOUND'], ['/', 'ROUTE_NOT_FOUND'], ['/Connect/a/b', 'ROUTE_NOT_FOUND'],
    ['/connect//b', 'ROOM_NAME_INVALID'], ['/connect/*/b', 'ROOM_NAME_INVALID'], ['/connect/%0a/b', 'ROOM_NAME_INVALID'], ['/connect/%ff/b', 'ROOM_NAME_INVALID'], [`/connect/${'r'.repeat(257)}/b`, 'ROOM_NAME_INVALID'],
    ['/connect/a/', 'DEVICE_ID_INVALID'], ['/connect/a/%00', 'DEVICE_ID_INVALID'], ['/connect/a/%7f', 'DEVICE_ID_INVALID'], ['/connect/a/%', 'DEVICE_ID_INVALID'], [`/connect/a/${'%C3%A9'.repeat(129)}`, 'DEVICE_ID_INVALID'],
  ])('%s is refused with %s', (path, code) => expect(readJoinPath(path, 256)).toMatchObject({ ok: false, code }));
});
