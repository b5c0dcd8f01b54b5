import { existsSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';

import { expect, it } from 'vitest';

import { repoRoot } from './repo-root.ts';

it('gives the absolute folder of the workspace', () => {
  expect(isAbsolute(repoRoot())).toBe(true);
  expect(existsSync(join(repoRoot(), 'libs', 'testing', 'package.json'))).toBe(true);
});
