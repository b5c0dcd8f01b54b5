import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Absolute path of the repository: the nearest folder above this file that holds `nx.json`. */
export function repoRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'nx.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('No nx.json lies above @carillon/testing: it works inside a checkout of the repository only.');
    folder = parent;
  }
  return folder;
}
