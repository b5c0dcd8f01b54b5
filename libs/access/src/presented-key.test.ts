import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { createAccessKey, presentedKey } from './index.ts';

const { key } = createAccessKey();
const { key: other } = createAccessKey();
const invalid = { ok: false, code: 'ACCESS_KEY_INVALID' };
const ambiguous = { ok: false, code: 'ACCESS_KEY_AMBIGUOUS' };

describe('the key of a request', () => {
  it.each([
    ['Authorization: Bearer', { authorization: `Bearer ${key}` }],
    ['a scheme in another case', { authorization: `bEARER   ${key} ` }],
    ['X-Access-Key', { 'x-access-key': key }],
    ['X-API-Key', { 'x-api-key': ` ${key}` }],
    ['a header that came twice with the same', { 'x-access-key': `${key}, ${key}` }],
    ['a header as a list', { 'x-access-key': [key, key] }],
    ['several headers that agree', { authorization: `Bearer ${key}`, 'x-access-key': key, 'x-api-key': key }],
  ])('is found in %s', (_, headers) => expect(presentedKey({ headers, url: '/x?a=1' })).toEqual({ ok: true, key, url: '/x?a=1' }));

  it.each([
    [`/k/${key}/connect/messenger`, '/connect/messenger'],
    [`/k/${key}`, '/'],
    [`/k/${key}/`, '/'],
    [`/k/${key}?x=1`, '/?x=1'],
    [`/k/${key.replace('_', '%5f')}/a%2Fb?c=%20`, '/a%2Fb?c=%20'],
    [`/k/${key}/k/${key}/x`, '/x'],
    [`/x?key=${key}`, '/x'],
    [`/x?a=%zz&key=${key}&b=+&&c`, '/x?a=%zz&b=+&&c'],
    [`/x?%6bey=${key.replaceAll('_', '%5F')}`, '/x'],
    [`/x?key=${key}&key=${key}`, '/x'],
    [`/k/${key}/x?key=${key}`, '/x'],
    [`http://hub.example:7100/k/${key}/x?key=${key}&a`, 'http://hub.example:7100/x?a'],
    [`HTTPS://hub.example?key=${key}`, 'HTTPS://hub.example'],
  ])('is found in %s', (url, rest) => expect(presentedKey({ headers: {}, url })).toEqual({ ok: true, key, url: rest }));

  it.each(['/', '/x?a=1&b=%', '/kk/x', '/k', '/K/x', '/x/k/y', '/x?keys=1&Key=2', '*', 'hub.example:443', 'http://k/x', '/%', '/\0', '', '//k/x', '/x?'])('is not in %j, which stays as it is', (url) => {
    expect(presentedKey({ headers: {}, url })).toEqual({ ok: true, key: undefined, url });
  });

  it.each([[{}], [{ authorization: 'Basic Y2s6eA==' }], [{ authorization: 'Bearerish x' }], [{ 'x-access-key': '' }], [{ authorization: '' }]])('is not in %j', (headers) => {
    expect(presentedKey({ headers })).toEqual({ ok: true, key: undefined, url: '/' });
  });

  it.each([
    [{ authorization: 'Bearer x' }, '/'], [{ authorization: 'Bearer' }, '/'], [{ 'x-access-key': 'x' }, '/'], [{ 'x-api-key': `${key},` }, '/'], [{ authorization: `Bearer ${key} ${key}` }, '/'],
    [{}, '/k/'], [{}, '/k//x'], [{}, '/k/x/y'], [{}, '/k/%'], [{}, `/k/${key.replace('_', '%255f')}/x`], [{}, `/k/${key}%00/x`], [{}, '/x?key='], [{}, '/x?key'], [{}, '/x?key=%'], [{}, `/x?key=+${key}`],
    [{ authorization: `Bearer ${key}` }, '/x?key=x'], [{}, `/x?key=${key}&key=x`],
  ])('is refused where it has no shape of one: %j %s', (headers, url) => expect(presentedKey({ headers, url })).toEqual(invalid));

  it.each([
    [{ authorization: `Bearer ${key}`, 'x-access-key': other }, '/'], [{ 'x-access-key': `${key}, ${other}` }, '/'], [{ authorization: `Bearer ${key}` }, `/k/${other}/x`],
    [{}, `/k/${key}/x?key=${other}`], [{}, `/x?key=${key}&key=${other}`], [{}, `/k/${key}/k/${other}`],
  ])('is refused where there are two: %j %s', (headers, url) => expect(presentedKey({ headers, url })).toEqual(ambiguous));
});

describe('any request target', () => {
  const piece = fc.constantFrom('/', 'k', '/k/', '?', '&', '=', 'key', '%6bey', '%', '%zz', '%00', '\0', '#', '//', 'http://', 'h', '+', '..', key, other, key.replaceAll('_', '%5f'), '\ud800', 'é');
  const urls = fc.oneof(fc.array(piece, { maxLength: 14 }).map((pieces) => pieces.join('')), fc.string({ unit: 'binary' }));
  const headers = fc.record({ authorization: fc.constantFrom('', 'Basic x', `Bearer ${key}`, 'Bearer'), 'x-api-key': fc.constantFrom('', key, other) }, { requiredKeys: [] });

  it('is answered, and what is left has no key in a place of keys', () => {
    fc.assert(
      fc.property(headers, urls, (carried, url) => {
        const answer = presentedKey({ headers: carried, url });
        if (!answer.ok) return;
        expect(presentedKey({ headers: {}, url: answer.url })).toEqual({ ok: true, key: undefined, url: answer.url });
        if (answer.key === undefined) expect(answer.url).toBe(url);
        else expect([key, other]).toContain(answer.key);
      }),
      { numRuns: 20_000 },
    );
  });

  it('keeps path and query byte for byte but for the key', () => {
    const text = fc.string({ unit: fc.constantFrom('a', '%', '+', '/', ';', 'é', '%2', ':'), maxLength: 8 });
    fc.assert(
      fc.property(text, fc.array(text, { maxLength: 4 }), fc.nat(4), (path, parameters, at) => {
        const query = parameters.join('&');
        const withKey = [...parameters.slice(0, at), `key=${key}`, ...parameters.slice(at)].join('&');
        const kept = parameters.length === 0 ? '' : `?${query}`;
        expect(presentedKey({ headers: {}, url: `/x${path}?${withKey}` })).toEqual({ ok: true, key, url: `/x${path}${kept}` });
        expect(presentedKey({ headers: {}, url: `/k/${key}/x${path}?${query}` })).toEqual({ ok: true, key, url: `/x${path}?${query}` });
      }),
      { numRuns: 5_000 },
    );
  });

  it.each([['%'.repeat(1_000_000)], [`/k/${'a'.repeat(1_000_000)}`], ['/k/a'.repeat(200_000)], [`/?${'key&'.repeat(200_000)}`], [`/?key=${'%41'.repeat(300_000)}`], [`http://${'/'.repeat(1_000_000)}`]])('takes linear time', (url) => {
    const startedMs = performance.now();
    presentedKey({ headers: {}, url });
    expect(performance.now() - startedMs).toBeLessThan(1_000);
  });
});
