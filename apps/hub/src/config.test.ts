import { readFileSync } from 'node:fs';

import { createAccessKey } from '@carillon/access';
import { loadConfig, redactConfig } from '@carillon/runtime';
import { describe, expect, it } from 'vitest';

import { hubConfigProblems, hubSettings, hubSettingsFor, loadHubConfig } from './config.ts';
import { VERSION } from './version.ts';

const problemsOf = (env: Record<string, string>): string[] => {
  const loaded = loadHubConfig(env);
  return loaded.ok ? [] : loaded.problems.map(({ env: name }) => name);
};

describe('the configuration of a hub', () => {
  it('needs nothing, and then listens on loopback and stands alone', () => {
    const loaded = loadHubConfig({});
    expect(loaded.ok && loaded.config).toMatchObject({ listen: { host: '127.0.0.1', port: 7100 }, links: [], cluster: { natsUrl: [] }, limits: { frameMaxBytes: 1_000_000, linksMax: 64 } });
    expect(loaded.ok && loaded.config.roomSystem).toBeUndefined();
  });

  it('tells everything that is wrong at once', () => {
    expect(problemsOf({
      CARILLON_HUB_LISTEN: '7100', CARILLON_HUB_FRAME_MAX_BYTES: '1MB', CARILLON_HUB_PING_INTERVAL_MS: '90000', CARILLON_HUB_CONNECTIONS_MAX: '0',
      CARILLON_NATS_URL: 'http://nats', CARILLON_LOG_LEVEL: 'loud', CARILLON_HUB_LINKS: 'a,,b', CARILLON_HUB_PROT: '1',
    }).sort()).toEqual([
      'CARILLON_HUB_CONNECTIONS_MAX', 'CARILLON_HUB_FRAME_MAX_BYTES', 'CARILLON_HUB_LINKS', 'CARILLON_HUB_LISTEN', 'CARILLON_HUB_PING_INTERVAL_MS', 'CARILLON_HUB_PROT', 'CARILLON_LOG_LEVEL', 'CARILLON_NATS_URL',
    ]);
  });

  it('refuses what single settings cannot see: a lane below a frame, times the wrong way round', () => {
    expect(problemsOf({ CARILLON_HUB_LANE_MAX_BYTES: '999999', CARILLON_HUB_COME_BACK_MIN_MS: '50', CARILLON_HUB_COME_BACK_MAX_MS: '49' })).toEqual(['CARILLON_HUB_LANE_MAX_BYTES', 'CARILLON_HUB_COME_BACK_MAX_MS']);
    expect(problemsOf({ CARILLON_HUB_LANE_MAX_BYTES: '1000000', CARILLON_HUB_COME_BACK_MIN_MS: '50', CARILLON_HUB_COME_BACK_MAX_MS: '50' })).toEqual([]);
  });

  it.each(['http://hub-2', 'me@hub-2', 'hub-2:70000', 'hub-2,hub-2:7100', 'hub-2, ws://HUB-2:7100/'])('refuses links that are no addresses or are the same (%s)', (links) => {
    expect(problemsOf({ CARILLON_HUB_LINKS: links })).toEqual(['CARILLON_HUB_LINKS']);
  });

  it('refuses more links than the hub takes', () => {
    expect(problemsOf({ CARILLON_HUB_LINKS: 'a,b', CARILLON_HUB_LINKS_MAX: '1' })).toEqual(['CARILLON_HUB_LINKS']);
    expect(problemsOf({ CARILLON_HUB_LINKS: 'a,b', CARILLON_HUB_LINKS_MAX: '2' })).toEqual([]);
  });

  it('takes the names of the original, its own first', () => {
    const of = (env: Record<string, string>) => {
      const loaded = loadHubConfig(env);
      return loaded.ok ? [loaded.config.roomSystem, loaded.config.name] : loaded.problems;
    };
    expect(of({ ROOM_SYSTEM: 'true', SYSTEM_ID: 'ITB-1101-CP1' })).toEqual(['true', 'ITB-1101-CP1']);
    expect(of({ ROOM_SYSTEM: 'theirs', CARILLON_HUB_ROOM_SYSTEM: 'ours', SYSTEM_ID: 'b', CARILLON_HUB_NAME: 'a' })).toEqual(['ours', 'a']);
    expect(of({ ROOM_SYSTEM: '' })).toEqual([undefined, undefined]);
  });

  it('refuses a damaged log unless it is told to set it aside', () => {
    const of = (env: Record<string, string>) => {
      const loaded = loadHubConfig(env);
      return loaded.ok ? loaded.config.log.whenDamaged : loaded.problems.map(({ env: name }) => name);
    };
    expect([of({}), of({ CARILLON_HUB_LOG_WHEN_DAMAGED: 'set-aside' }), of({ CARILLON_HUB_LOG_WHEN_DAMAGED: 'delete' })]).toEqual(['refuse', 'set-aside', ['CARILLON_HUB_LOG_WHEN_DAMAGED']]);
  });

  it('takes no other CARILLON_ name, those of other apps included', () => {
    expect(problemsOf({ CARILLON_HUB_PORT: '7100', CARILLON_REPEATER_LISTEN: '127.0.0.1:1', CARILLON_X: '1', OTHER_X: '1' })).toEqual(['CARILLON_HUB_PORT', 'CARILLON_REPEATER_LISTEN', 'CARILLON_X']);
  });

  it('never prints the credentials of a NATS address', () => {
    const loaded = loadHubConfig({ CARILLON_NATS_URL: 'http://user:hunter2@nats' });
    expect(loaded.ok).toBe(false);
    expect(JSON.stringify(loaded)).not.toContain('hunter2');
    expect(hubSettings.cluster.natsUrl.secret).toBe(true);
  });

  it('asks for keys, unless it or its app says otherwise', () => {
    const modeOf = (env: Record<string, string>, settings = hubSettings) => {
      const loaded = loadConfig(settings, env);
      return loaded.ok ? loaded.config.access.mode : loaded.problems.map(({ env: name }) => name);
    };
    const loopback = hubSettingsFor({ access: 'loopback' });
    expect([modeOf({}), modeOf({ CARILLON_HUB_ACCESS: 'open' }), modeOf({}, loopback), modeOf({ CARILLON_HUB_ACCESS: 'keys' }, loopback)]).toEqual(['keys', 'open', 'loopback', 'keys']);
    expect(modeOf({ CARILLON_HUB_ACCESS: 'Open' })).toEqual(['CARILLON_HUB_ACCESS']);
  });

  it('never prints the key of its links, also when it is none', () => {
    const { key } = createAccessKey();
    const loaded = loadHubConfig({ CARILLON_HUB_LINK_KEY: key });
    if (!loaded.ok) throw new Error('a key is refused');
    expect(loaded.config.access.linkKey).toBe(key);
    expect(JSON.stringify(redactConfig(hubSettings, loaded.config))).not.toContain(key);
    const refused = loadHubConfig({ CARILLON_HUB_LINK_KEY: `${key}x` });
    expect([refused.ok, JSON.stringify(refused).includes(key)]).toEqual([false, false]);
  });

  it('is checked as a whole also when it was made by hand', () => {
    const loaded = loadHubConfig({});
    if (!loaded.ok) throw new Error('the defaults are refused');
    expect(hubConfigProblems(loaded.config)).toEqual([]);
    expect(hubConfigProblems({ ...loaded.config, links: ['x y'] })).toHaveLength(1);
  });
});

describe('the version', () => {
  it('is that of package.json', () => {
    const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
    expect(VERSION).toBe(version);
  });
});
