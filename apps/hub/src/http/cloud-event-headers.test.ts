import type { IncomingHttpHeaders } from 'node:http';

import { describe, expect, it } from 'vitest';

import { structuredEvent } from './cloud-event-headers.ts';

const HEADERS = { host: 'hub', 'ce-specversion': '1.0', 'ce-id': '1' };
const made = (headers: IncomingHttpHeaders, body: string | Buffer = ''): string => {
  const event = structuredEvent({ ...HEADERS, ...headers }, Buffer.from(body));
  return event.ok ? event.bytes.toString() : event.code;
};
const begin = '{"specversion":"1.0","id":"1"';

describe('a CloudEvent in headers', () => {
  it('is one in JSON: data of JSON as it came, of text as text, of anything else in base64', () => {
    expect(made({})).toBe(`${begin}}`);
    expect(made({ 'content-type': 'application/json; charset=utf-8' }, ' {"n":1.0}\n')).toBe(`${begin},"datacontenttype":"application/json; charset=utf-8","data": {"n":1.0}\n}`);
    expect(made({ 'content-type': 'application/vnd.x+JSON' }, '[]')).toBe(`${begin},"datacontenttype":"application/vnd.x+JSON","data":[]}`);
    expect(made({}, '7')).toBe(`${begin},"data":7}`);
    expect(made({ 'content-type': 'text/plain' }, 'a "b"\né')).toBe(`${begin},"datacontenttype":"text/plain","data":"a \\"b\\"\\né"}`);
    expect(made({ 'content-type': 'text/plain' }, Buffer.from([0xff, 0x00]))).toBe(`${begin},"datacontenttype":"text/plain","data_base64":"/wA="}`);
    expect(made({ 'content-type': 'image/png' }, 'x')).toBe(`${begin},"datacontenttype":"image/png","data_base64":"eA=="}`);
  });

  it('has its values decoded: percent-encoding, quotes, and the UTF-8 that Node reads as Latin-1', () => {
    expect(made({ 'ce-subject': 'Zo%C3%AB%20%22x%22' })).toBe(`${begin},"subject":"Zoë \\"x\\""}`);
    expect(made({ 'ce-subject': Buffer.from('Zoë').toString('latin1') })).toBe(`${begin},"subject":"Zoë"}`);
    expect(made({ 'ce-subject': '"a\\"b"' })).toBe(`${begin},"subject":"a\\"b"}`);
    expect(made({ 'ce-subject': '100%' })).toBe(`${begin},"subject":"100%"}`);
  });

  it.each([['ce-my-extension', 'x'], ['ce-', 'x'], ['ce-data', '{}'], ['ce-data_base64', 'AA=='], ['ce-datacontenttype', 'text/plain'], ['ce-__proto__', 'x'], ['ce-subject', '%ff'], ['ce-subject', 'Zo\u00eb']])('with %s: %s is refused', (name, value) => {
    expect(made({ [name]: value })).toBe('EVENT_INVALID');
  });

  it.each([['1,"room":"OTHER"', 'JSON_INVALID'], ['', `${begin},"datacontenttype":"application/json"}`], ['{"__proto__":1}', 'JSON_KEY_FORBIDDEN'], [`${'['.repeat(70)}${']'.repeat(70)}`, 'JSON_TOO_DEEP'], ['\ufeff{"a":1}', `${begin},"datacontenttype":"application/json","data":{"a":1}}`]])('cannot be given attributes by its data (%j)', (body, result) => {
    expect(made({ 'content-type': 'application/json' }, body)).toBe(result);
  });
});
