import { describe, expect, it } from 'vitest';
import { resolveHubUrl } from './hub-url.ts';

describe('a hub address', () => {
  it.each([
    ['ws://localhost:7100', 'ws://localhost:7100/connect/messenger'],
    ['ws://localhost:7100/', 'ws://localhost:7100/connect/messenger'],
    ['wss://hub.example', 'wss://hub.example/connect/messenger'],
    ['http://hub.example:7100', 'ws://hub.example:7100/connect/messenger'],
    ['https://hub.example', 'wss://hub.example/connect/messenger'],
    ['ws://hub/k/ck_1_secret', 'ws://hub/k/ck_1_secret/connect/messenger'],
    ['ws://hub?key=ck_1_secret', 'ws://hub/connect/messenger?key=ck_1_secret'],
    ['ws://repeater:7101/connect/ITB-1101/panel', 'ws://repeater:7101/connect/ITB-1101/panel'],
    ['ws://proxy/carillon/connect/messenger', 'ws://proxy/carillon/connect/messenger'],
  ])('%s is dialled at %s', (address, url) => {
    expect(resolveHubUrl(address).url).toBe(url);
  });

  it('carries a key in its path where no header can, and does not show it', () => {
    expect(resolveHubUrl('wss://hub.example', 'ck_1_secret')).toMatchObject({ url: 'wss://hub.example/k/ck_1_secret/connect/messenger', shown: 'wss://hub.example/k/[redacted]/connect/messenger' });
    expect(resolveHubUrl('ws://repeater/connect/ITB-1101/panel', 'ck_1_secret').url).toBe('ws://repeater/k/ck_1_secret/connect/ITB-1101/panel');
  });

  it.each(['', 'localhost:7100', 'hub', 'ftp://hub', 'ws://', 'ws://hub/#part'])('%j is refused with HUB_URL_INVALID', (address) => {
    expect(() => resolveHubUrl(address)).toThrow(expect.objectContaining({ code: 'HUB_URL_INVALID' }));
  });

  it('shows no secret', () => {
    const { shown } = resolveHubUrl('wss://user:password@hub:7100/k/ck_1_secret?key=ck_2_secret');
    expect(shown).toBe('wss://hub:7100/k/[redacted]/connect/messenger');
  });

  it.each([
    ['ws://hub', true, true],
    ['ws://hub/connect/messenger', true, true],
    ['ws://hub/k/key/connect/messenger', true, true],
    ['ws://proxy/anything', true, true],
    ['ws://repeater/connect/ITB-1101/panel', false, false],
    ['ws://hub/connect/repeater', false, true],
    ['ws://hub/connect/hub', false, true],
  ])('%s takes subscription changes: %s, promises pings: %s', (address, registersRooms, promisesPings) => {
    expect(resolveHubUrl(address)).toMatchObject({ registersRooms, promisesPings });
  });
});
