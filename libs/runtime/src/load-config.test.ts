import { describe, expect, expectTypeOf, it } from 'vitest';

import { durationMs, integer, listenAddress, loadConfig, setting, text, urlOf, type Environment, type ListenAddress } from './index.ts';

const settings = {
  listen: setting({ env: 'CARILLON_REPEATER_LISTEN', schema: listenAddress, default: '127.0.0.1:7200', help: 'Where devices connect.' }),
  uplink: {
    hubUrl: setting({ env: 'CARILLON_REPEATER_HUB_URL', schema: urlOf(['ws:', 'wss:']), help: 'The hub to connect to.', aliases: ['HUB_ADDRESS', 'HUB_URL'] }),
    key: setting({ env: 'CARILLON_REPEATER_KEY', schema: text({ max: 8 }).optional(), help: 'The access key.', secret: true }),
    retryMs: setting({ env: 'CARILLON_REPEATER_RETRY_MS', schema: durationMs({ min: 10 }), default: '1000', help: 'Pause between tries.', unit: 'ms' }),
  },
} as const;

const good = { CARILLON_REPEATER_HUB_URL: 'ws://hub:7100' };

function problemsOf(env: Environment): readonly string[] {
  const result = loadConfig(settings, env);
  return result.ok ? [] : result.problems.map(({ env: name, message }) => `${name} ${message}`);
}

describe('loadConfig', () => {
  it('gives a nested, typed configuration with defaults filled in', () => {
    const result = loadConfig(settings, { ...good, CARILLON_REPEATER_RETRY_MS: '20', PATH: '/bin' });
    expect(result).toEqual({ ok: true, config: { listen: { host: '127.0.0.1', port: 7200 }, uplink: { hubUrl: 'ws://hub:7100', key: undefined, retryMs: 20 } } });
    if (!result.ok) return;
    expectTypeOf(result.config.listen).toEqualTypeOf<ListenAddress>();
    expectTypeOf(result.config.uplink.retryMs).toEqualTypeOf<number>();
    expectTypeOf(result.config.uplink.key).toEqualTypeOf<string | undefined>();
  });

  it('tells all problems at once', () => {
    expect(problemsOf({ CARILLON_REPEATER_LISTEN: ':7200', CARILLON_REPEATER_RETRY_MS: '1s', CARILLON_REPEATER_LISTN: 'x' })).toEqual([
      'CARILLON_REPEATER_LISTEN has no host: write 127.0.0.1 for this machine alone or 0.0.0.0 for every interface (it is ":7200")',
      'CARILLON_REPEATER_HUB_URL is required: The hub to connect to.',
      'CARILLON_REPEATER_RETRY_MS must be a whole number of milliseconds (it is "1s")',
      'CARILLON_REPEATER_LISTN is not a setting of this program; did you mean CARILLON_REPEATER_LISTEN?',
    ]);
  });

  it('takes an empty text for unset, also under an unknown name', () => {
    expect(problemsOf({ ...good, CARILLON_REPEATER_LISTEN: '', CARILLON_UNKNOWN: '' })).toEqual([]);
    expect(problemsOf({ CARILLON_REPEATER_HUB_URL: '' })).toEqual(['CARILLON_REPEATER_HUB_URL is required: The hub to connect to.']);
  });

  it.each([
    [{ HUB_ADDRESS: 'ws://alias:1' }, 'ws://alias:1'],
    [{ HUB_URL: 'ws://second:1' }, 'ws://second:1'],
    [{ HUB_ADDRESS: 'ws://alias:1', HUB_URL: 'ws://second:1' }, 'ws://alias:1'],
    [{ CARILLON_REPEATER_HUB_URL: '', HUB_ADDRESS: 'ws://alias:1' }, 'ws://alias:1'],
    [{ CARILLON_REPEATER_HUB_URL: 'ws://main:1', HUB_ADDRESS: 'ws://alias:1' }, 'ws://main:1'],
    [{ CARILLON_REPEATER_HUB_URL: 'ws://main:1', HUB_ADDRESS: 'not read at all' }, 'ws://main:1'],
  ])('reads an alias only while the own name is unset (%#)', (env, hubUrl) => {
    expect(loadConfig(settings, env)).toMatchObject({ ok: true, config: { uplink: { hubUrl } } });
  });

  it('names the alias when it is the alias that is wrong', () => {
    expect(problemsOf({ HUB_ADDRESS: 'hub' })).toEqual(['HUB_ADDRESS must be a URL that begins with ws:// or wss:// (it is "hub")']);
  });

  it('never quotes a secret, and masks credentials in a URL', () => {
    expect(problemsOf({ ...good, CARILLON_REPEATER_KEY: 'hunter2-hunter2' })).toEqual(['CARILLON_REPEATER_KEY must be at most 8 characters long']);
    expect(problemsOf({ CARILLON_REPEATER_HUB_URL: 'http://me:hunter2@hub' }).join()).not.toContain('hunter2');
  });

  it('cuts a long value short', () => {
    expect(problemsOf({ ...good, CARILLON_REPEATER_LISTEN: 'x'.repeat(10_000) }).join().length).toBeLessThan(250);
  });

  it('suggests a name only when one is near', () => {
    expect(problemsOf({ ...good, CARILLON_ZZZ: '1' })).toEqual(['CARILLON_ZZZ is not a setting of this program']);
  });

  it('lets pass what Kubernetes announces of a Service, but not the same name without the Service', () => {
    const announced = {
      CARILLON_HUB_SERVICE_HOST: '10.0.0.1', CARILLON_HUB_SERVICE_PORT: '7100', CARILLON_HUB_SERVICE_PORT_WS: '7100', CARILLON_HUB_PORT: 'tcp://10.0.0.1:7100',
      CARILLON_HUB_PORT_7100_TCP: 'tcp://10.0.0.1:7100', CARILLON_HUB_PORT_7100_TCP_PROTO: 'tcp', CARILLON_HUB_PORT_7100_TCP_ADDR: '10.0.0.1',
    };
    expect(problemsOf({ ...good, ...announced })).toEqual([]);
    expect(problemsOf({ ...good, CARILLON_HUB_PORT: '7100' })).toHaveLength(1);
    expect(problemsOf({ ...good, ...announced, CARILLON_HUB_LISTEN: 'x' })).toHaveLength(1);
  });

  it('tells a problem of a shared setting once, and a wrong default as such', () => {
    const shared = setting({ env: 'CARILLON_SHARED', schema: integer(), default: 'x', help: 'Shared.' });
    const result = loadConfig({ a: { shared }, b: { shared } }, {});
    expect(result).toEqual({ ok: false, problems: [{ env: 'CARILLON_SHARED', message: 'the default must be a whole number (it is "x")' }] });
  });
});
