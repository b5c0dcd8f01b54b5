import { describe, expect, it } from 'vitest';

import { Health } from './index.ts';

describe('Health', () => {
  it('is ready when every check is, and asks them anew each time', () => {
    const health = new Health();
    let connected = true;
    health.addCheck('bus', () => (connected ? { ok: true } : { ok: false, reason: 'NATS is away' }));
    health.addCheck('log', () => ({ ok: true }));
    expect(health.readiness()).toEqual({ ready: true, checks: { bus: { ok: true }, log: { ok: true } } });
    connected = false;
    expect(health.readiness()).toEqual({ ready: false, checks: { bus: { ok: false, reason: 'NATS is away' }, log: { ok: true } } });
  });

  it('counts a check that throws as failed', () => {
    const health = new Health();
    health.addCheck('disk', () => {
      throw new Error('no such folder');
    });
    expect(health.readiness()).toEqual({ ready: false, checks: { disk: { ok: false, reason: 'no such folder' } } });
  });

  it('refuses a name twice', () => {
    const health = new Health();
    health.addCheck('bus', () => ({ ok: true }));
    expect(() => health.addCheck('bus', () => ({ ok: true }))).toThrow('The health check bus already exists.');
  });
});
