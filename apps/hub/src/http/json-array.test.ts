import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { splitJsonArray } from './json-array.ts';

const split = (text: string): string[] => splitJsonArray(Buffer.from(text)).map((element) => Buffer.from(element).toString());

describe('a JSON list', () => {
  it('is cut into its elements as they are written', () => {
    expect(split('[]')).toEqual([]);
    expect(split(' [ ] ')).toEqual([]);
    expect(split('[1.0, {"a" : [1,2]} ,"],[",\n"\\"]",12345678901234567890]\n')).toEqual(['1.0', '{"a" : [1,2]}', '"],["', '"\\"]"', '12345678901234567890']);
  });

  it('is cut as a parser would, whatever is in it', () => {
    fc.assert(fc.property(fc.array(fc.jsonValue()), fc.constantFrom(undefined, 2, '\t'), (values, space) => {
      expect(split(JSON.stringify(values, null, space)).map((text) => JSON.parse(text) as unknown)).toEqual(JSON.parse(JSON.stringify(values)));
    }));
  });
});
