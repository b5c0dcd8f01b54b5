import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import type { GeneratedFile } from './generated-files.ts';

/** Paths of the files under `root` that are missing or not what they should be. */
export function differingFiles(root: string, files: readonly GeneratedFile[]): readonly string[] {
  return files.filter(({ path, text }) => readOrUndefined(join(root, path)) !== text).map(({ path }) => path);
}

/** Writes the files that differ and answers which those were. */
export function writeFiles(root: string, files: readonly GeneratedFile[]): readonly string[] {
  const differing = differingFiles(root, files);
  for (const { path, text } of files) {
    if (!differing.includes(path)) continue;
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return differing;
}

function readOrUndefined(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
