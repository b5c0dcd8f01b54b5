import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { keepSecret, readSecret } from './secret-file.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'carillon-secret-'));
});

afterEach(() => rm(folder, { recursive: true }));

describe('a secret file', () => {
  it('is for this user alone, in a folder for this user alone', async () => {
    const path = join(folder, 'data', 'secret');
    await keepSecret(path, 'hush');
    expect(await readSecret(path)).toBe('hush');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(folder, 'data'))).mode & 0o777).toBe(0o700);
    expect(await readdir(join(folder, 'data'))).toEqual(['secret']);
  });

  it('takes the place of one that others could read', async () => {
    const path = join(folder, 'secret');
    await writeFile(path, 'old', { mode: 0o644 });
    await keepSecret(path, 'new');
    expect([await readSecret(path), (await stat(path)).mode & 0o777]).toEqual(['new', 0o600]);
  });

  it('that is not there is undefined', async () => {
    expect(await readSecret(join(folder, 'none'))).toBeUndefined();
  });
});
