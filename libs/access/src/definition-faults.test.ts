import { describe, expect, it } from 'vitest';

import { definitionFaults } from './index.ts';

const nested = (levels: number): Record<string, unknown> => (levels === 0 ? {} : { not: nested(levels - 1) });
const pointers = (schema: unknown) => definitionFaults(schema).map(({ pointer }) => pointer);

describe('a schema that is fit', () => {
  it.each([
    [{}],
    [{ $schema: 'https://json-schema.org/draft/2020-12/schema', $id: 'https://rooms.example/power', title: 'Power', type: 'object', properties: { key: { const: 'power' }, value: { enum: ['on', 'off'] } }, required: ['key', 'value'] }],
    [{ $defs: { level: { type: 'integer', minimum: 0, maximum: 100 }, 'a/b~c': { $anchor: 'named', type: 'string' } }, properties: { level: { $ref: '#/$defs/level' }, other: { $ref: '#/$defs/a~1b~0c' }, third: { $ref: '#named' } } }],
    [{ definitions: { old: true }, items: { $ref: '#/definitions/old' } }],
    [{ prefixItems: [{ type: 'string' }, true], items: false, unevaluatedItems: false, contains: { type: 'string' }, minContains: 1 }],
    [{ if: { required: ['a'] }, then: { required: ['b'] }, else: { required: ['c'] }, dependentRequired: { a: ['b'] }, dependentSchemas: { a: { minProperties: 2 } } }],
    [{ pattern: '^[A-Z]{2,5}-\\d+$', patternProperties: { '^x-': { type: 'string', format: 'whatever' } }, propertyNames: { maxLength: 64 }, unevaluatedProperties: false }],
    [{ type: 'array', uniqueItems: true, maxItems: 1_000 }],
    [{ properties: { nullable: {}, $ref: { type: 'string' }, toString: { type: 'string' } }, examples: [{ custom: 1 }], default: { $ref: 'http://x' }, const: { pattern: '(' } }],
    [nested(31)],
  ])('has no faults: %j', (schema) => expect(definitionFaults(schema)).toEqual([]));
});

describe('a schema that is unfit', () => {
  it.each([
    ['another dialect', { $schema: 'http://json-schema.org/draft-07/schema#' }, ['/$schema']],
    ['a reference elsewhere', { properties: { a: { $ref: 'https://rooms.example/other' } } }, ['/properties/a/$ref']],
    ['a reference to a file', { $ref: 'other.json#/x' }, ['/$ref']],
    ['a reference to the metaschema', { $ref: 'https://json-schema.org/draft/2020-12/schema' }, ['/$ref']],
    ['a reference to nothing', { $ref: '#/$defs/none' }, ['/$ref']],
    ['a reference to what is no schema', { $ref: '#/examples/0', examples: [{ pattern: '(a+)+' }] }, ['/$ref']],
    ['a reference to itself', { $ref: '#' }, ['/$ref']],
    ['a reference back by another', { $defs: { a: { allOf: [{ $ref: '#/$defs/b' }] }, b: { anyOf: [{ $ref: '#/$defs/a' }] } }, $ref: '#/$defs/a' }, ['/$defs/b/anyOf/0/$ref']],
    ['a schema that holds itself', { items: { $ref: '#' } }, ['/items/$ref']],
    ['an id inside', { $defs: { a: { $id: 'https://rooms.example/a' } } }, ['/$defs/a/$id']],
    ['$dynamicRef', { $dynamicRef: '#x', $defs: { a: { $dynamicAnchor: 'x' } } }, ['/$dynamicRef', '/$defs/a/$dynamicAnchor']],
    ['$recursiveRef', { $recursiveRef: '#' }, ['/$recursiveRef']],
    ['a keyword of its own', { properties: { a: { 'x-custom': 1 } } }, ['/properties/a/x-custom']],
    ['keywords of Ajv', { $async: true, nullable: true }, ['/$async', '/nullable']],
    ['dependencies', { dependencies: { a: ['b'] } }, ['/dependencies']],
    ['an expression that repeats a repetition', { pattern: '(a+)+$' }, ['/pattern']],
    ['an expression as a name', { patternProperties: { '(x*)*': true } }, ['/patternProperties/(x*)*']],
    ['an expression that is none', { properties: { 'a/b': { pattern: '(' } } }, ['/properties/a~1b/pattern']],
    ['look-around', { pattern: '^(?!x)' }, ['/pattern']],
    ['a back reference', { pattern: '(a)\\1' }, ['/pattern']],
    ['unique items without a bound', { uniqueItems: true }, ['/uniqueItems']],
    ['unique items with a large bound', { uniqueItems: true, maxItems: 1_001 }, ['/uniqueItems']],
    ['a bound that is none', { minLength: -1 }, ['/minLength']],
    ['no schema where one belongs', { items: 7 }, ['/items']],
    ['a text for a list', { required: 'a' }, ['/required']],
    ['an id that is none', { $id: 7 }, ['/$id']],
  ])('has %s', (_, schema, expected) => expect(pointers(schema)).toEqual(expected));

  it('has a type that there is not', () => expect(pointers({ properties: { a: { type: 'text' } } })).toContain('/properties/a/type'));

  it.each([[undefined], [null], [7], ['x'], [[]], [true]])('is %j', (schema) => expect(definitionFaults(schema)).toEqual([{ pointer: '', detail: 'must be an object' }]));

  it('is too deep, too large or of too many parts', () => {
    const wide = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, at) => [`p${at}`, {}]));
    expect(definitionFaults(nested(32))).toEqual([{ pointer: '', detail: 'is nested more than 32 levels deep' }]);
    expect(definitionFaults(nested(3_000))).toHaveLength(1);
    expect(definitionFaults({ description: 'é'.repeat(33_000) })).toEqual([{ pointer: '', detail: 'is larger than 65536 bytes' }]);
    expect([definitionFaults({ properties: wide(999) }), definitionFaults({ properties: wide(1_000) })]).toEqual([[], [{ pointer: '', detail: 'has more than 1000 subschemas' }]]);
  });

  it('doubles with each of its references', () => {
    const link = (at: number): readonly [string, unknown] => [`d${at}`, at === 20 ? {} : { allOf: [{ $ref: `#/$defs/d${at + 1}` }, { $ref: `#/$defs/d${at + 1}` }] }];
    expect(definitionFaults({ $defs: Object.fromEntries(Array.from({ length: 21 }, (_, at) => link(at))) as unknown, $ref: '#/$defs/d0' })).toEqual([{ pointer: '', detail: 'has more than 10000 subschemas when its references are written out' }]);
  });

  it('lists 20 faults at most', () => {
    expect(definitionFaults({ properties: Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`p${at}`, { nullable: true }])) })).toHaveLength(20);
  });
});
