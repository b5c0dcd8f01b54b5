import { describe, expect, it } from 'vitest';

import { readSettings, type ConsumeRequest } from './consumer-settings.ts';

const ask = (more: Partial<ConsumeRequest> = {}): ConsumeRequest => ({ op: 'consume', request: 'c', name: 'billing', rooms: ['ITB-*'], ...more });

describe('the settings of a consumer', () => {
  it('have defaults', () => {
    expect(readSettings(ask())).toEqual({ ok: true, settings: { ackTimeoutMs: 30_000, maxDeliveries: 5, maxInFlight: 1_000, window: 64 } });
  });

  it.each([
    ['ackTimeoutMs', 1_000, 3_600_000],
    ['maxDeliveries', 1, 100],
    ['maxInFlight', 1, 10_000],
    ['window', 1, 4_096],
  ] as const)('are taken within their range: %s', (name, min, max) => {
    for (const value of [min, max]) expect(readSettings(ask({ [name]: value }))).toMatchObject({ ok: true, settings: { [name]: value } });
    for (const value of [min - 1, max + 1]) expect(readSettings(ask({ [name]: value }))).toEqual({ ok: false, code: 'CONSUMER_INVALID', detail: `${name} is ${min} to ${max}` });
  });

  it('name a room', () => {
    expect(readSettings(ask({ rooms: [] }))).toMatchObject({ ok: false, code: 'CONSUMER_INVALID' });
  });
});
