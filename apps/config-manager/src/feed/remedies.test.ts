import { feedKey, type FeedRecord } from '@carillon/schemas';
import { describe, expect, it } from 'vitest';

import { digestOf, heldOf } from './bucket-view.ts';
import { remedyFor, thingOf } from './feed-reconcile.ts';
import { recordBytes } from './put-records.ts';

const gone = (seq: number): FeedRecord => ({ seq, entry: null });
const room = (seq: number, pattern: string): FeedRecord => ({ seq, entry: { type: 'room', id: 'rp_1', workspaceId: 'default', pattern, lane: 'live', retention: { maxAgeSeconds: null, maxBytes: null } } });

describe('remedyFor', () => {
  it.each([
    ['nothing', undefined, 'put'],
    ['an older record', heldOf(recordBytes(room(6, 'a'))), 'put'],
    ['what is no record', heldOf(Buffer.from('{"seq":"7"}')), 'put'],
    ['what is no JSON', heldOf(Buffer.from([0xff, 0])), 'put'],
    ['the same', heldOf(recordBytes(room(7, 'a'))), 'none'],
    ['another record of the same position', heldOf(recordBytes(room(7, 'b'))), 'again'],
    ['a newer record', heldOf(recordBytes(room(8, 'a'))), 'again'],
    ['a newer tombstone', heldOf(recordBytes(gone(8))), 'again'],
  ] as const)('when the bucket holds %s', (_what, held, remedy) => {
    expect(remedyFor(room(7, 'a'), held)).toBe(remedy);
  });

  it('takes no position from a value that would use up all numbers', () => {
    expect(heldOf(Buffer.from(`{"seq":${Number.MAX_SAFE_INTEGER},"entry":null}`)).seq).toBe(0);
  });

  it('tells a tombstone', () => {
    expect(heldOf(recordBytes(gone(3)))).toEqual({ seq: 3, gone: true, digest: digestOf(recordBytes(gone(3))) });
  });
});

describe('thingOf', () => {
  it('reads every key of ours back', () => {
    const things = (['workspace', 'key', 'event-definition', 'room', 'device'] as const).map((type) => ({ type, workspaceId: 'ws_1', id: 'x_9' }));

    expect(things.map((thing) => thingOf(feedKey(thing)))).toEqual(things);
  });

  it.each(['', 'a.b', 'default.contract.c1', 'default.key.a.b', 'default.key.', '*.key.a', 'default.key.a\n'])('does not know %j', (key) => {
    expect(thingOf(key)).toBeUndefined();
  });
});
