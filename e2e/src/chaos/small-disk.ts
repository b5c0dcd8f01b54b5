import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const BALLAST = 'ballast';
const CHUNKS_BYTES = [1_048_576, 65_536, 4_096];

/** A file system of its own size, in memory, that can be filled up to the last page and emptied again. */
export class SmallDisk {
  readonly dir: string;
  readonly #ballast: string;

  private constructor(dir: string) {
    this.dir = dir;
    this.#ballast = join(dir, BALLAST);
  }

  /** Mounts it there; the folder is made. */
  static mount(dir: string, sizeBytes: number): SmallDisk {
    mkdirSync(dir, { recursive: true });
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'tmpfs', dir], { stdio: 'pipe' });
    } catch (cause) {
      throw new Error('The fault full-disk mounts a small tmpfs, which takes root: run it as root or in a container with CAP_SYS_ADMIN, or leave it out with --faults.', { cause });
    }
    return new SmallDisk(dir);
  }

  /** Leaves no room, whatever the others on it write meanwhile. */
  fill(): void {
    const file = openSync(this.#ballast, 'w');
    try {
      for (const bytes of CHUNKS_BYTES) while (hasTaken(file, Buffer.alloc(bytes)));
    } finally {
      closeSync(file);
    }
  }

  empty(): void {
    rmSync(this.#ballast, { force: true });
  }

  /** Its memory is free when the last process that uses it has ended. */
  unmount(): void {
    execFileSync('umount', ['-l', this.dir], { stdio: 'pipe' });
  }
}

function hasTaken(file: number, chunk: Buffer): boolean {
  try {
    return writeSync(file, chunk) === chunk.length;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return false;
    throw error;
  }
}
