import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { createAccessKey } from '@carillon/access';
import { listSettings, redactConfig } from '@carillon/runtime';

import { loadRepeaterConfig, repeaterSettings, repeaterSettingsFor, type RepeaterConfig } from './config.ts';
import { REPEATER_VERSION } from './version.ts';

function load(env: Record<string, string>): RepeaterConfig {
  const result = loadRepeaterConfig(env);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.config;
}

test('a repeater needs no settings', () => {
  expect(load({})).toMatchObject({ listen: { host: '127.0.0.1', port: 7101 }, id: undefined, localRooms: 'on', outbox: { kind: 'disk', maxBytes: 1_073_741_824, overflow: 'drop-oldest', drainEventsPerSecond: 20_000 }, hub: { url: 'ws://localhost:7100/' }, sendList: { file: undefined, centralAddresses: [] } });
});

test('the names of the original work', () => {
  const config = load({ HUB_ADDRESS: 'hub.example:7100', SYSTEM_ID: 'ITB-1101-CP1', ROOM_SYSTEM: 'true', CENTRAL_REPEATER_ADDRESSES: 'central-1, ws://central-2:7201' });
  expect(config).toMatchObject({ id: 'ITB-1101-CP1', hub: { url: 'ws://hub.example:7100/' }, sendList: { centralAddresses: ['ws://central-1:7101/', 'ws://central-2:7201/'] } });
});

test('every problem is told at once', () => {
  const result = loadRepeaterConfig({
    CARILLON_REPEATER_LISTEN: ':7101', HUB_ADDRESS: 'http://hub', SYSTEM_ID: 'a\u0001', CENTRAL_REPEATER_ADDRESSES: 'a,,b', CARILLON_REPEATER_LOCAL_ROOMS: 'yes', CARILLON_REPEATER_HUB: 'x',
  });
  expect(result.ok ? [] : result.problems.map(({ env }) => env)).toEqual(['CARILLON_REPEATER_LISTEN', 'SYSTEM_ID', 'CARILLON_REPEATER_LOCAL_ROOMS', 'HUB_ADDRESS', 'CENTRAL_REPEATER_ADDRESSES', 'CARILLON_REPEATER_HUB']);
});

test('queues and lanes must take the largest frame', () => {
  const result = loadRepeaterConfig({ CARILLON_REPEATER_OUTBOX_MAX_BYTES: '1KiB', CARILLON_REPEATER_UPSTREAM_QUEUE_MAX_BYTES: '1KiB', CARILLON_REPEATER_TARGET_QUEUE_MAX_BYTES: '1KiB', CARILLON_REPEATER_LANE_MAX_BYTES: '64KiB' });
  expect(result.ok ? [] : result.problems.map(({ env }) => env)).toEqual(['CARILLON_REPEATER_LANE_MAX_BYTES', 'CARILLON_REPEATER_UPSTREAM_QUEUE_MAX_BYTES', 'CARILLON_REPEATER_OUTBOX_MAX_BYTES', 'CARILLON_REPEATER_TARGET_QUEUE_MAX_BYTES']);
});

test('keys are asked for unless told otherwise; a standalone tells otherwise', () => {
  expect(load({}).access).toBe('keys');
  const byDefault = (settings: ReturnType<typeof repeaterSettingsFor>) => listSettings(settings).find(({ env }) => env === 'CARILLON_REPEATER_ACCESS')?.default;
  expect([byDefault(repeaterSettings), byDefault(repeaterSettingsFor({ access: 'loopback' }))]).toEqual(['keys', 'loopback']);
});

test('the repeater\'s key is a secret, must be one, and comes from one place', () => {
  const { key } = createAccessKey();
  const problems = (env: Record<string, string>): string[] => {
    const result = loadRepeaterConfig(env);
    const all = result.ok ? [] : result.problems;
    expect(JSON.stringify(all)).not.toContain('ck_short');
    return all.map(({ env: name }) => name);
  };
  expect(JSON.stringify(redactConfig(repeaterSettings, load({ CARILLON_REPEATER_KEY: key })))).not.toContain(key);
  expect(problems({ CARILLON_REPEATER_KEY: 'ck_short' })).toEqual(['CARILLON_REPEATER_KEY']);
  expect(problems({ CARILLON_REPEATER_KEY: key, CARILLON_REPEATER_KEY_FILE: 'a' })).toEqual(['CARILLON_REPEATER_KEY_FILE']);
  expect(problems({ CARILLON_REPEATER_KEY_FILE: 'a', HUB_ADDRESS: 'ws://hub/k/secret' })).toEqual(['CARILLON_REPEATER_HUB_URL']);
  expect(problems({ CARILLON_REPEATER_ACCESS: 'none' })).toEqual(['CARILLON_REPEATER_ACCESS']);
});

test('the version is the package\'s', () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  expect(REPEATER_VERSION).toBe(version);
});
