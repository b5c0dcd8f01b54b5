import { describe, expect, test } from 'vitest';

import { emptySendList, readSendList, type SendList } from './send-list.ts';

const options = { ownId: 'ITB-1101-CP1', centralAddresses: ['ws://central:7101/'] };

function read(list: object, own: Partial<typeof options> = {}): SendList {
  const result = readSendList(JSON.stringify(list), { ...options, ...own });
  if (!result.ok) throw new Error(result.problems.join('\n'));
  return result.list;
}

describe('a send list', () => {
  test('gives a room its own targets and those of *, each once', () => {
    const list = read({ rooms: { 'ITB-1101': ['ITB-1101-CP2', 'http://10.0.0.9/events', 'ITB-1101-CP2', 'ws://b:7101'], '*': ['ws://b:7101', 'ws://central:7101'] } });
    expect(list.targetsOf('ITB-1101')).toEqual([
      { kind: 'device', id: 'ITB-1101-CP2' }, { kind: 'http', url: 'http://10.0.0.9/events' }, { kind: 'socket', url: 'ws://b:7101/' }, { kind: 'socket', url: 'ws://central:7101/' },
    ]);
    expect(list.targetsOf('ITB-1102')).toEqual([{ kind: 'socket', url: 'ws://b:7101/' }, { kind: 'socket', url: 'ws://central:7101/' }]);
    expect(list.targets).toHaveLength(4);
  });

  test('never names the repeater itself', () => {
    expect(read({ rooms: { 'ITB-1101': ['ITB-1101-CP1', 'ITB-1101-CP2'] } }, { centralAddresses: [] }).targets).toEqual([{ kind: 'device', id: 'ITB-1101-CP2' }]);
  });

  test('finds a device by its address, or by its id as host name', () => {
    const list = read({ addresses: { 'ITB-1101-CP2': '10.0.0.5:7000', 'CP3': 'ws://c/own/path' } });
    expect(['ITB-1101-CP2', 'CP3', 'CP4', 'Sensor 5'].map((id) => list.addressOf(id))).toEqual(['ws://10.0.0.5:7000/', 'ws://c/own/path', 'ws://cp4:7101/', undefined]);
  });

  test('may have further targets, each once', () => {
    const list = read({ rooms: { 'ITB-1101': ['ws://b:7101'], '*': ['ws://c:7101'] }, addresses: { CP2: 'b' } });
    const more = list.with(new Map([['ITB-1101', [{ kind: 'socket', url: 'ws://b:7101/' }, { kind: 'http', url: 'http://d/' }]], ['ITB-1102', [{ kind: 'http', url: 'http://d/' }]]]));
    const urls = (room: string, of: SendList) => of.targetsOf(room).map((target) => (target.kind === 'device' ? target.id : target.url));
    expect(['ITB-1101', 'ITB-1102', 'else'].map((room) => urls(room, more))).toEqual([['ws://b:7101/', 'http://d/', 'ws://c:7101/', 'ws://central:7101/'], ['http://d/', 'ws://c:7101/', 'ws://central:7101/'], ['ws://c:7101/', 'ws://central:7101/']]);
    expect([more.addressOf('CP2'), more.targets.length, list.targetsOf('ITB-1102').length]).toEqual(['ws://b:7101/', 4, 2]);
  });

  test('may be absent', () => expect(emptySendList(options).targetsOf('any')).toEqual([{ kind: 'socket', url: 'ws://central:7101/' }]));

  test('is refused with every problem', () => {
    const result = readSendList(JSON.stringify({ rooms: { 'ITB-*': ['a'], 'r': ['ftp://x', '', 'http://'], 's': 'a' }, addresses: { a: 'b/c' }, room: {} }), options);
    expect(result.ok ? [] : result.problems).toEqual([
      expect.stringMatching(/^rooms\.ITB-\*: /), expect.stringMatching(/^rooms\.r\.0: .*scheme/), expect.stringMatching(/^rooms\.r\.1: is no device id/), expect.stringMatching(/^rooms\.r\.2: is no URL/),
      expect.stringMatching(/^rooms\.s: /), expect.stringMatching(/^addresses\.a: /), expect.stringMatching(/^the list: .*room/),
    ]);
    expect(readSendList('{', options)).toMatchObject({ ok: false, problems: [expect.stringMatching(/^is not JSON/)] });
    expect(JSON.stringify(readSendList('{ "rooms": { "*": ["ws://h/?key=secret" } }', options))).not.toContain('secret');
  });
});
