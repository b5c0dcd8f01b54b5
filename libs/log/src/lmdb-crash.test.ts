import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { eventually } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { startChild, type Child } from './child.fixture.ts';
import type { EventLog } from './event-log.ts';
import { openLmdbLog } from './lmdb-log.ts';

const ROUNDS = 4;
const quiet = { warn: () => undefined };

describe('a process that is killed', { timeout: 240_000 }, () => {
  let dir: string;
  let child: Child | undefined;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'log-crash-'));
  });
  afterEach(async () => {
    await child?.kill();
    await rm(dir, { recursive: true, force: true });
  });

  const check = async (log: EventLog, lines: readonly string[]): Promise<void> => {
    for (const line of lines.filter((one) => one.startsWith('a '))) {
      const [, seq, id = ''] = line.split(' ');
      const event = await log.find('w', id);
      expect([id, event?.seq, event && Buffer.from(event.body).toString()]).toEqual([id, Number(seq), id.repeat(20)]);
    }
  };

  it(`loses nothing that was acked, ${ROUNDS} times`, async () => {
    const acked = new Set<number>();
    let appended = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      child = startChild('append-until-killed.fixture.ts', [dir, `round-${round}`]);
      await child.prints('ready');
      const enough = 200 + 400 * (round % 4);
      await eventually(() => (child?.lines().length ?? 0) > enough, { timeoutMs: 60_000, intervalMs: 1 });
      await child.kill();
      const lines = child.lines();
      for (const line of lines) if (line.startsWith('c ')) acked.add(Number(line.slice(2)));
      const log = await openLmdbLog({ dir, log: quiet });
      await check(log, lines);
      appended += lines.filter((line) => line.startsWith('a ')).length;
      await log.close();
    }
    const log = await openLmdbLog({ dir, log: quiet });
    const last = new Map<string, number>();
    let read = 0;
    for (let after = 0, isLast = false; !isLast; ) {
      const page = await log.read({ workspaceId: 'w', rooms: ['*'], after, maxEvents: 512, maxBytes: 1024 * 1024 });
      expect(page.gaps).toEqual([]);
      for (const { room, seq, prevSeq } of page.events) {
        expect(prevSeq).toBe(last.get(room) ?? 0);
        last.set(room, seq);
      }
      read += page.events.length;
      ({ next: after, isLast } = page);
    }
    expect(read).toBeGreaterThanOrEqual(appended);
    expect(acked.size).toBeGreaterThan(0);

    const consumer = await log.consumer({ workspaceId: 'w', name: 'c', rooms: ['*'], from: 'start', ackTimeoutMs: 60_000, maxDeliveries: 1_000, maxInFlight: 500 }, async () => undefined);
    const owed = (await consumer.info()).pending;
    const delivered: number[] = [];
    while (delivered.length < owed) {
      const deliveries = await consumer.pull(100, AbortSignal.timeout(60_000));
      expect(deliveries.length).toBeGreaterThan(0);
      delivered.push(...deliveries.map(({ event }) => event.seq));
      await Promise.all(deliveries.map((delivery) => delivery.ack()));
    }
    expect(delivered.filter((seq) => acked.has(seq))).toEqual([]);
    expect(new Set(delivered).size).toBe(delivered.length);
    expect(delivered.length + acked.size).toBeLessThanOrEqual(read);
    expect(await consumer.info()).toMatchObject({ pending: 0, inFlight: 0 });
    await log.close();
  });

  it('has its log alone, and leaves no lock behind', async () => {
    child = startChild('append-until-killed.fixture.ts', [dir, 'owner']);
    await child.prints('ready');
    await expect(openLmdbLog({ dir, log: quiet })).rejects.toMatchObject({ name: 'LogError', code: 'LOG_UNAVAILABLE', message: expect.stringMatching(/open in another process/) as unknown });
    await child.kill();
    const log = await openLmdbLog({ dir, log: quiet });
    await expect(openLmdbLog({ dir, log: quiet })).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await log.close();
    await (await openLmdbLog({ dir, log: quiet })).close();
  });

  it('leaves its log to one of those who come for it', async () => {
    child = startChild('append-until-killed.fixture.ts', [dir, 'owner']);
    await child.prints('ready');
    await child.kill();
    const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => openLmdbLog({ dir, log: quiet })));
    const opened = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));

    expect(opened).toHaveLength(1);
    await Promise.all(opened.map((log) => log.close()));
  });
});
