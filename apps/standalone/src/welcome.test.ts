import { describe, expect, it } from 'vitest';

import { reachable } from './reachable.ts';
import { welcome } from './welcome.ts';

const loopback = {
  hub: { host: '127.0.0.1', port: 7100 }, repeater: { host: '127.0.0.1', port: 7101 }, configManager: { host: '127.0.0.1', port: 8080 }, admin: { host: '127.0.0.1', port: 7180 },
  access: 'loopback', first: undefined, demo: false, dataDir: '.carillon',
} as const;

describe('the welcome', () => {
  it('says where everything is and what to try', () => {
    const text = welcome(loopback);
    for (const line of ['page       http://127.0.0.1:7100/', 'hub        ws://127.0.0.1:7100/connect/messenger', 'repeater   ws://127.0.0.1:7101/connect/ROOM/DEVICE', 'manage     http://127.0.0.1:8080/docs', 'admin      http://127.0.0.1:7180/metrics', 'curl -N http://127.0.0.1:7100/rooms/ITB-1101/events', 'curl http://127.0.0.1:7100/event ']) {
      expect(text).toContain(`  ${line}`);
    }
    expect(text).not.toContain('simulated');
  });

  it('says that only this machine is served', () => {
    expect(welcome(loopback)).toContain('Programs of this machine need no key; it listens on this machine only.');
    expect(welcome({ ...loopback, access: 'keys' })).toContain('Everybody needs an access key.');
  });

  it.each(['hub', 'repeater'] as const)('warns when the %s is open to others, and gives addresses that work from here', (opened) => {
    const text = welcome({ ...loopback, access: 'open', [opened]: { host: '0.0.0.0', port: 7_000 } });
    expect(text).toContain('It listens beyond this machine and asks for no key');
    expect(text).not.toContain('on this machine only');
    expect(text).not.toContain('0.0.0.0');
    expect(text).toContain('ws://127.0.0.1:7000/connect/');
  });

  it('shows what was made at the first start, and where it is kept', () => {
    const text = welcome({ ...loopback, first: { username: 'admin', password: 'pass word', accessKey: 'ck_id_secret' } });
    expect(text).toContain('Made for you, shown this once, kept in .carillon:');
    expect(text).toContain('administrator   admin   password  pass word\n');
    expect(text).toContain('access key      ck_id_secret\n');
    expect(welcome({ ...loopback, first: { username: 'admin', password: undefined, accessKey: 'ck_id_secret' } })).not.toContain('password');
  });

  it('calls a simulated building simulated', () => {
    expect(welcome({ ...loopback, demo: true })).toContain('with a simulated building (its devices are programs)');
  });
});

describe('the address to dial', () => {
  it.each([['0.0.0.0', '127.0.0.1'], ['::', '::1'], ['10.1.2.3', '10.1.2.3'], ['::1', '::1']])('of %s is %s', (host, dialled) => {
    expect(reachable({ host, port: 1 })).toEqual({ host: dialled, port: 1 });
  });
});
