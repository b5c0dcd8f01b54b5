import type { EventLog, LogBounds } from '@carillon/log';
import { describe, expect, it } from 'vitest';

import { startOf } from './event-reader.ts';

/** A log of which only its bounds are asked; the last of them are said for ever. */
function logOf(...bounds: readonly LogBounds[]): { readonly log: EventLog; readonly asked: () => number } {
  let asked = 0;
  const log = { bounds: async () => bounds[Math.min((asked += 1), bounds.length) - 1] } as unknown as EventLog;
  return { log, asked: () => asked };
}

const of = (log: EventLog) => ({ log, workspaceId: 'w', rooms: ['A'] });

describe('where a reader begins', () => {
  it('is a position of this log, also when a server of it that lags does not know of it yet', async () => {
    const { log, asked } = logOf({ epoch: 'e', first: 1, head: 3 }, { epoch: 'e', first: 1, head: 3 }, { epoch: 'e', first: 1, head: 9 });
    expect(await startOf({ seq: 7, epoch: 'e' }, of(log))).toEqual({ ok: true, after: 7, isOtherEpoch: false });
    expect(asked()).toBe(3);
  });

  it('is no position that nobody has given, and says so at once', async () => {
    const { log, asked } = logOf({ epoch: 'e', first: 1, head: 3 });
    expect(await startOf({ seq: 7 }, of(log))).toMatchObject({ ok: false, code: 'SINCE_INVALID' });
    expect(asked()).toBe(1);
  });

  it('is the beginning for a position of another log', async () => {
    const { log } = logOf({ epoch: 'e', first: 1, head: 3 });
    expect(await startOf({ seq: 7, epoch: 'former' }, of(log))).toEqual({ ok: true, after: 0, isOtherEpoch: true });
  });
});
