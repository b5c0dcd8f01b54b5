import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { eventNameOf, possibleEventNames } from './index.ts';

const nameOf = (text: string) => eventNameOf(Buffer.from(text));

describe('the name of an event', () => {
  it.each([
    ['{"key":"power","value":"on"}', 'power'],
    ['\n\n {"value":{"key":"inner"},"data":["key"],"key" : "power" }\n', 'power'],
    ['{"specversion":"1.0","type":"order/created","data":{}}', 'order/created'],
    ['{"type":"x","specversion":"1.0","key":"x"}', 'x'],
    ['{"type":"not it","key":"power"}', 'power'],
    ['{"\\u006bey":"p\\u006fwer \\"q\\" é"}', 'power "q" é'],
    ['{"a":"\\\\","b":"}\\"","key":"power","c":[{"x":"]"},[1,2,null]],"d":-1.5e3}', 'power'],
    [`{"key":"${'n'.repeat(256)}"}`, 'n'.repeat(256)],
    [`{"${'long'.repeat(100)}":1,"key":"power"}`, 'power'],
  ])('is read from %s', (text, name) => expect(nameOf(text)).toBe(name));

  it.each([
    '', ' ', '{}', '[]', 'null', '"key"', '{"value":1}', '{"key":""}', '{"key":7}', '{"key":null}', '{"key":["power"]}', `{"key":"${'n'.repeat(257)}"}`, '{"key":"a\\u0000b"}', '{"key":"a\\nb"}', '{"key":"\\ud800"}',
    '{"specversion":"1.0"}', '{"specversion":"1.0","key":"power"}', '{"specversion":"1.0","type":"a","key":"b"}', '{"specversion":"1.0","type":"a","key":null}',
    '{"key":"a","key":"b"}', '{"key":"a","key":"a"}', '{"key":"a","Key":"b"}', '{"key":"a","\\u212aEY":"b"}', '{"specversion":"1.0","type":"a","TYPE":"b"}', '{"key":"a","ſpecverſion":"1.0","type":"b"}',
    '{"key":"a"', '{"key":"a"}}', '{"key":"a"}{"key":"b"}', '{"key":"a",}', '{"key" "a"}', '{"key":}', '{key:"a"}', '{"key":"a', '{"a":[1,"key":"a"}', '\ufeff{"key":"a"}', "{'key':'a'}", '[{"key":"a"}]',
  ])('is not read from %j', (text) => expect(nameOf(text)).toBeUndefined());

  it('is that of any JSON object with one name, as a parser reads it', () => {
    const fields = fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 5 });
    fc.assert(
      fc.property(fields, fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.jsonValue()), fc.nat(5), fc.constantFrom(undefined, 1), (others, name, at, space) => {
        const rest = Object.entries(others).filter(([field]) => !/^(key|type|specversion)$/iu.test(field));
        const object = Object.fromEntries([...rest.slice(0, at), ['key', name], ...rest.slice(at)]);
        const isName = typeof name === 'string' && name !== '' && name.length <= 256 && name.isWellFormed() && !/\p{Cc}/u.test(name);
        expect(nameOf(JSON.stringify(object, null, space))).toBe(isName ? name : undefined);
      }),
      { numRuns: 5_000 },
    );
  });

  it.each<[string, readonly string[]]>([
    ['{"key":"a"}', ['a']], ['{"key":"a","KEY":"b","type":"c"}', ['a', 'b']], ['{"specversion":"1.0","type":"c","key":"a"}', ['c', 'a']], ['\ufeff{"key":"a"}', ['a']],
    ['{"key":1,"\u212aey":"a"}', ['a']], ['{"key":"a","key":"a"}', ['a']], ['{"key":"a"} x', []], ['{}', []], ['', []], ['\ufeff', []], ['[{"key":"a"}]', []],
  ])('of %j may be taken for %j', (text, names) => expect(possibleEventNames(Buffer.from(text))).toEqual(names));

  it('is looked for in any bytes without throwing', () => {
    const piece = fc.constantFrom('{', '}', '[', ']', '"', '\\', ':', ',', 'key', '"key"', 'type', '"a"', ' ', '1', 'é');
    fc.assert(fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => void nameOf(pieces.join(''))), { numRuns: 10_000 });
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => void eventNameOf(bytes)), { numRuns: 2_000 });
    expect(eventNameOf(Buffer.from([0x7b, 0x22, 0x6b, 0x65, 0x79, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d]))).toBeUndefined();
  });

  it.each([[`{"a":${'['.repeat(1_000_000)}`], [`{"a":"${'\\"'.repeat(500_000)}`], [`{${'"a":1,'.repeat(200_000)}"key":"x"}`], [`{"key":"${'\\u0061'.repeat(200_000)}"}`]])('takes linear time over a large body', (text) => {
    const body = Buffer.from(text);
    const startedMs = performance.now();
    eventNameOf(body);
    expect(performance.now() - startedMs).toBeLessThan(1_000);
  });
});
