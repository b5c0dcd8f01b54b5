import { describe, expect, it } from 'vitest';

import { loadStandaloneConfig } from './config.ts';

const problemsOf = (env: Readonly<Record<string, string>>): string[] => {
  const loaded = loadStandaloneConfig(env);
  return loaded.ok ? [] : loaded.problems.map((problem) => problem.env);
};

describe('the configuration of a standalone', () => {
  it('has a default for everything, on loopback', () => {
    const loaded = loadStandaloneConfig({});
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
    const { common, hub, repeater, configManager } = loaded.config;
    expect([common.adminListen, hub.listen, repeater.listen, configManager.listen].map(({ host, port }) => `${host}:${port}`)).toEqual(['127.0.0.1:7180', '127.0.0.1:7100', '127.0.0.1:7101', '127.0.0.1:8080']);
    expect([hub.access.mode, repeater.access]).toEqual(['loopback', 'loopback']);
  });

  it('takes the settings of the hub, of the repeater, and its own', () => {
    const loaded = loadStandaloneConfig({ CARILLON_HUB_NAME: 'desk', CARILLON_HUB_LOG_WHEN_DAMAGED: 'set-aside', CARILLON_REPEATER_ID: 'ITB-1101-CP1', CARILLON_STANDALONE_ADMIN_LISTEN: '127.0.0.1:9', CARILLON_LOG_LEVEL: 'warn' });
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
    const { common, hub, repeater } = loaded.config;
    expect([hub.name, hub.log.whenDamaged]).toEqual(['desk', 'set-aside']);
    expect(repeater.id).toBe('ITB-1101-CP1');
    expect(common).toMatchObject({ adminListen: { port: 9 }, logLevel: 'warn' });
  });

  it('tells everything that is wrong at once, whosever it is, and once', () => {
    expect(problemsOf({ CARILLON_HUB_LISTEN: '7100', CARILLON_REPEATER_LANE_MAX_BYTES: 'much', CARILLON_STANDALONE_ADMIN_LISTEN: ':1', CARILLON_LOG_LEVEL: 'loud', CARILLON_HUB_LISTNE: 'x' }).sort()).toEqual([
      'CARILLON_HUB_LISTEN', 'CARILLON_HUB_LISTNE', 'CARILLON_LOG_LEVEL', 'CARILLON_REPEATER_LANE_MAX_BYTES', 'CARILLON_STANDALONE_ADMIN_LISTEN',
    ]);
  });

  it('tells what does not go together in the hub and in the repeater', () => {
    expect(problemsOf({ CARILLON_HUB_LANE_MAX_BYTES: '64KiB', CARILLON_REPEATER_LANE_MAX_BYTES: '64KiB' })).toEqual(['CARILLON_HUB_LANE_MAX_BYTES', 'CARILLON_REPEATER_LANE_MAX_BYTES']);
  });
});
