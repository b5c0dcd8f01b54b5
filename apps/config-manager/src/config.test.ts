import { readFileSync } from 'node:fs';

import { listSettings, redactConfig } from '@carillon/runtime';
import { describe, expect, it } from 'vitest';

import { configManagerSettings, loadConfigManagerConfig } from './config.ts';
import { VERSION } from './version.ts';

const problemsOf = (env: Record<string, string>): string[] => {
  const loaded = loadConfigManagerConfig(env);
  return loaded.ok ? [] : loaded.problems.map((problem) => problem.env);
};

describe('the configuration of a config-manager', () => {
  it('needs nothing: loopback, a database of its own, no identity provider', () => {
    const loaded = loadConfigManagerConfig({});
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
    expect(loaded.config).toMatchObject({
      listen: { host: '127.0.0.1', port: 8080 }, common: { adminListen: { host: '127.0.0.1', port: 8081 } }, database: { url: undefined, poolMax: 10 }, bus: { natsUrl: [] },
      sessions: { ttlMs: 43_200_000, idleMs: 3_600_000 }, oidc: { issuer: undefined, createUsers: false }, first: { username: 'admin', password: undefined }, http: { trustProxyHops: 0, allowedOrigins: [] },
    });
  });

  it('tells everything that is wrong at once', () => {
    expect(problemsOf({
      CARILLON_CONFIG_MANAGER_LISTEN: '8080', CARILLON_DATABASE_URL: 'mysql://x', CARILLON_NATS_URL: 'http://nats', CARILLON_CONFIG_MANAGER_ADMIN_USERNAME: 'Ada Lovelace', CARILLON_CONFIG_MANAGER_PORT: '1',
    }).sort()).toEqual(['CARILLON_CONFIG_MANAGER_ADMIN_USERNAME', 'CARILLON_CONFIG_MANAGER_LISTEN', 'CARILLON_CONFIG_MANAGER_PORT', 'CARILLON_DATABASE_URL', 'CARILLON_NATS_URL']);
  });

  it.each([
    [{ CARILLON_CONFIG_MANAGER_SESSION_TTL_MS: '5000', CARILLON_CONFIG_MANAGER_SESSION_IDLE_MS: '5001' }, ['CARILLON_CONFIG_MANAGER_SESSION_IDLE_MS']],
    [{ CARILLON_CONFIG_MANAGER_ALLOWED_ORIGINS: 'https://console.example,console.example' }, ['CARILLON_CONFIG_MANAGER_ALLOWED_ORIGINS']],
    [{ CARILLON_CONFIG_MANAGER_ALLOWED_ORIGINS: 'https://console.example/path' }, ['CARILLON_CONFIG_MANAGER_ALLOWED_ORIGINS']],
    [{ CARILLON_CONFIG_MANAGER_ALLOWED_ORIGINS: 'https://console.example, http://localhost:3000' }, []],
    [{ CARILLON_CONFIG_MANAGER_ALLOWED_ORIGINS: '*' }, []],
    [{ CARILLON_CONFIG_MANAGER_OIDC_ISSUER: 'https://id.example' }, ['CARILLON_CONFIG_MANAGER_OIDC_CLIENT_ID', 'CARILLON_CONFIG_MANAGER_OIDC_REDIRECT_URL']],
    [{ CARILLON_CONFIG_MANAGER_OIDC_ISSUER: 'http://id.example', CARILLON_CONFIG_MANAGER_OIDC_CLIENT_ID: 'c', CARILLON_CONFIG_MANAGER_OIDC_REDIRECT_URL: 'https://c.example/api/v1/oidc/callback' }, ['CARILLON_CONFIG_MANAGER_OIDC_ISSUER']],
  ])('refuses what single settings cannot see (%j)', (env, problems) => {
    expect(problemsOf(env as Record<string, string>)).toEqual(problems);
  });

  it('never prints a secret', () => {
    const loaded = loadConfigManagerConfig({ CARILLON_DATABASE_URL: 'postgresql://u:hunter2@db/x', CARILLON_CONFIG_MANAGER_ADMIN_PASSWORD: 'hunter2', CARILLON_CONFIG_MANAGER_OIDC_CLIENT_SECRET: 'hunter2', CARILLON_NATS_URL: 'nats://u:hunter2@n' });
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
    expect(JSON.stringify(redactConfig(configManagerSettings, loaded.config))).not.toContain('hunter2');
    expect(JSON.stringify(loadConfigManagerConfig({ CARILLON_DATABASE_URL: 'mysql://u:hunter2@db' }))).not.toContain('hunter2');
  });

  it('names every setting once, by the app', () => {
    const names = listSettings(configManagerSettings).map(({ env }) => env);
    expect(new Set(names).size).toBe(names.length);
    expect(names.filter((name) => !name.startsWith('CARILLON_CONFIG_MANAGER_')).sort()).toEqual(['CARILLON_DATABASE_URL', 'CARILLON_DATA_DIR', 'CARILLON_DRAIN_TIMEOUT_MS', 'CARILLON_LOG_LEVEL', 'CARILLON_NATS_CREDS_FILE', 'CARILLON_NATS_URL']);
  });

  it('has the version of its package', () => {
    expect((JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version).toBe(VERSION);
  });
});
