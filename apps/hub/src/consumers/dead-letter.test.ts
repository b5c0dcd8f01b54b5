import { LogError, type EventLog, type LogEvent, type LogErrorCode } from '@carillon/log';
import { isUlid } from '@carillon/wire';
import { describe, expect, it } from 'vitest';

import { bury, letterId, readLetter, type DeadLetter, type Death } from './dead-letter.ts';
import { encodeHeld } from '../delayed/held-event.ts';

const DEATH: Death = { workspaceId: 'w', consumer: 'billing', generation: 7, seq: 12, storedAtMs: 1_795_608_000_000 };
const HELD: DeadLetter['held'] = { workspaceId: 'w', room: 'ITB-1101', id: 'e1', atMs: 5, fields: '\tfrom=a', body: Buffer.from('{"n":1}'), seq: 12, consumer: 'billing', attempts: 3, reason: 'no' };
const stored = (body: Uint8Array, room = 'w/billing') => ({ workspaceId: '_dead', room, id: 'x', atMs: 1, fields: '', body, seq: 20, prevSeq: 0, storedAtMs: 99 });

/** Of a log that refuses what comes first so many times, and keeps the rest. */
function refusingLog(...codes: LogErrorCode[]): { readonly log: EventLog; readonly kept: LogEvent[] } {
  const kept: LogEvent[] = [];
  const append = async (event: LogEvent) => {
    const code = codes.shift();
    if (code !== undefined) throw new LogError(code, 'the test says so');
    kept.push(event);
    return { seq: kept.length, class: 'stored' as const, duplicate: false };
  };
  return { log: { append } as Pick<EventLog, 'append'> as EventLog, kept };
}

describe('a dead letter', () => {
  it('is named by the delivery that ended it, and by nothing else', () => {
    const id = letterId(DEATH);
    expect(isUlid(id)).toBe(true);
    expect(letterId({ ...DEATH })).toBe(id);
    const others: Partial<Death>[] = [{ workspaceId: 'v' }, { consumer: 'other' }, { generation: 8 }, { seq: 13 }];
    expect(new Set(others.map((other) => letterId({ ...DEATH, ...other })).concat(id)).size).toBe(others.length + 1);
    expect(letterId({ ...DEATH, storedAtMs: DEATH.storedAtMs + 1_000 }) > id).toBe(true);
  });

  it('is read as it was kept', async () => {
    const { log, kept } = refusingLog();
    expect(await bury(log, 'x', HELD)).toBe(true);
    expect(kept[0]).toMatchObject({ workspaceId: '_dead', room: 'w/billing', id: 'x' });
    expect(readLetter(stored(kept[0]?.body ?? new Uint8Array()))).toEqual({ id: 'x', place: 20, diedAtMs: 99, isCut: false, held: HELD });
  });

  it('is not kept a second time, whatever its reason is said to be then', async () => {
    const { log, kept } = refusingLog('EVENT_ID_REUSED');
    expect(await bury(log, 'x', HELD)).toBe(false);
    expect(kept).toEqual([]);
  });

  it('is kept without its body when the log takes no more', async () => {
    const { log, kept } = refusingLog('EVENT_TOO_LARGE');
    expect(await bury(log, 'x', HELD)).toBe(true);
    const letter = readLetter(stored(kept[0]?.body ?? new Uint8Array()));
    expect(letter).toMatchObject({ isCut: true, held: { id: 'e1', reason: 'no' } });
    expect(letter?.held.body).toHaveLength(0);
  });

  it('is not kept while the log takes nothing', async () => {
    const { log } = refusingLog('LOG_FULL');
    await expect(bury(log, 'x', HELD)).rejects.toMatchObject({ code: 'LOG_FULL' });
  });

  it('is nothing that is not one', () => {
    expect(readLetter(stored(Buffer.from('no line feed')))).toBeUndefined();
    expect(readLetter(stored(encodeHeld({ ...HELD, consumer: undefined })))).toBeUndefined();
    // A room is whose it is: what a letter says of itself must not lead elsewhere.
    expect(readLetter(stored(encodeHeld(HELD), 'v/billing'))).toBeUndefined();
  });
});
