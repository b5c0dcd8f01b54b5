import { describe, expect, it } from 'vitest';

import { EventDefinitionCheck, type AccessLog } from './index.ts';
import { definitionEntry } from './records.fixture.ts';

const body = (value: unknown) => Buffer.from(JSON.stringify(value));
const power = { type: 'object', properties: { value: { enum: ['on', 'off'] }, level: { type: 'integer', minimum: 0 } }, required: ['value'], additionalProperties: false };

describe('an event', () => {
  const check = new EventDefinitionCheck(definitionEntry(power));

  it('fits its definition', () => expect(check.check(body({ value: 'on', level: 3 }))).toEqual({ ok: true }));

  it.each([
    [{}, '', "must have required property 'value'"],
    [{ value: 'dim' }, '/value', 'must be equal to one of the allowed values'],
    [{ value: 'on', level: 1.5 }, '/level', 'must be integer'],
    [{ value: 'on', x: 1 }, '', 'must NOT have additional properties: x'],
    [[], '', 'must be object'],
  ])('does not fit, and is told where: %j', (event, pointer, detail) => expect(check.check(body(event))).toEqual({ ok: false, faults: [{ pointer, detail }] }));

  it.each([['', 'JSON_INVALID'], ['{', 'JSON_INVALID'], ['{"__proto__":1}', 'JSON_KEY_FORBIDDEN'], ['['.repeat(100), 'JSON_TOO_DEEP']])('does not fit when it is no JSON that is read: %s', (text, code) => {
    expect(check.check(Buffer.from(text))).toMatchObject({ ok: false, faults: [{ pointer: '', detail: expect.stringContaining(code) as string }] });
  });

  it('does not have what every object inherits', () => {
    expect(new EventDefinitionCheck(definitionEntry({ required: ['toString'] })).check(body({})).ok).toBe(false);
  });

  it('is checked against each of several expressions by itself', () => {
    const several = new EventDefinitionCheck(definitionEntry({ properties: { a: { pattern: '^a+$' }, b: { pattern: '^b+$' } }, patternProperties: { '^x-': { type: 'number' } } }));
    expect([{ a: 'aa', b: 'bb', 'x-1': 1 }, { a: 'bb' }, { b: 'aa' }, { 'x-1': 'x' }].map((event) => several.check(body(event)).ok)).toEqual([true, false, false, false]);
  });

  it('has at most 20 faults', () => {
    const alternatives = Array.from({ length: 50 }, (_, at) => ({ required: [`p${at}`] }));
    const answer = new EventDefinitionCheck(definitionEntry({ anyOf: alternatives })).check(body({}));
    expect(answer.ok ? [] : answer.faults).toHaveLength(20);
  });

  it('is not matched for ever, and does not fit when that would take too long', () => {
    const slow = new EventDefinitionCheck(definitionEntry({ items: { pattern: '^(a|a|a|a)*$' } }));
    expect(slow.check(body(['aaa']))).toEqual({ ok: true });
    const startedMs = performance.now();
    expect(slow.check(body(Array.from({ length: 15 }, () => 'a'.repeat(60_000))))).toEqual({ ok: false, faults: [{ pointer: '', detail: 'has texts that are too long for the patterns of the definition' }] });
    expect(performance.now() - startedMs).toBeLessThan(2_000);
    expect(slow.check(body(['aaa']))).toEqual({ ok: true });
  });
});

describe('a definition that is unfit', () => {
  it.each([[{ $ref: '#' }], [{ type: 'text' }], [{ pattern: '(a+)+' }], [{ $ref: 'https://rooms.example/x' }], [{ $async: true, required: ['a'] }]])('lets every event pass, and says so once: %j', (schema) => {
    const lines: Parameters<AccessLog>[0][] = [];
    const check = new EventDefinitionCheck(definitionEntry(schema), (line) => lines.push(line));
    expect(lines).toEqual([]);
    expect([check.check(body({})), check.check(Buffer.from('no JSON'))]).toEqual([{ ok: true }, { ok: true }]);
    expect(lines).toMatchObject([{ level: 'error', fields: { workspaceId: 'w1', definition: 'd1', name: 'power', version: 1 } }]);
  });
});

describe('definitions that share an id', () => {
  it('do not meet', () => {
    const $id = 'https://rooms.example/power';
    const [first, second] = [new EventDefinitionCheck(definitionEntry({ $id, type: 'object' })), new EventDefinitionCheck(definitionEntry({ $id, type: 'array' }, { workspaceId: 'w2' }))];
    expect([first.check(body({})).ok, first.check(body([])).ok, second.check(body({})).ok, second.check(body([])).ok]).toEqual([true, false, false, true]);
  });
});
