import { describe, expect, it } from 'vitest';

import { readCloudEvent } from './index.ts';

const read = (value: unknown) => readCloudEvent(new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value)));
const event = { specversion: '1.0', id: '1', source: '/doors/17', type: 'door.opened' };

describe('a CloudEvent', () => {
  it('needs four attributes and keeps the rest', () => {
    expect(read(event)).toEqual({ ok: true, event, room: undefined });
    const all = { ...event, subject: 's', time: '2026-11-21T12:00:00.5+01:00', datacontenttype: 'text/plain', dataschema: 'https://x.test/y', data: 'hello', myextension: 7 };
    expect(read(all)).toEqual({ ok: true, event: all, room: 's' });
  });

  it('is routed by its room, else by its subject; null is not there', () => {
    expect(read({ ...event, subject: 's', room: 'r' })).toMatchObject({ ok: true, room: 'r' });
    expect(read({ ...event, subject: 's', room: null })).toMatchObject({ ok: true, room: 's' });
    expect(read({ ...event, subject: null, data_base64: null, data: null })).toMatchObject({ ok: true, room: undefined });
  });

  it.each<[string, unknown, string]>([
    ['another version', { ...event, specversion: '0.3' }, '/specversion'], ['no id', { ...event, id: undefined }, '/id'], ['an empty source', { ...event, source: '' }, '/source'],
    ['a number as its type', { ...event, type: 1 }, '/type'], ['a line feed in its id', { ...event, id: 'a\nb' }, '/id'], ['no time', { ...event, time: 'noon' }, '/time'],
    ['an object as its room', { ...event, room: {} }, '/room'], ['data twice', { ...event, data: 1, data_base64: 'AA==' }, '/data_base64'], ['a list', [event], ''],
  ])('with %s is refused with a pointer', (_, value, pointer) => {
    expect(read(value)).toMatchObject({ ok: false, code: 'EVENT_INVALID', errors: [{ pointer }] });
  });

  it('is refused as JSON before it is looked at', () => {
    expect(read('{')).toMatchObject({ ok: false, code: 'JSON_INVALID', errors: [] });
    expect(read('{"specversion":"1.0","data":{"__proto__":1}}')).toMatchObject({ ok: false, code: 'JSON_KEY_FORBIDDEN' });
  });
});
