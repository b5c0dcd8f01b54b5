import { matchesPattern, patternFault } from '@carillon/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const { href } = new URL('../page/pattern.js', import.meta.url);
const page = (await import(href)) as { readonly matchesPattern: typeof matchesPattern };

const text = (alphabet: string): fc.Arbitrary<string> => fc.string({ unit: fc.constantFrom(...alphabet), minLength: 1, maxLength: 12 });

describe('the page\'s own matching of patterns', () => {
  it('decides as the hub does', () => {
    fc.assert(fc.property(text('ab-/*').filter((pattern) => patternFault(pattern) === undefined), text('ab-/'), (pattern, room) => {
      expect(page.matchesPattern(pattern, room)).toBe(matchesPattern(pattern, room));
    }), { numRuns: 5_000 });
  });
});
