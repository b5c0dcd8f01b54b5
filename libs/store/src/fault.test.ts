import { CarillonError, type ErrorCode } from '@carillon/wire';
import { describe, expect, it } from 'vitest';

import { isConflict, storeFault } from './fault.ts';

const error = (fields: object) => Object.assign(new Error('SELECT secret FROM "users"'), fields);
const byPrisma = (originalCode: string) => error({ code: 'P2010', meta: { driverAdapterError: error({ cause: { originalCode, kind: 'postgres' } }) } });

describe('an error of the database', () => {
  it.each<readonly [ErrorCode, object]>([
    ['RESOURCE_EXISTS', error({ code: 'P2002' })], ['RESOURCE_EXISTS', error({ code: '23505', severity: 'ERROR' })],
    ['RESOURCE_NOT_FOUND', error({ code: 'P2025' })], ['RESOURCE_NOT_FOUND', error({ code: 'P2003' })], ['RESOURCE_NOT_FOUND', byPrisma('23503')],
    ['RESOURCE_INVALID', byPrisma('22021')], ['RESOURCE_INVALID', byPrisma('22P05')], ['RESOURCE_INVALID', error({ code: '54000' })],
    ['STORE_UNAVAILABLE', error({ code: '57P01' })], ['STORE_UNAVAILABLE', byPrisma('57P03')], ['STORE_UNAVAILABLE', error({ code: '53300' })], ['STORE_UNAVAILABLE', byPrisma('53100')],
    ['STORE_UNAVAILABLE', error({ code: '25006' })], ['STORE_UNAVAILABLE', error({ code: '28P01' })], ['STORE_UNAVAILABLE', error({ code: 'P1001' })], ['STORE_UNAVAILABLE', error({ code: 'P2028' })],
    ['STORE_UNAVAILABLE', error({ code: 'ECONNREFUSED' })], ['STORE_UNAVAILABLE', error({ code: 'ENOTFOUND' })], ['STORE_UNAVAILABLE', new Error('timeout exceeded when trying to connect')],
    ['STORE_UNAVAILABLE', new Error('Connection terminated unexpectedly')], ['STORE_UNAVAILABLE', error({ cause: { kind: 'ConnectionClosed' } })], ['STORE_UNAVAILABLE', error({ code: 'P2034' })], ['STORE_UNAVAILABLE', byPrisma('40P01')],
    ['INTERNAL', byPrisma('42P01')], ['INTERNAL', error({ code: 'P2022' })], ['INTERNAL', new TypeError('x is not a function')],
  ])('is %s', (code, thrown) => {
    const fault = storeFault(thrown);
    expect(fault.code).toBe(code);
    expect(fault.message).not.toContain('secret');
    expect(fault.cause).toBe(thrown);
    expect(storeFault(fault)).toBe(fault);
  });

  it('is worth another try after a deadlock or a serialization failure only', () => {
    for (const thrown of [error({ code: '40001' }), error({ code: '40P01' }), error({ code: 'P2034' }), byPrisma('40001')]) {
      expect(isConflict(thrown)).toBe(true);
      expect(isConflict(storeFault(thrown))).toBe(true);
    }
    for (const thrown of [error({ code: 'P2002' }), error({ code: '57P01' }), new CarillonError('STORE_UNAVAILABLE'), undefined, 'text']) expect(isConflict(thrown)).toBe(false);
  });
});
