import { eventually } from '@carillon/testing';
import { describe, expect, it } from 'vitest';

import type { EventLog, LogPage } from './event-log.ts';
import { anEvent, appendAll, bytes, numbered, readAll, text, texts, WORKSPACE } from './log-world.conformance.ts';

const PAGE = { workspaceId: WORKSPACE, after: 0, maxEvents: 100, maxBytes: 1024 * 1024 } as const;

/** The part of the suite about what is deleted. */
export function describeRetention({ log, reopen }: { readonly log: () => EventLog; readonly reopen: () => Promise<void> }): void {
  describe('retention', () => {
    const gapCovers = (page: LogPage, seq: number | undefined): boolean => page.gaps.some(({ from, to, reason }) => reason === 'retention' && seq !== undefined && from <= seq && seq <= to);

    it('deletes what is too old, says so, and keeps the chain', async () => {
      const old = await appendAll(log(), 'a', numbered(3));
      const kept = await appendAll(log(), 'b', ['kept']);
      log().setRetention(WORKSPACE, [{ pattern: 'a', maxAgeMs: 50, maxBytes: null }]);
      let deleted = 0;
      await eventually(async () => (deleted += await log().sweep()) >= 3);
      log().setRetention(WORKSPACE, []);
      const [young = 0] = await appendAll(log(), 'a', ['young']);
      const page = await log().read({ ...PAGE, rooms: ['a'] });

      expect(deleted).toBe(3);
      expect(texts(page.events)).toEqual(['young']);
      expect(page.events[0]?.prevSeq).toBe(old.at(-1));
      expect(gapCovers(page, old[0]) || gapCovers(page, old[2])).toBe(true);
      expect((await log().read({ ...PAGE, rooms: ['a'], after: old[2] ?? 0 })).gaps).toEqual([]);
      expect((await log().read({ ...PAGE, rooms: ['b'] })).gaps).toEqual([]);
      expect(await log().bounds()).toMatchObject({ first: kept[0], head: young });
      expect(await log().sweep()).toBe(0);
    });

    it('says what is gone although the room is empty, for as long as the log is there', async () => {
      const old = await appendAll(log(), 'a', numbered(3));
      log().setRetention(WORKSPACE, [{ pattern: '*', maxAgeMs: 1, maxBytes: null }]);
      await eventually(async () => (await log().sweep()) + (await readAll(log(), ['a'])).length > 0 && (await readAll(log(), ['a'])).length === 0);
      await reopen();
      const page = await log().read({ ...PAGE, rooms: ['a'] });

      expect(page.events).toEqual([]);
      expect(gapCovers(page, old[2])).toBe(true);
      expect(page.isLast).toBe(true);
      expect(await log().bounds()).toMatchObject({ first: (old[2] ?? 0) + 1, head: old[2] });
      expect((await appendAll(log(), 'a', ['next']))[0]).toBeGreaterThan(old[2] ?? 0);
      expect((await readAll(log(), ['a']))[0]?.prevSeq).toBe(old[2]);
    });

    it('says to who reads meanwhile that it is gone, not that it is damaged', async () => {
      const seqs = await appendAll(log(), 'a', numbered(2_000));
      log().setRetention(WORKSPACE, [{ pattern: 'a', maxAgeMs: null, maxBytes: 0 }]);
      const sweep = { isOver: false };
      const sweeping = log().sweep().finally(() => (sweep.isOver = true));
      const reasons = new Set<string>();
      while (!sweep.isOver) {
        for (let after = 0, isLast = false; !isLast; ) {
          const page = await log().read({ ...PAGE, rooms: ['a'], after, maxEvents: 200 });
          for (const { reason } of page.gaps) reasons.add(reason);
          ({ next: after, isLast } = page);
        }
      }

      expect(await sweeping).toBe(seqs.length);
      expect((await log().read({ ...PAGE, rooms: ['a'] })).gaps).toEqual([{ from: seqs[0], to: seqs.at(-1), reason: 'retention' }]);
      expect([...reasons].filter((reason) => reason !== 'retention')).toEqual([]);
      expect(log().counts.damagedRecords).toBe(0);
    });

    it('deletes the oldest of a room that is too large, by the longest pattern that selects it', async () => {
      await appendAll(log(), 'abc-1', Array.from({ length: 10 }, () => 'x'.repeat(1_000)));
      await appendAll(log(), 'abc-2', Array.from({ length: 10 }, () => 'x'.repeat(1_000)));
      await appendAll(log(), 'c', ['c']);
      log().setRetention(WORKSPACE, [{ pattern: 'a**', maxAgeMs: null, maxBytes: 1 }, { pattern: 'abc-1**', maxAgeMs: null, maxBytes: 5_500 }, { pattern: 'abc-2', maxAgeMs: null, maxBytes: null }]);
      const deleted = await log().sweep();
      const left = (await readAll(log(), ['abc-1'])).length;

      expect(left).toBeGreaterThanOrEqual(3);
      expect(left).toBeLessThanOrEqual(5);
      expect(deleted).toBe(10 - left);
      expect(await readAll(log(), ['abc-2'])).toHaveLength(10);
      expect(await readAll(log(), ['c'])).toHaveLength(1);
    });

    it('does not deliver an event that has expired, and deletes it', async () => {
      const expiresAtMs = Date.now() + 3_000;
      const [first = 0] = await appendAll(log(), 'a', ['first']);
      const passing = anEvent({ room: 'a', body: bytes('passing'), expiresAtMs });
      const { seq } = await log().append(passing);
      await appendAll(log(), 'a', ['last']);
      expect((await readAll(log(), ['a'])).map((event) => [text(event), event.expiresAtMs])).toEqual([['first', undefined], ['passing', expiresAtMs], ['last', undefined]]);
      await eventually(() => Date.now() > expiresAtMs);
      const page = await log().read({ ...PAGE, rooms: ['a'] });

      expect(texts(page.events)).toEqual(['first', 'last']);
      expect(gapCovers(page, seq)).toBe(true);
      expect(await log().find(WORKSPACE, passing.id)).toBeUndefined();
      expect(texts((await log().readLast({ workspaceId: WORKSPACE, rooms: ['a'], count: 2, maxBytes: 1_000 })).events)).toEqual(['first', 'last']);
      await log().sweep();
      const swept = await log().read({ ...PAGE, rooms: ['a'], after: first });
      expect(texts(swept.events)).toEqual(['last']);
      expect(gapCovers(swept, seq)).toBe(true);
      expect((await log().read({ ...PAGE, rooms: ['a'], after: seq })).gaps).toEqual([]);
    });

    it('lets an id be used again once its event is gone', async () => {
      const event = anEvent({ room: 'a' });
      const { seq } = await log().append(event);
      log().setRetention(WORKSPACE, [{ pattern: '*', maxAgeMs: 1, maxBytes: null }]);
      await eventually(async () => (await log().sweep()) === 1);

      expect(await log().find(WORKSPACE, event.id)).toBeUndefined();
      const again = await log().append(event);
      expect(again.duplicate ? again.seq === seq : again.seq > seq).toBe(true);
    });
  });

  describe('deleteWorkspace', () => {
    it('deletes its events and consumers, and nobody else\'s', async () => {
      const event = anEvent({ room: 'a' });
      await log().append(event);
      await appendAll(log(), 'a-1', numbered(1_500));
      await appendAll(log(), 'a', ['other'], 'ws-2');
      const { head } = await log().bounds();
      const spec = { workspaceId: WORKSPACE, name: 'c', rooms: ['*'], from: 'start', ackTimeoutMs: 60_000, maxDeliveries: 3, maxInFlight: 10 } as const;
      await (await log().consumer(spec, async () => undefined)).close();
      await log().deleteWorkspace(WORKSPACE);

      expect(await readAll(log(), ['*'])).toEqual([]);
      expect(await log().find(WORKSPACE, event.id)).toBeUndefined();
      expect(await log().consumers(WORKSPACE)).toEqual([]);
      expect(texts(await readAll(log(), ['*'], { workspaceId: 'ws-2' }))).toEqual(['other']);
      expect((await log().bounds()).head).toBe(head);
      await log().deleteWorkspace(WORKSPACE);
      expect((await log().append(event)).seq).toBeGreaterThan(head);
      await reopen();
      expect(await readAll(log(), ['*'])).toHaveLength(1);
    });
  });
}
