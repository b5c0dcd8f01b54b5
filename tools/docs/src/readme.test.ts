import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { repoRoot } from '@carillon/testing';
import { describe, expect, it } from 'vitest';

const read = (path: string): string => readFileSync(join(repoRoot(), path), 'utf8');
const readme = read('README.md');

describe('the README', () => {
  it('shows the examples that run', () => {
    expect(readme).toContain(`\`\`\`js\n${read('examples/messenger.mjs')}\`\`\`\n`);
    expect(readme).toContain(`\`\`\`sh\n${read('examples/access.sh')}\`\`\`\n`);
  });

  it('names only scripts that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = [...readme.matchAll(/npm run ([a-z:]+)/g)].map(([, name]) => name);
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((name) => name === undefined || !Object.hasOwn(scripts, name))).toEqual([]);
  });

  it('links only to files that exist', () => {
    const links = [...readme.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(([, path]) => path as string);
    expect(links.length).toBeGreaterThan(5);
    for (const path of links) expect(() => read(path.endsWith('/') ? `${path}0001-workspace.md` : path), path).not.toThrow();
  });
});
