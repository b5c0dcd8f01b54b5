import { describe, expect, it } from 'vitest';

import { pageOriginCheck } from './page-origin.ts';

const BROWSER = 'Mozilla/5.0 (X11; Linux x86_64)';
const open = pageOriginCheck({ allowedOrigins: ['https://rooms.example'], onLoopback: false });
const loopback = pageOriginCheck({ allowedOrigins: ['https://rooms.example/'], onLoopback: true });

describe('a page', () => {
  it.each([
    [{ host: 'a:7101' }],
    [{ host: 'a:7101', origin: 'http://a:7101' }],
    [{ host: 'a:80', origin: 'http://a' }],
    [{ host: 'a:7101', origin: 'https://rooms.example' }],
  ])('may speak from the server itself or a listed origin, and programs may (%j)', (headers) => expect(open(headers)).toBe(true));

  it.each(['https://other.example', 'http://a', 'null', '', 'file://', 'http://a:7101.evil.example'])('may not speak from %j', (origin) => {
    expect(open({ host: 'a:7101', origin })).toBe(false);
  });

  it('may not speak without saying where to', () => expect(open({ origin: 'http://a:7101' })).toBe(false));

  it('may speak from anywhere when the list says *', () => {
    const any = pageOriginCheck({ allowedOrigins: ['*'], onLoopback: true });
    expect(any({ host: 'a', origin: 'https://other.example', 'user-agent': BROWSER })).toBe(true);
  });
});

describe('a browser that asks a loopback server', () => {
  it.each(['localhost:7100', '127.0.0.1:7100', '[::1]:7100', 'rooms.localhost', 'rooms.example'])('may ask for %s', (host) => {
    expect(loopback({ host, 'user-agent': BROWSER })).toBe(true);
  });

  it.each(['evil.example:7100', 'localhost.evil.example', '127.0.0.1.evil.example', '', '10.0.0.1'])('may not ask for %j, a name somebody else points here', (host) => {
    expect(loopback({ host, 'user-agent': BROWSER })).toBe(false);
    expect(loopback({ host, origin: `http://${host}`, 'user-agent': BROWSER })).toBe(false);
  });

  it('is told apart from programs, which may use any name', () => {
    expect(loopback({ host: 'room-hub:7100' })).toBe(true);
    expect(loopback({ host: 'room-hub:7100', 'user-agent': 'Go-http-client/1.1' })).toBe(true);
  });
});
