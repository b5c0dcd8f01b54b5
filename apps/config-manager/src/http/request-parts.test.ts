import type { IncomingMessage } from 'node:http';

import { describe, expect, it } from 'vitest';
import { z } from 'zod';

import { entityTag, versionAskedFor } from './etag.ts';
import { checkPath, parseInput, readQuery } from './input.ts';
import { Refusal } from './refusal.ts';
import { createSealer } from './sealing.ts';
import { sourceGroup, sourceOf } from './source.ts';

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
  return 'nothing';
};
const request = (remoteAddress: string, headers: Record<string, string> = {}) => ({ headers, socket: { remoteAddress } }) as unknown as IncomingMessage;

describe('where a request came from', () => {
  it.each([
    ['192.0.2.1', {}, 0, '192.0.2.1'],
    ['::ffff:192.0.2.1', {}, 0, '192.0.2.1'],
    ['fe80::1%eth0', {}, 0, 'fe80::1'],
    ['192.0.2.1', { 'x-forwarded-for': '198.51.100.7' }, 0, '192.0.2.1'],
    ['192.0.2.1', { 'x-forwarded-for': '203.0.113.66, 198.51.100.7' }, 1, '198.51.100.7'],
    ['192.0.2.1', { 'x-forwarded-for': '203.0.113.66, 198.51.100.7' }, 2, '203.0.113.66'],
    ['192.0.2.1', { 'x-forwarded-for': '198.51.100.7' }, 3, '198.51.100.7'],
    ['192.0.2.1', { 'x-forwarded-for': '[2001:DB8::7]:443' }, 1, '2001:db8::7'],
    ['192.0.2.1', { 'x-forwarded-for': '198.51.100.7:5000' }, 1, '198.51.100.7'],
    ['192.0.2.1', { 'x-forwarded-for': 'somebody' }, 1, '192.0.2.1'],
    ['192.0.2.1', {}, 1, '192.0.2.1'],
  ])('is %s with %j behind %i proxies: %s', (peer, headers, hops, address) => {
    expect(sourceOf(request(peer, headers as Record<string, string>), hops).address).toBe(address);
  });

  it('is this machine only when no proxy speaks for somebody else', () => {
    expect([sourceOf(request('127.0.0.1'), 0), sourceOf(request('::1'), 0), sourceOf(request('192.0.2.1'), 0), sourceOf(request('127.0.0.1', { 'x-forwarded-for': '127.0.0.1' }), 1), sourceOf(request('127.0.0.1', { forwarded: 'for=_x' }), 0)].map(({ isLocal }) => isLocal))
      .toEqual([true, true, false, false, false]);
  });

  it.each([['192.0.2.1', '192.0.2.1'], ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'], ['2001:db8::1', '2001:db8:0:0::/64'], ['::1', '0:0:0:0::/64']])('counts %s as %s', (address, group) => {
    expect(sourceGroup(address)).toBe(group);
  });
});

describe('If-Match', () => {
  it.each([[undefined, undefined], ['*', undefined], [' "7" ', 7], [entityTag(12), 12]])('%j asks for version %j', (header, version) => {
    expect(versionAskedFor(header)).toBe(version);
  });

  it.each([['W/"7"', 'PRECONDITION_FAILED'], ['"seven"', 'PRECONDITION_FAILED'], ['"0"', 'PRECONDITION_FAILED'], ['"2147483648"', 'PRECONDITION_FAILED'], ['7', 'REQUEST_MALFORMED'], ['"1", "2"', 'REQUEST_MALFORMED'], ['', 'REQUEST_MALFORMED']])('%j is refused with %s', (header, code) => {
    expect(codeOf(() => versionAskedFor(header))).toBe(code);
  });
});

describe('a query', () => {
  it('is decoded once', () => {
    expect(readQuery('/x?a=1&b=%2B+%2526&c&d=e=f&')).toEqual({ a: '1', b: '+ %26', c: '', d: 'e=f' });
    expect([readQuery('/x'), readQuery('/x?')]).toEqual([{}, {}]);
  });

  it.each([['/x?a=1&a=2', 'RESOURCE_INVALID'], ['/x?a=1&%61=2', 'RESOURCE_INVALID'], ['/x?a=%FF', 'REQUEST_MALFORMED'], ['/x?a=%', 'REQUEST_MALFORMED'], [`/x?${Array.from({ length: 33 }, (_, at) => `p${at}=1`).join('&')}`, 'REQUEST_MALFORMED']])('%s is refused with %s', (target, code) => {
    expect(codeOf(() => readQuery(target))).toBe(code);
  });

  it('has no way to a prototype', () => {
    const query = readQuery('/x?__proto__=1&constructor=2');
    expect(Object.getPrototypeOf(query)).toBe(Object.prototype);
    expect(codeOf(() => parseInput(undefined, query))).toBe('RESOURCE_INVALID');
  });
});

describe('input', () => {
  it('is refused with a pointer to every fault', () => {
    const schema = z.strictObject({ 'a/b': z.string(), list: z.array(z.strictObject({ 'm~n': z.int() })) });
    let faults: readonly { pointer: string }[] = [];
    try {
      parseInput(schema, { 'a/b': 1, list: [{ 'm~n': 1 }, { 'm~n': 'x', more: 1 }], extra: 1, other: 2 }, '/query');
    } catch (error) {
      faults = (error as Refusal).errors;
    }
    expect(faults.map(({ pointer }) => pointer).sort()).toEqual(['/query/a~1b', '/query/extra', '/query/list/1/more', '/query/list/1/m~0n', '/query/other']);
  });

  it('points into the form of a union that was meant', () => {
    const schema = z.strictObject({ rules: z.array(z.union([z.string().max(3), z.strictObject({ room: z.string().max(3) })])) });
    try {
      parseInput(schema, { rules: ['long', { room: 'long' }, 7] });
      expect.unreachable();
    } catch (error) {
      expect((error as Refusal).errors.map(({ pointer }) => pointer)).toEqual(['/rules/0', '/rules/1/room', '/rules/2']);
    }
  });

  it('tells at most fifty faults', () => {
    try {
      parseInput(z.strictObject({}), Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`f${at}`, 1])));
      expect.unreachable();
    } catch (error) {
      expect((error as Refusal).errors).toHaveLength(50);
    }
  });

  it.each([['a\u0000b'], ['a\nb'], ['x'.repeat(513)]])('has no path parameter like %j', (value) => {
    expect(codeOf(() => checkPath({ id: value }))).toBe('REQUEST_MALFORMED');
  });
});

describe('sealing', () => {
  it('opens what was sealed under the same secret for the same purpose, and nothing else', () => {
    const sealer = createSealer('secret', 'a');
    const sealed = sealer.seal(Buffer.from('plain'));
    expect(Buffer.from(sealer.open(sealed) ?? []).toString()).toBe('plain');
    const changed = Buffer.from(sealed);
    changed[changed.length - 1]! ^= 1;
    for (const other of [createSealer('secret', 'b').open(sealed), createSealer('other', 'a').open(sealed), sealer.open(changed), sealer.open(new Uint8Array(27)), sealer.open(new Uint8Array())]) expect(other).toBeUndefined();
    expect(Buffer.from(sealed).toString('latin1')).not.toContain('plain');
  });
});
