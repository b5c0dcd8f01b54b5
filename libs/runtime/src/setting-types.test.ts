import { describe, expect, it } from 'vitest';
import type { z } from 'zod';

import { bytes, commaList, durationMs, flag, integer, listenAddress, logLevel, oneOf, text, urlOf } from './index.ts';

const accepted: readonly (readonly [string, z.ZodType, string, unknown])[] = [
  ['listenAddress', listenAddress, '[::1]:0', { host: '::1', port: 0 }],
  ['integer', integer({ min: -5, max: 5 }), '-5', -5],
  ['integer without a range', integer(), '9007199254740991', Number.MAX_SAFE_INTEGER],
  ['bytes', bytes(), '1000', 1000],
  ['bytes', bytes(), '64KiB', 65_536],
  ['bytes', bytes(), '1 MiB', 1_048_576],
  ['bytes', bytes({ max: 2 ** 31 }), '2GiB', 2 ** 31],
  ['durationMs', durationMs(), '0', 0],
  ['durationMs', durationMs(), '2147483647', 2_147_483_647],
  ['flag', flag, 'true', true],
  ['flag', flag, 'false', false],
  ['oneOf', oneOf(['live', 'durable']), 'live', 'live'],
  ['commaList', commaList, 'a, b ,c', ['a', 'b', 'c']],
  ['commaList', commaList, '', []],
  ['text', text(), 'Grüße', 'Grüße'],
  ['urlOf', urlOf(['ws:', 'wss:']), 'ws://localhost:7100', 'ws://localhost:7100'],
  ['logLevel', logLevel, 'silent', 'silent'],
];

const refused: readonly (readonly [string, z.ZodType, string, string])[] = [
  ['listenAddress', listenAddress, ':7100', 'has no host'],
  ['integer', integer(), '1.5', 'must be a whole number'],
  ['integer', integer(), '0x10', 'must be a whole number'],
  ['integer', integer(), ' 1', 'must be a whole number'],
  ['integer', integer(), '-1', 'must be at least 0'],
  ['integer', integer(), '9007199254740993', 'must be at least 0'],
  ['integer', integer({ min: 1, max: 9 }), '10', 'must be from 1 to 9'],
  ['bytes', bytes(), '64KB', 'KiB, MiB or GiB'],
  ['bytes', bytes(), '1.5MiB', 'KiB, MiB or GiB'],
  ['bytes', bytes({ min: 1_024 }), '1000', 'must be at least 1024'],
  ['bytes', bytes({ max: 1_024 }), '1MiB', 'must be from 0 to 1024'],
  ['durationMs', durationMs(), '10s', 'milliseconds'],
  ['durationMs', durationMs(), '2147483648', 'must be from 0 to 2147483647'],
  ['flag', flag, 'yes', 'must be true or false'],
  ['flag', flag, 'TRUE', 'must be true or false'],
  ['oneOf', oneOf(['live', 'durable']), 'Live', 'must be one of live, durable'],
  ['commaList', commaList, 'a,,b', 'none of them empty'],
  ['commaList', commaList, ' ', 'none of them empty'],
  ['text', text({ max: 3 }), 'four', 'at most 3 characters'],
  ['text', text(), 'a\nb', 'control characters'],
  ['urlOf', urlOf(['ws:', 'wss:']), 'http://localhost', 'must be a URL that begins with ws:// or wss://'],
  ['urlOf', urlOf(['ws:']), 'localhost:7100', 'must be a URL'],
  ['urlOf', urlOf(['nats:']), 'nats://', 'must be a URL'],
  ['logLevel', logLevel, 'verbose', 'must be one of trace, debug'],
];

describe('setting types', () => {
  it.each(accepted)('%s (%#) accepts %3$j', (_, schema, given, value) => {
    expect(schema.safeParse(given)).toEqual({ success: true, data: value });
  });

  it.each(refused)('%s (%#) refuses %3$j and says why', (_, schema, given, reason) => {
    const result = schema.safeParse(given);
    expect(result.error?.issues[0]?.message).toContain(reason);
  });

  it.each(refused)('%s (%#) says nothing of the value, which may be a secret', (_, schema) => {
    const result = schema.safeParse('\u0000hunter2,,'.padEnd(5_000, 'x'));
    expect(JSON.stringify(result.error?.issues.map((issue) => issue.message))).not.toContain('hunter2');
  });

  it('refuses to be unset, unless optional', () => {
    expect(flag.safeParse(undefined).success).toBe(false);
    expect(flag.optional().safeParse(undefined)).toEqual({ success: true, data: undefined });
  });
});
