import { appendFileSync, statfsSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { SmallDisk } from './small-disk.ts';

const DISK_BYTES = 3 * 1_048_576;

let root: string;
let disk: SmallDisk;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'small-disk-'));
  disk = SmallDisk.mount(join(root, 'disk'), DISK_BYTES);
});
afterEach(async () => {
  disk.unmount();
  await rm(root, { recursive: true, force: true });
});

describe('a small disk', () => {
  it('has no room for anybody once it is filled, and has it again', () => {
    const file = join(disk.dir, 'file');
    writeFileSync(file, 'before');
    for (let round = 0; round < 2; round += 1) {
      disk.fill();
      expect(statfsSync(disk.dir).bavail).toBe(0);
      expect(() => appendFileSync(file, Buffer.alloc(8_192))).toThrow(/ENOSPC/);
      disk.empty();
      appendFileSync(file, Buffer.alloc(8_192));
    }
  });
});
