import { definitionFaults, EventDefinitionCheck } from '@carillon/access';
import { describe, expect, it } from 'vitest';

import { PAYLOAD_TYPES, readPayload, showPayload } from './definition-payload.ts';

const schemaOf = (payload: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> => {
  const read = readPayload(payload);
  if (!read.ok) throw new Error(`refused: ${read.field}`);
  return read.schema;
};

const SAMPLES: Readonly<Record<string, unknown>> = { text: 'a', small: 7, long: 5_000_000_000, fraction: 1.5, flag: true, object: {}, list: [], nothing: null };
const TAKEN: Readonly<Record<string, readonly string[]>> = {
  string: ['text'], boolean: ['flag'], bool: ['flag'], object: ['object'], array: ['list'], null: ['nothing'],
  integer: ['small'], int: ['small'], long: ['small', 'long'],
  number: ['small', 'long', 'fraction'], float: ['small', 'long', 'fraction'], double: ['small', 'long', 'fraction'],
};

describe('a payload', () => {
  it.each(PAYLOAD_TYPES)('with a field of type %s takes what that type takes, and nothing else', (type) => {
    const schema = schemaOf({ field: type });
    expect(definitionFaults(schema)).toEqual([]);
    const check = new EventDefinitionCheck({ type: 'event-definition', id: 'kd_1', workspaceId: 'default', name: 'order', version: 1, schema });
    const taken = Object.entries(SAMPLES).filter(([, value]) => check.check(Buffer.from(JSON.stringify({ field: value, more: 1 }))).ok).map(([name]) => name);
    expect(taken).toEqual(TAKEN[type]);
    expect(check.check(Buffer.from('{"more":1}')).ok).toBe(false);
  });

  it('comes back with its own words', () => {
    const payload = { id: 'string', total: 'Double', count: 'int', ok: 'bool', constructor: 'string', 'a/b~c': 'object' };
    expect(showPayload(schemaOf(payload))).toEqual(payload);
    expect(showPayload(schemaOf({}))).toEqual({});
  });

  it.each([[{ a: 'date' }, 'a'], [{ a: 'string', b: 7 }, 'b'], [{ a: { b: 'string' } }, 'a'], [{ a: 'toString' }, 'a'], [{ a: '' }, 'a']])('%j is refused by its first bad field', (payload, field) => {
    expect(readPayload(payload)).toEqual({ ok: false, field });
  });

  it('is not believed once its schema has been changed', () => {
    const schema = schemaOf({ id: 'bool' });
    expect(showPayload({ ...schema, properties: { id: { type: 'string' }, n: { type: 'integer' } } })).toEqual({ id: 'string', n: 'long' });
    expect(showPayload({ type: 'object', $comment: 'x-ensync-payload {"a"', properties: { a: true } })).toEqual({ a: 'object' });
  });

  it('is what can be said of any other schema', () => {
    const properties = {
      s: { type: 'string', minLength: 1 }, n: { type: 'number' }, i: { type: 'integer', minimum: 0, maximum: 10 }, l: { type: 'integer', minimum: 0 }, b: { type: ['boolean', 'null'] },
      z: { type: 'null' }, c: { const: 'x' }, e: { enum: ['a', 'b', null] }, m: { type: ['string', 'number'] }, r: { $ref: '#/$defs/x' }, u: {}, a: { type: 'array' },
    };
    expect(showPayload({ type: 'object', properties })).toEqual({ s: 'string', n: 'number', i: 'integer', l: 'long', b: 'boolean', z: 'null', c: 'string', e: 'string', m: 'object', r: 'object', u: 'object', a: 'array' });
    expect(showPayload({ type: 'array' })).toEqual({});
  });
});
