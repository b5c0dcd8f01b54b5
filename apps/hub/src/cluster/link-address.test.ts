import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { parseLinkAddress } from './link-address.ts';

describe('a link address', () => {
  it.each([
    ['hub-2', 'ws://hub-2:7100/connect/hub'],
    ['hub-2:7200', 'ws://hub-2:7200/connect/hub'],
    ['HUB-2.Example', 'ws://hub-2.example:7100/connect/hub'],
    ['10.0.0.7', 'ws://10.0.0.7:7100/connect/hub'],
    ['hub-2:80', 'ws://hub-2/connect/hub'],
    ['hub-2:080', 'ws://hub-2/connect/hub'],
    ['hub-2:65535', 'ws://hub-2:65535/connect/hub'],
    ['[::1]', 'ws://[::1]:7100/connect/hub'],
    ['[::1]:7200', 'ws://[::1]:7200/connect/hub'],
    ['[2001:db8::80]', 'ws://[2001:db8::80]:7100/connect/hub'],
    ['ws://hub-2', 'ws://hub-2/connect/hub'],
    ['ws://hub-2:7100', 'ws://hub-2:7100/connect/hub'],
    ['ws://hub-2:7100/', 'ws://hub-2:7100/connect/hub'],
    ['ws://hub-2:7100/connect/hub', 'ws://hub-2:7100/connect/hub'],
    ['WS://HUB-2:7100', 'ws://hub-2:7100/connect/hub'],
    ['wss://hub.example', 'wss://hub.example/connect/hub'],
    ['wss://hub.example/carillon/connect/hub', 'wss://hub.example/carillon/connect/hub'],
    ['wss://[::1]:7200', 'wss://[::1]:7200/connect/hub'],
    [decodeURIComponent('ws%3A%2F%2Fhub-2%3A7200%2Fconnect%2Fhub'), 'ws://hub-2:7200/connect/hub'],
    [decodeURIComponent('%5B%3A%3A1%5D%3A7200'), 'ws://[::1]:7200/connect/hub'],
  ])('%s means %s', (address, url) => {
    expect(parseLinkAddress(address)).toEqual({ ok: true, url });
  });

  it.each([
    '', ' ', 'hub 2', ' hub-2', 'hub-2 ', 'hub-2\n', 'hub\t2', 'hub\u00002', 'hub\u007f2', 'hub\\2', 'ws://hub-2/\u0001',
    'hub-2:0', 'hub-2:00', '[::1]:0', 'ws://hub-2:0', 'ws://hub-2:0/', 'ws://hub-2:0/connect/hub', 'wss://hub-2:00/x',
    'hub-2:70000', 'hub-2:-1', 'hub-2:x', 'hub-2:7100:7200', 'ws://hub-2:70000', ':7100', 'ws://', 'ws://:7100', '::1', 'fe80::1:7100', '[::1', '[hub]',
    'me@hub-2', 'me:pass@hub-2:7100', 'ws://me@hub-2', 'ws://me:pass@hub-2', 'ws://@hub-2', 'ws://:@hub-2',
    'hub-2?x=1', 'hub-2#x', 'ws://hub-2?x=1', 'ws://hub-2/connect/hub?x=1', 'ws://hub-2#x', 'ws://hub-2?', 'ws://hub-2#', 'ws://hub-2/connect/hub?#',
    'hub-2/connect/hub', '//hub-2', '/hub-2', 'http://hub-2', 'https://hub-2', 'file:///etc/passwd', 'ftp://hub-2', 'javascript://x', 'ws%3A%2F%2Fhub-2',
    'ws://hub-2/k/x/connect/hub', 'ws://hub-2//k/x', 'ws://hub-2/carillon/k/ck_Abc_Def/connect/hub', 'wss://hub-2/%6B/%63k_Abc_Def/connect/hub',
    'ck_Abc_Def', 'ck_Abc_Def:7100', 'ws://ck_Abc_Def/connect/hub', 'ws://hub-2.%63k_Abc_Def.example', 'wss://hub-2/%63%6B_Abc%5fDef',
    'a'.repeat(513), `ws://${'a'.repeat(600)}`,
  ])('%j is none', (address) => {
    expect(parseLinkAddress(address)).toMatchObject({ ok: false });
  });

  it('never throws, and what it gives it takes again and gives the same', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.webUrl({ validSchemes: ['ws', 'wss'], withQueryParameters: true, withFragments: true })), (address) => {
      const parsed = parseLinkAddress(address);
      if (!parsed.ok) return;
      expect(parseLinkAddress(parsed.url)).toEqual(parsed);
      expect(parsed.url).toMatch(/^wss?:\/\/[^/@?#]+\/[^?#]*$/);
    }));
  });
});
