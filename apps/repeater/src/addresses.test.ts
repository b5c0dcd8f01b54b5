import { describe, expect, test } from 'vitest';

import { carriesKey, hubFeedUrl, hubJoinUrl, readSocketAddress, targetJoinUrl } from './addresses.ts';

describe('an address', () => {
  test.each([
    ['localhost', 'ws://localhost:7101/'],
    ['localhost:7100', 'ws://localhost:7100/'],
    ['ITB-1101-CP2', 'ws://itb-1101-cp2:7101/'],
    ['[::1]:7000', 'ws://[::1]:7000/'],
    ['10.0.0.5:80', 'ws://10.0.0.5/'],
    ['ws://hub.example:7100', 'ws://hub.example:7100/'],
    ['wss://hub.example/k/secret?x=1', 'wss://hub.example/k/secret?x=1'],
  ])('%s is %s', (text, url) => expect(readSocketAddress(text, 7101)).toEqual({ ok: true, url }));

  test.each(['', ' ', 'http://x', 'a b', 'host/path', 'user@host', 'host:port', 'host:99999', 'ws://', 'ws://x#y'])('%j is refused', (text) =>
    expect(readSocketAddress(text, 7101)).toMatchObject({ ok: false }));
});

test('a hub is joined behind the path of its URL, whose key is kept', () => {
  expect(hubJoinUrl('ws://hub:7100/')).toBe('ws://hub:7100/connect/repeater');
  expect(hubJoinUrl('wss://hub.example/k/secret/?key=1')).toBe('wss://hub.example/k/secret/connect/repeater?key=1');
});

test('a hub\'s feed is at the same place over http', () => {
  expect(hubFeedUrl('ws://hub:7100/')).toBe('http://hub:7100/access/feed');
  expect(hubFeedUrl('wss://hub.example/k/secret/?key=1')).toBe('https://hub.example/k/secret/access/feed?key=1');
});

test('an address carries a key in its path or its query', () => {
  expect(['ws://h/k/secret', 'ws://h/k/secret/x', 'ws://h/?a=1&key=secret'].map(carriesKey)).toEqual([true, true, true]);
  expect(['ws://h/', 'ws://h/k/', 'ws://h/keys/x', 'ws://h/?a=key'].map(carriesKey)).toEqual([false, false, false, false]);
});

test('a target is joined under room and id unless its address says where', () => {
  expect(targetJoinUrl('ws://b:7101', 'ITB/11 01', 'CP1')).toBe('ws://b:7101/connect/ITB%2F11%2001/CP1');
  expect(targetJoinUrl('ws://b:7101/elsewhere', 'ITB-1101', 'CP1')).toBe('ws://b:7101/elsewhere');
  expect(targetJoinUrl('ws://b:7101/k/secret/', 'ITB-1101', 'CP1')).toBe('ws://b:7101/k/secret/connect/ITB-1101/CP1');
  expect(targetJoinUrl('ws://b:7101/?key=secret', 'ITB-1101', 'CP1')).toBe('ws://b:7101/connect/ITB-1101/CP1?key=secret');
  expect(targetJoinUrl('ws://b:7101/k/secret/connect/R/X', 'ITB-1101', 'CP1')).toBe('ws://b:7101/k/secret/connect/R/X');
});
