import { mkdtemp, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { withFileLock } from './file-lock.ts';
import { startProcess } from './owned-process.ts';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'carillon-lock-'));
  path = join(folder, 'inner', 'lock');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('withFileLock', () => {
  it('lets one in at a time', async () => {
    let inside = 0;
    const most: number[] = [];
    const work = async () => {
      inside += 1;
      most.push(inside);
      await turn();
      inside -= 1;
    };
    await Promise.all(Array.from({ length: 5 }, () => withFileLock(path, work)));

    expect(most).toEqual([1, 1, 1, 1, 1]);
  });

  it('gives the lock back when the work fails', async () => {
    await expect(withFileLock(path, () => Promise.reject(new Error('no')))).rejects.toThrow('no');

    expect(await withFileLock(path, async () => 'yes')).toBe('yes');
    await expect(stat(path)).rejects.toThrow(/ENOENT/);
  });

  it('takes over the lock of a process that died', async () => {
    await withFileLock(path, async () => undefined);
    const dead = await startProcess(['true'], { cwd: folder, env: process.env });
    await dead.exited;
    await writeFile(path, `${dead.pid}\n`);

    expect(await withFileLock(path, async () => 'mine')).toBe('mine');
  });

  it('takes over a lock that is too old to be true', async () => {
    await withFileLock(path, async () => undefined);
    await writeFile(path, `${process.pid}\n`);
    const longAgo = new Date(Date.now() - 60 * 60_000);
    await utimes(path, longAgo, longAgo);

    expect(await withFileLock(path, async () => 'mine')).toBe('mine');
  });
});
