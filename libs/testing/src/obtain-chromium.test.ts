import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { obtainChromium } from './obtain-chromium.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'carillon-obtain-'));
  vi.stubEnv('CARILLON_CHROMIUM_BIN', '');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

async function fakeProgram(name: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, '#!/bin/sh\n');
  await chmod(path, 0o755);
  return path;
}

// Installing it is left to the page tests: these must not change the machine.
describe('obtainChromium', () => {
  it('prefers the program that CARILLON_CHROMIUM_BIN names', async () => {
    const path = await fakeProgram('my-browser');
    vi.stubEnv('CARILLON_CHROMIUM_BIN', path);

    expect(await obtainChromium()).toBe(path);
  });

  it('refuses a named program that does not exist', async () => {
    vi.stubEnv('CARILLON_CHROMIUM_BIN', join(folder, 'absent'));

    await expect(obtainChromium()).rejects.toThrow(/is not a program; correct it or unset it/);
  });

  it.each(['chromium', 'chromium-browser', 'google-chrome'])('takes %s from PATH', async (name) => {
    const path = await fakeProgram(name);
    vi.stubEnv('PATH', folder);

    expect(await obtainChromium()).toBe(path);
  });
});
