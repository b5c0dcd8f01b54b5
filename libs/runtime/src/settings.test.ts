import { describe, expect, it } from 'vitest';
import { z } from 'zod';

import { commonSettings, flag, listSettings, loadConfig, redactConfig, setting, text, urlOf } from './index.ts';

const settings = {
  common: commonSettings('HUB', { adminListen: '127.0.0.1:7190' }),
  nats: {
    url: setting({ env: 'CARILLON_NATS_URL', schema: urlOf(['nats:']).optional(), help: 'NATS.' }),
    password: setting({ env: 'CARILLON_NATS_PASSWORD', schema: text().optional(), help: 'Its password.', secret: true, aliases: ['NATS_PASSWORD'] }),
  },
  kind: setting({ env: 'CARILLON_HUB_KIND', schema: z.string().default('a'), help: 'A key that settings have too.' }),
} as const;

describe('listSettings', () => {
  it('lists every setting in order, as docs need it', () => {
    const listed = listSettings(settings);
    expect(listed.map(({ path, env, type }) => `${path} ${env} ${type}`)).toEqual([
      'common.adminListen CARILLON_HUB_ADMIN_LISTEN host:port',
      'common.dataDir CARILLON_DATA_DIR text',
      'common.logLevel CARILLON_LOG_LEVEL trace | debug | info | warn | error | fatal | silent',
      'common.drainTimeoutMs CARILLON_DRAIN_TIMEOUT_MS milliseconds, from 0 to 1800000',
      'nats.url CARILLON_NATS_URL URL, nats://',
      'nats.password CARILLON_NATS_PASSWORD text',
      'kind CARILLON_HUB_KIND string',
    ]);
    expect(listed[3]).toMatchObject({ default: '10000', unit: 'ms', aliases: [], secret: false });
    expect(listed[5]).toEqual({ path: 'nats.password', env: 'CARILLON_NATS_PASSWORD', help: 'Its password.', aliases: ['NATS_PASSWORD'], secret: true, type: 'text' });
  });

  it('looks through what wraps a type', () => {
    const typeOf = (schema: z.ZodType) => listSettings({ x: setting({ env: 'X', schema, help: '' }) })[0]?.type;
    expect(typeOf(flag.nullable().prefault('true'))).toBe('true or false');
    expect(typeOf(z.string().transform(Number))).toBe('string');
  });
});

describe('redactConfig', () => {
  it('prints everything but secrets, set or not', () => {
    const result = loadConfig(settings, { CARILLON_NATS_URL: 'nats://me:hunter2@host:4222', NATS_PASSWORD: 'hunter2' });
    expect(result.ok && redactConfig(settings, result.config)).toEqual({
      common: { adminListen: { host: '127.0.0.1', port: 7190 }, dataDir: '.carillon', logLevel: 'info', drainTimeoutMs: 10_000 },
      nats: { url: 'nats://[redacted]@host:4222', password: '[redacted]' },
      kind: 'a',
    });
    const unset = loadConfig(settings, {});
    expect(unset.ok && redactConfig(settings, unset.config)).toMatchObject({ nats: { url: undefined, password: undefined } });
  });
});
