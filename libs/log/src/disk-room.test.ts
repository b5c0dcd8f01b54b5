import { describe, expect, it } from 'vitest';

import { DiskRoom, sizeOfRecords } from './disk-room.ts';

const MIB = 1024 * 1024;
const PAGES_A_MIB = 256;
const NO_TREE = { treeBranchPageCount: 0, treeLeafPageCount: 0, overflowPages: 0 };

/** A disk with a file on it, both as large as a test says. */
function aDisk(): { readonly room: DiskRoom; free: number; fileMib: number; usedMib: number } {
  const disk = { free: 0, fileMib: 64, usedMib: 64 };
  const stats = (): object => ({ ...NO_TREE, pageSize: 4_096, treeLeafPageCount: disk.usedMib * PAGES_A_MIB - 3, lastPageNumber: disk.fileMib * PAGES_A_MIB - 1, root: { ...NO_TREE, treeLeafPageCount: 1 }, free: NO_TREE });
  return Object.assign(disk, { room: new DiskRoom([{ getStats: stats }], () => disk.free) });
}

const SMALL = sizeOfRecords([300]);

describe('the room on a disk', () => {
  it('takes events while the reserve stays free, and then only what gives room back', () => {
    const disk = aDisk();
    disk.free = 100 * MIB;
    expect([disk.room.fitsAppends(SMALL), disk.room.fits(SMALL)]).toEqual([true, true]);
    disk.free = 16 * MIB;
    expect([disk.room.fitsAppends(SMALL), disk.room.fits({ entries: 512, bytes: 0, longBytes: 0 })]).toEqual([false, true]);
    disk.free = 0;
    expect([disk.room.fitsAppends(SMALL), disk.room.fits(SMALL)]).toEqual([false, false]);
    disk.free = Infinity;
    expect(disk.room.fitsAppends(SMALL)).toBe(true);
  });

  it('counts what a large commit may copy, and no more than the file has', () => {
    const many = { entries: 10_000, bytes: 3 * MIB, longBytes: 0 };
    const disk = aDisk();
    disk.free = 80 * MIB;
    expect(disk.room.fitsAppends(many)).toBe(false);
    disk.fileMib = disk.usedMib = 8;
    expect(disk.room.fitsAppends(many)).toBe(true);
  });

  it('takes events for half of what is free inside of the file, once that was so before the last commit', () => {
    const disk = aDisk();
    disk.free = 14 * MIB;
    expect(disk.room.fits(SMALL)).toBe(true);
    disk.usedMib = 40;
    // What the last commit has freed is not reused by the next.
    expect(disk.room.fitsAppends(SMALL)).toBe(false);
    expect(disk.room.fits(SMALL)).toBe(true);
    expect(disk.room.fitsAppends(SMALL)).toBe(true);
    // Pages side by side need not be among those; half the reserve is never lent.
    expect(disk.room.fitsAppends(sizeOfRecords([7 * MIB]))).toBe(false);
    disk.free = 7 * MIB;
    expect(disk.room.fitsAppends(SMALL)).toBe(false);
  });
});
