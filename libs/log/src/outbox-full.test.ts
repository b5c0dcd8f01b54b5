import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { openOutbox, type Outbox } from './outbox.ts';

const SMALL = '3m';
const LARGE = '16m';
const BATCH = 100;

// A file system of a size of its own is mounted: it takes root (or CAP_SYS_ADMIN), as in a container of the pipeline.
describe('an outbox whose disk is full', { timeout: 180_000 }, () => {
  let root: string;
  let isMounted = false;
  let outbox: Outbox;
  const open = (): Promise<Outbox> => openOutbox({ dir: join(root, 'outbox'), log: { warn: () => undefined }, maxBytes: 1_000_000_000, overflow: 'drop-oldest' });

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'outbox-full-'));
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${SMALL}`, 'tmpfs', root], { stdio: 'pipe' });
    } catch (cause) {
      throw new Error('This test mounts a small tmpfs, which takes root: run it as root or in a container with CAP_SYS_ADMIN.', { cause });
    }
    isMounted = true;
    outbox = await open();
  });
  afterEach(async () => {
    if (isMounted) {
      await outbox.close();
      execFileSync('umount', [root]);
    }
    isMounted = false;
    await rm(root, { recursive: true, force: true });
  });

  const append = async (round: number): Promise<{ readonly kept: string[]; readonly codes: unknown[] }> => {
    const ids = Array.from({ length: BATCH }, (_, index) => `id-${round}-${index}`);
    const outcomes = await Promise.allSettled(ids.map((id) => outbox.append({ id, frame: Buffer.concat([Buffer.from('R\n'), Buffer.alloc(700, id)]), tagEnd: 1, recordedAtMs: 0 })));
    return {
      kept: ids.filter((_, index) => outcomes[index]?.status === 'fulfilled'),
      codes: outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [(outcome.reason as { readonly code: unknown }).code] : [])),
    };
  };
  const ids = (): string[] => {
    const all: string[] = [];
    for (let after = 0; ; ) {
      const page = outbox.next(after, 1_000);
      if (page.length === 0) return all;
      all.push(...page.map(({ id }) => id));
      after = page.at(-1)?.key ?? 0;
    }
  };

  it('can be drained though it has filled its disk, and takes events again then', async () => {
    for (let round = 0, codes: unknown[] = []; codes.length === 0; round += 1) codes = (await append(round)).codes;
    for (let page = outbox.next(0, BATCH); page.length > 0; page = outbox.next(0, BATCH)) await outbox.settle(page.map(({ key }) => key));
    expect(outbox.frames).toBe(0);

    const again: string[] = [];
    for (let round = 100; again.length < 2 * BATCH && round < 110; round += 1) again.push(...(await append(round)).kept);
    expect(again.length).toBeGreaterThanOrEqual(2 * BATCH);
    expect(ids()).toEqual(again);
  });

  it('refuses, keeps what it said it has and nothing else, and goes on when there is room', async () => {
    const kept: string[] = [];
    const codes: unknown[] = [];
    for (let round = 0; codes.length === 0 && round < 100; round += 1) {
      const outcome = await append(round);
      kept.push(...outcome.kept);
      codes.push(...outcome.codes);
    }
    expect(new Set(codes)).toEqual(new Set(['UPSTREAM_QUEUE_FULL']));
    expect(ids()).toEqual(kept);
    expect([outbox.frames, outbox.counts.refused]).toEqual([kept.length, codes.length]);
    // What leaves goes all the same: the reserve is for that.
    const settled = outbox.next(0, 10).map(({ key }) => key);
    await outbox.settle(settled);
    expect(outbox.frames).toBe(kept.length - settled.length);

    execFileSync('mount', ['-o', `remount,size=${LARGE}`, root]);
    const again = await append(100);
    expect(again.codes).toEqual([]);
    kept.push(...again.kept);
    await outbox.close();
    outbox = await open();
    expect(ids()).toEqual(kept.slice(settled.length));
  });
});
