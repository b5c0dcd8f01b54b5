import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { generatedFiles, MADE_BY } from './generated-files.ts';
import { code, markdownTable } from './markdown-table.ts';
import { ROOT } from './source-text.fixture.ts';
import { differingFiles, writeFiles } from './write-or-check.ts';

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

describe('the generated docs', () => {
  it.each(generatedFiles())('$path is what the code says: run npm run docs', ({ path, text }) => {
    expect(read(path)).toBe(text);
  });

  it('are all that call themselves generated', () => {
    const claiming = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
      .map((name) => `docs/${name}`)
      .filter((path) => path.endsWith('.md') && read(path).startsWith(MADE_BY));
    expect(claiming.sort()).toEqual(generatedFiles().map(({ path }) => path).sort());
  });

  it('show neither undefined nor an empty first cell', () => {
    for (const { text } of generatedFiles()) {
      expect(text).not.toMatch(/undefined|\[object/);
      expect(text).not.toMatch(/^\| *\|/m);
    }
  });
});

describe('npm run docs', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'carillon-docs-'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const files = [{ path: 'docs/a.md', text: 'a\n' }, { path: 'docs/deep/b.md', text: 'b\n' }];

  it('writes what is missing or differs, and nothing else', () => {
    expect(differingFiles(root, files)).toEqual(['docs/a.md', 'docs/deep/b.md']);
    expect(writeFiles(root, files)).toEqual(['docs/a.md', 'docs/deep/b.md']);
    expect(writeFiles(root, files)).toEqual([]);
    writeFileSync(join(root, 'docs/a.md'), 'changed by hand\n');
    expect(differingFiles(root, files)).toEqual(['docs/a.md']);
    expect(writeFiles(root, files)).toEqual(['docs/a.md']);
    expect(differingFiles(root, files)).toEqual([]);
  });
});

describe('a table', () => {
  it('keeps its columns whatever a cell says', () => {
    const table = markdownTable(['a', 'b'], [['x | y', 'one\ntwo'], [code(undefined), code(7)]]);
    expect(table).toBe('| a | b |\n| --- | --- |\n| x \\| y | one two |\n|  | `7` |\n');
  });
});
