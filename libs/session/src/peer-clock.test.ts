import { expect, test } from 'vitest';

import { readPeerClock } from './peer-clock.ts';

const NOW = 1_795_264_000_000;

test('takes the middle of the asking for the moment that the door looked at its clock', () => {
  expect(readPeerClock(`${NOW + 5_000}`, { nowMs: NOW, tookMs: 40 })).toEqual({ aheadMs: 5_020, uncertaintyMs: 20 });
  expect(readPeerClock(`${NOW - 3_600_000}`, { nowMs: NOW, tookMs: 0 })).toEqual({ aheadMs: -3_600_000, uncertaintyMs: 0 });
});

test.each([undefined, '', 'now', '-5', '1e12', `${NOW}.5`, '0', '86400000', '9'.repeat(16), [`${NOW}`, `${NOW}`]])('knows nothing from %s', (header) => {
  expect(readPeerClock(header, { nowMs: NOW, tookMs: 10 })).toBeUndefined();
});
