import { LogError, type LogErrorCode, type LogEvent } from '@carillon/log';
import { describe, expect, it } from 'vitest';

import { readTrail, TrailJournal, trailRoom, WAITING_MAX_FACTS, type TrailCounts } from './trail-journal.ts';
import type { TrailFact } from './trail.ts';

function startJournal({ eventMaxBytes = 1_048_576 }: { readonly eventMaxBytes?: number } = {}) {
  const appended: LogEvent[] = [];
  const counts: TrailCounts = { kept: 0, missed: 0 };
  let failing: LogErrorCode | undefined;
  let nowMs = 1_000;
  let ids = 0;
  const journal = new TrailJournal({
    workspaceId: 'w', hub: 'h', eventMaxBytes, counts, now: () => nowMs, nextId: () => `id${(ids += 1)}`,
    log: {
      append: (event) => {
        if (failing !== undefined) return Promise.reject(new LogError(failing, 'the test says so'));
        appended.push(event);
        return Promise.resolve({ seq: appended.length, class: 'stored', duplicate: false });
      },
    },
  });
  return {
    journal, appended, counts,
    fail: (code: LogErrorCode | undefined) => void (failing = code),
    setNow: (ms: number) => void (nowMs = ms),
    facts: (part: Parameters<typeof trailRoom>[1]) => appended.filter(({ room }) => room === trailRoom('w', part)).flatMap(({ body }) => readTrail(body)),
  };
}

const refused = (id: string): TrailFact => ({ kind: 'refused', id, room: 'A', code: 'SEND_DENIED' });

describe('the journal of a trail', () => {
  it('keeps what gathered in one entry a part, each line with its hub and a time that does not step back', async () => {
    const { journal, appended, counts, facts, setNow } = startJournal();
    journal.note(refused('a'));
    setNow(500);
    journal.note({ kind: 'delivered', certain: 7 });
    setNow(1_500);
    journal.note(refused('b'));
    await journal.flush();
    expect(appended.map(({ workspaceId, room }) => `${workspaceId} ${room}`)).toEqual(['_trail w/moments', '_trail w/events']);
    expect(facts('events')).toEqual([{ at: 1_000, hub: 'h', ...refused('a') }, { at: 1_500, hub: 'h', ...refused('b') }]);
    expect(facts('moments')).toEqual([{ at: 1_000, hub: 'h', kind: 'delivered', certain: 7 }]);
    expect([counts, journal.isEmpty]).toEqual([{ kept: 3, missed: 0 }, true]);
    await journal.flush();
    expect(appended).toHaveLength(2);
  });

  it('tries again with the same entry while the log is away, and says how much it could not hold meanwhile', async () => {
    const { journal, appended, counts, facts, fail } = startJournal();
    fail('LOG_UNAVAILABLE');
    journal.note(refused('first'));
    await journal.flush();
    for (let n = 0; n < WAITING_MAX_FACTS + 9; n += 1) journal.note({ kind: 'delivered', certain: n });
    await journal.flush();
    expect([counts, appended.length, journal.isEmpty]).toEqual([{ kept: 0, missed: 10 }, 0, false]);
    fail(undefined);
    await journal.flush();
    await journal.flush();
    expect(facts('events')).toEqual([{ at: 1_000, hub: 'h', ...refused('first') }]);
    expect(facts('moments')).toHaveLength(WAITING_MAX_FACTS - 1);
    expect(facts('readers')).toEqual([{ at: 1_000, hub: 'h', kind: 'missed', facts: 10 }]);
    expect([new Set(appended.map(({ id }) => id)).size, journal.isEmpty]).toEqual([appended.length, true]);
  });

  it('holds only so many bytes of patterns', () => {
    const { journal, counts } = startJournal();
    const rooms = [...new Array<string>(256).keys()].map((n) => `${n}`.padStart(256, 'x'));
    for (let n = 0; n < 300; n += 1) journal.note({ kind: 'reading', reader: `r${n}`, peer: 'p', session: 's', how: 'session', rooms, after: 0 });
    expect(counts.missed).toBe(45);
  });

  it('writes entries that the log takes, and counts what it takes in none', async () => {
    const { journal, appended, counts, fail } = startJournal({ eventMaxBytes: 1_024 });
    for (let n = 0; n < 100; n += 1) journal.note(refused(`id-${n}`));
    await journal.flush();
    expect(appended.length).toBeGreaterThan(5);
    expect(Math.max(...appended.map(({ body }) => body.length))).toBeLessThanOrEqual(1_024);
    expect(appended.flatMap(({ body }) => readTrail(body))).toHaveLength(100);
    fail('EVENT_TOO_LARGE');
    journal.note(refused('large'));
    await journal.flush();
    expect(counts).toEqual({ kept: 100, missed: 1 });
  });

  it('leaves out what it cannot read', () => {
    const body = Buffer.from(`${JSON.stringify({ at: 1, hub: 'h', kind: 'delivered', certain: 1 })}\n{"at":1,"hub":"h","kind":"toString"}\n{"kind":"delivered"}\nnot JSON\n\nnull\n`);
    expect(readTrail(body)).toEqual([{ at: 1, hub: 'h', kind: 'delivered', certain: 1 }]);
    expect(readTrail(body, 'nowhere')).toEqual([]);
  });
});
