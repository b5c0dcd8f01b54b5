import { describe, expect, it } from 'vitest';
import { judgeClose } from './loss.ts';

describe('the end of a connection', () => {
  it.each([
    [{ closeCode: 1006, reason: '' }, 'LINK_UNREACHABLE', 0],
    [{ closeCode: 1001, reason: 'going' }, 'LINK_UNREACHABLE', 0],
    [{ closeCode: 1012, reason: '' }, 'DRAINING', 0],
    [{ closeCode: 1012, reason: 'DRAINING retry-after-ms=1500' }, 'DRAINING', 1_500],
    [{ closeCode: 4000, reason: 'PEER_SLOW' }, 'PEER_SLOW', 0],
    [{ closeCode: 1006, reason: '', code: 'FRAME_TOO_LARGE' as const, detail: 'Max payload' }, 'FRAME_TOO_LARGE', 0],
    [{ closeCode: 1006, reason: '', detail: 'the hub answered HTTP 503', retryAfterMs: 2_000 }, 'LINK_UNREACHABLE', 2_000],
  ])('%j may come back: %s, not before %i ms', (closed, code, retryAfterMs) => {
    expect(judgeClose(closed)).toMatchObject({ kind: 'lost', code, retryAfterMs });
  });

  it.each([
    [1002, '', 'FRAME_MALFORMED'],
    [1008, 'policy', 'REFUSED_FOR_GOOD'],
    [1009, '', 'FRAME_TOO_LARGE'],
    [4501, 'ROOM_NAME_INVALID', 'ROOM_NAME_INVALID'],
    [4999, '', 'REFUSED_FOR_GOOD'],
  ])('%i %j may not: %s', (closeCode, reason, code) => {
    expect(judgeClose({ closeCode, reason })).toMatchObject({ kind: 'refused', code });
  });

  it('is described with its number and the reason of the hub', () => {
    expect(judgeClose({ closeCode: 1008, reason: 'policy' }).detail).toBe('the connection was closed with 1008 (policy)');
  });
});
