import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), 'utf8');
const SPEC = read('../SPEC.md');

/** A cell of a table of SPEC.md in which something happens. */
export interface SpecCell {
  readonly row: string;
  readonly event: string;
  readonly cell: string;
}

const columns = (line: string): string[] => line.split('|').slice(1, -1).map((text) => text.trim().replaceAll('`', ''));

/** The cells of the table under a heading, `-` left out. Rows go by what stands before their brackets. */
export function specCells(heading: string): SpecCell[] {
  const section = SPEC.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? '';
  const [head, , ...rows] = section.split('\n').filter((line) => line.startsWith('|')).map(columns);
  if (head === undefined) throw new Error(`SPEC.md has no table under "${heading}"`);
  return rows.flatMap(([row = '', ...cells]) => cells.map((cell, index) => ({ row: row.replace(/ \(.*\)$/, ''), event: head[index + 1] ?? '', cell }))).filter(({ cell }) => cell !== '-');
}

/** What a walk does about a row or a column; one that SPEC.md has and the walk has not is a mistake of the walk. */
export function known<T>(all: Readonly<Record<string, T>>, name: string): T {
  const found = all[name];
  if (found === undefined) throw new Error(`SPEC.md says "${name}", and nobody walks there`);
  return found;
}

/** The headings of all tables. */
export const specTables = (): string[] => SPEC.split(/^## /m).filter((text) => /^\|/m.test(text)).map((text) => text.slice(0, text.indexOf('\n')));

/** The numbers of all invariants and rules. */
export const specNumbers = (): string[] => [...SPEC.matchAll(/^([A-Z]?\d+)\. /gm)].map(([, number = '']) => number);

/** The package's tests, as text. */
export const testSources = (): string[] => readdirSync(fileURLToPath(new URL('.', import.meta.url))).filter((file) => file.endsWith('.test.ts')).map((file) => read(file));
