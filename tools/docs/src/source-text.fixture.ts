import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

// The repository as the tests of the docs read it: source files by kind, without their comments.

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

const COMMENTS = /\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm;
const TEST = /\.(?:test|fixture|conformance)\.ts$/;

export interface SourceFile {
  /** From the repository's root. */
  readonly path: string;
  readonly text: string;
}

/** Every `*.test.ts` of libs, apps and e2e. */
export function testFiles(): readonly SourceFile[] {
  return sourceFiles(['libs', 'apps', 'e2e']).filter(({ path }) => path.endsWith('.test.ts'));
}

/** What runs: the sources of libs and apps that are not tests. */
export function productFiles(): readonly SourceFile[] {
  return sourceFiles(['libs', 'apps']).filter(({ path }) => !TEST.test(path));
}

function sourceFiles(folders: readonly string[]): readonly SourceFile[] {
  return folders
    .flatMap((folder) => readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(ROOT, folder, name)))
    .filter((path) => /\/src\/.*\.ts$/.test(path) && !/\/(?:node_modules|dist)\//.test(path))
    .map((path) => ({ path: relative(ROOT, path), text: readFileSync(path, 'utf8').replace(COMMENTS, '') }));
}

/** Whether a file has the word, not as a part of a longer one. */
export function mentions({ text }: SourceFile, word: string): boolean {
  return new RegExp(`(?<![\\w-])${word}(?![\\w-])`).test(text);
}
