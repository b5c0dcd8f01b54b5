import { execFileSync } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { startChild } from './child.fixture.ts';
import type { EventLog, StoredEvent } from './event-log.ts';
import { openLmdbLog } from './lmdb-log.ts';

const SMALL = '3m';
const LARGE = '16m';
const ROOMY = '24m';
const BATCH = 100;

// A file system of a size of its own is mounted: it takes root (or CAP_SYS_ADMIN), as in a container of the pipeline.
describe('a log whose disk is full', { timeout: 180_000 }, () => {
  let root: string;
  let isMounted = false;
  let dir: string;
  let log: EventLog;
  const open = (): Promise<EventLog> => openLmdbLog({ dir, log: { warn: () => undefined } });

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'log-full-'));
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${SMALL}`, 'tmpfs', root], { stdio: 'pipe' });
    } catch (cause) {
      throw new Error('This test mounts a small tmpfs, which takes root: run it as root or in a container with CAP_SYS_ADMIN.', { cause });
    }
    isMounted = true;
    dir = join(root, 'log');
    log = await open();
  });
  afterEach(async () => {
    if (isMounted) {
      await log.close();
      execFileSync('umount', [root]);
    }
    isMounted = false;
    await rm(root, { recursive: true, force: true });
  });

  const append = async (round: number): Promise<{ readonly stored: string[]; readonly codes: unknown[] }> => {
    const ids = Array.from({ length: BATCH }, (_, index) => `id-${round}-${index}`);
    const outcomes = await Promise.allSettled(ids.map((id) => log.append({ workspaceId: 'w', room: 'r', id, atMs: 0, fields: '', body: Buffer.alloc(700, id) })));
    return {
      stored: ids.filter((_, index) => outcomes[index]?.status === 'fulfilled'),
      codes: outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [(outcome.reason as { readonly code: unknown }).code] : [])),
    };
  };
  const read = async (): Promise<readonly StoredEvent[]> => {
    const page = await log.read({ workspaceId: 'w', rooms: ['r'], after: 0, maxEvents: 1_000_000, maxBytes: 100_000_000 });
    expect(page.gaps).toEqual([]);
    return page.events;
  };

  const fill = async (): Promise<string[]> => {
    const stored: string[] = [];
    for (let round = 1; ; round += 1) {
      const outcome = await append(round);
      stored.push(...outcome.stored);
      if (outcome.codes.length > 0) return stored;
    }
  };

  it('takes events again once a sweep has made room inside of its file, also after it was opened again', async () => {
    // Large enough that what the sweep frees is more than what a commit may copy.
    execFileSync('mount', ['-o', `remount,size=${ROOMY}`, root]);
    await fill();
    log.setRetention('w', [{ pattern: 'r', maxAgeMs: null, maxBytes: BATCH * 800 }]);
    expect(await log.sweep()).toBeGreaterThan(BATCH);
    await log.close();
    log = await open();

    const stored: string[] = [];
    for (let round = 1_000; stored.length < 5 * BATCH && round < 1_010; round += 1) stored.push(...(await append(round)).stored);
    expect(stored.length).toBe(5 * BATCH);
    const page = await log.readLast({ workspaceId: 'w', rooms: ['r'], count: stored.length, maxBytes: 100_000_000 });
    expect(page.events.map(({ id }) => id)).toEqual(stored);
  });

  it('does not end its process when others have taken the last page, and goes on when they give it back', async () => {
    await log.close();
    const child = startChild('append-beside-ballast.fixture.ts', [dir, root]);
    const { code, errors } = await child.ended();
    // What LMDB says before it damages the heap, which may pass unnoticed.
    expect(errors).not.toContain('Write error');
    expect(code).toBe(0);
    expect(child.lines()).toEqual(['full: LOG_FULL UPSTREAM_QUEUE_FULL', 'after: log outbox']);
    log = await open();
    expect((await read()).map(({ id }) => id)).toEqual(['before', 'after']);
  });

  it('is opened when it is there, and not made when it is not', async () => {
    await append(1);
    await log.close();
    const ballast = join(root, 'ballast');
    const fillUp = (): void => {
      for (;;) appendFileSync(ballast, Buffer.alloc(4_096));
    };
    expect(fillUp).toThrow(/ENOSPC/);

    await expect(openLmdbLog({ dir: join(root, 'other'), log: { warn: () => undefined } })).rejects.toMatchObject({ code: 'LOG_FULL' });
    log = await open();
    expect(await read()).toHaveLength(BATCH);
    expect((await append(2)).codes).toEqual(Array.from({ length: BATCH }, () => 'LOG_FULL'));
    await rm(ballast);
    expect((await append(2)).codes).toEqual([]);
  });

  it('says LOG_FULL, keeps what was acked and nothing else, and goes on when there is room', async () => {
    const stored: string[] = [];
    const codes: unknown[] = [];
    let round = 0;
    while (codes.length === 0 && round < 100) {
      const outcome = await append((round += 1));
      stored.push(...outcome.stored);
      codes.push(...outcome.codes);
    }
    const full = await append((round += 1));

    expect(new Set([...codes, ...full.codes])).toEqual(new Set(['LOG_FULL']));
    stored.push(...full.stored);
    expect((await read()).map(({ id }) => id)).toEqual(stored);

    execFileSync('mount', ['-o', `remount,size=${LARGE}`, root]);
    const again = await append(round);
    expect(again.codes).toEqual([]);
    const all = [...stored, ...again.stored.filter((id) => !stored.includes(id))];
    expect((await read()).map(({ id }) => id)).toEqual(all);
    await log.close();
    log = await open();
    const events = await read();
    expect(events.map(({ id }) => id)).toEqual(all);
    expect(events.map(({ prevSeq }) => prevSeq)).toEqual([0, ...events.slice(0, -1).map(({ seq }) => seq)]);
  });
});
