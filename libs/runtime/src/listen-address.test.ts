import { describe, expect, it } from 'vitest';

import { formatAddress, isLoopback, parseListenAddress } from './index.ts';

describe('parseListenAddress', () => {
  it.each([
    ['127.0.0.1:7100', { host: '127.0.0.1', port: 7100 }],
    ['localhost:0', { host: 'localhost', port: 0 }],
    ['hub-1.example.internal:65535', { host: 'hub-1.example.internal', port: 65535 }],
    ['[::1]:7100', { host: '::1', port: 7100 }],
    ['[::]:7100', { host: '::', port: 7100 }],
  ])('reads %s and writes it back the same', (text, address) => {
    expect(parseListenAddress(text)).toEqual({ ok: true, address });
    expect(formatAddress(address)).toBe(text);
  });

  it.each([
    ['', 'needs a host and a port'],
    ['7100', 'needs a host and a port'],
    [':7100', 'has no host'],
    ['::1:7100', 'needs brackets'],
    ['[127.0.0.1]:7100', 'no IPv6 address between its brackets'],
    ['[]:7100', 'no IPv6 address between its brackets'],
    ['*:7100', 'needs a host name or an IP address'],
    ['256.0.0.1:7100', 'needs a host name or an IP address'],
    ['-hub:7100', 'needs a host name or an IP address'],
    ['ws://localhost:7100', 'needs brackets'],
    ['localhost:', 'needs a port'],
    ['localhost:65536', 'needs a port'],
    ['localhost:+80', 'needs a port'],
    ['localhost:7100 ', 'needs a port'],
  ])('refuses %j and says why', (text, reason) => {
    const result = parseListenAddress(text);
    expect(result.ok ? '' : result.reason).toContain(reason);
  });
});

describe('isLoopback', () => {
  it.each(['127.0.0.1', '127.9.9.9', '::1', '[::1]', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1', 'localhost', 'LOCALHOST'])('knows that %s is this machine', (host) => {
    expect(isLoopback(host)).toBe(true);
  });

  it.each(['0.0.0.0', '::', '10.0.0.1', '128.0.0.1', '::ffff:10.0.0.1', 'localhost.example.com', '127.0.0.1.example.com', ''])('knows that %s is not', (host) => {
    expect(isLoopback(host)).toBe(false);
  });
});
