import { describe, expect, it } from 'vitest';
import { specNumbers, specTables, testSources } from './spec.test.fixture.ts';

/** `it('P1 P2: …'`, also behind the cases of an `each`. A test that is skipped holds nothing, and does not match. */
const TITLE = /(?:\b(?:it|describe)|\))\('((?:[A-Z]?\d+ )*[A-Z]?\d+): /g;
const sources = testSources();

describe('SPEC.md and the tests', () => {
  it('name each invariant and rule, both of them', () => {
    const titled = new Set(sources.flatMap((source) => [...source.matchAll(TITLE)].flatMap(([, numbers = '']) => numbers.split(' '))));
    const numbers = specNumbers();
    expect(numbers.filter((number) => !titled.has(number)), 'in SPEC.md and in no title').toEqual([]);
    expect([...titled].filter((number) => !numbers.includes(number)), 'in a title and not in SPEC.md').toEqual([]);
    expect(numbers, 'a number comes once').toEqual([...new Set(numbers)]);
  });

  it('have a walk for each table', () => {
    const walked = new Set(sources.flatMap((source) => [...source.matchAll(/specCells\('([^']+)'\)/g)].map(([, heading]) => heading)));
    expect(specTables().filter((heading) => !walked.has(heading)), 'walked by no test').toEqual([]);
    expect(walked.size, 'tables').toBe(specTables().length);
  });
});
