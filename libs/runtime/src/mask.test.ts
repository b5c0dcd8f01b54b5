import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { maskUrl } from './index.ts';
import { redactFields } from './mask.ts';

describe('maskUrl', () => {
  it.each([
    ['/hub?key=abc', '/hub?key=[redacted]'],
    ['/hub?room=a&key=abc&since=4#x', '/hub?room=a&key=[redacted]&since=4#x'],
    ['/hub?KEY=abc', '/hub?KEY=[redacted]'],
    ['/hub?access_key=abc&token=def', '/hub?access_key=[redacted]&token=[redacted]'],
    ['/k/ck_1_abc/hub/connect', '/k/[redacted]/hub/connect'],
    ['/k/ck_1_abc', '/k/[redacted]'],
    ['ws://hub:7100/k/abc/x?key=def', 'ws://hub:7100/k/[redacted]/x?key=[redacted]'],
    ['nats://user:p@ss@host:4222/x', 'nats://[redacted]@host:4222/x'],
    ['nats://a:1@h1,nats://b:2@h2', 'nats://[redacted]@h1,nats://[redacted]@h2'],
  ])('turns %s into %s', (url, masked) => {
    expect(maskUrl(url)).toBe(masked);
    expect(maskUrl(masked)).toBe(masked);
  });

  it.each(['/hub?monkey=abc', '/hub/kk/abc', '/kids/abc', 'ws://hub:7100/a@b', ''])('leaves %j as it is', (url) => {
    expect(maskUrl(url)).toBe(url);
  });

  it('lets no key through, whatever stands around it', () => {
    const around = fc.webPath();
    fc.assert(fc.property(around, around, (before, after) => {
      expect(maskUrl(`${before}/k/SECRET/${after}?a=1&key=SECRET&b=2`)).not.toContain('SECRET');
    }));
  });
});

describe('redactFields', () => {
  it('replaces secret fields at any depth, however they are spelled', () => {
    const fields = { key: 'x', a: { accessKey: 'x', b: [{ Authorization: 'x', ACCESS_KEY: 'x', 'access-key': 'x' }] }, password: 1, secret: { deep: 'x' }, token: null };
    expect(redactFields(fields)).toEqual({
      key: '[redacted]',
      a: { accessKey: '[redacted]', b: [{ Authorization: '[redacted]', ACCESS_KEY: '[redacted]', 'access-key': '[redacted]' }] },
      password: '[redacted]', secret: '[redacted]', token: '[redacted]',
    });
  });

  it('keeps what is no secret, and the original object', () => {
    const fields = { keys: 3, room: 'a', at: new Date(0), nothing: undefined };
    expect(redactFields(fields)).toEqual(fields);
    const secret = { key: 'x' };
    redactFields(secret);
    expect(secret.key).toBe('x');
  });

  it('prints errors whole, but not what they carry of a secret', () => {
    const error = Object.assign(new Error('GET /x?key=abc failed', { cause: new Error('inner') }), { headers: { authorization: 'Bearer abc' } });
    const { failure } = redactFields({ failure: error });
    expect(failure).toMatchObject({ type: 'Error', message: expect.stringContaining('key=[redacted]') as string, headers: { authorization: '[redacted]' } });
    expect(JSON.stringify(failure)).toContain('inner');
    expect(JSON.stringify(failure)).not.toContain('abc');
  });

  it('survives cycles, depth, bytes and URLs', () => {
    const cycle: Record<string, unknown> = {};
    cycle['self'] = cycle;
    const deep = { 1: { 2: { 3: { 4: { 5: { 6: 'x' } } } } } };
    expect(redactFields({ cycle })).toEqual({ cycle: { self: '[repeated]' } });
    expect(JSON.stringify(redactFields(deep))).toContain('[deep]');
    expect(redactFields({ body: Buffer.from('abc'), where: new URL('ws://h/?key=1') })).toEqual({ body: '[3 bytes]', where: 'ws://h/?key=[redacted]' });
    expect(redactFields(['key'])).toEqual({ fields: ['key'] });
  });
});
