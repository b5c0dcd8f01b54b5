import { describe, expect, it } from 'vitest';

import { isLocalRequest } from './index.ts';

const from = (remoteAddress: string | undefined, headers: Record<string, string> = {}): boolean => isLocalRequest({ headers, socket: { remoteAddress } });

describe('a request', () => {
  it.each(['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1', '::ffff:7f00:1'])('from %s is of this machine', (address) => expect(from(address)).toBe(true));

  it.each([undefined, '', '10.0.0.1', '128.0.0.1', '::', '::2', '::ffff:10.0.0.1', '::127.0.0.1', '2001:db8::7f00:1', '127.0.0.1.example'])('from %s is not', (address) => expect(from(address)).toBe(false));

  it.each(['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip'])('with %s is not, whatever that says', (name) => {
    for (const value of ['', '127.0.0.1', 'for=127.0.0.1', '1.1 proxy']) expect(from('127.0.0.1', { [name]: value })).toBe(false);
  });
});
