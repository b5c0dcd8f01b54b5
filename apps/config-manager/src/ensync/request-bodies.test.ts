import { describe, expect, it } from 'vitest';

import { accessKeyCreate, eventCreate, eventUpdate, permissionsUpdate, readBody, servicePairRotate, workspaceCreate } from './request-bodies.ts';

const YEAR_1 = '0001-01-01T00:00:00Z';

describe('a body', () => {
  it('is read without what its sender did not mean', () => {
    expect(readBody(eventCreate, { id: '', name: 'gms/report', payload: { a: 'string' }, createdAt: YEAR_1, updatedAt: YEAR_1 })).toEqual({ name: 'gms/report', payload: { a: 'string' } });
    expect(readBody(eventUpdate, { name: '', payload: {}, createdAt: YEAR_1 })).toEqual({ name: undefined, payload: undefined });
    expect(readBody(eventUpdate, { name: null, payload: null })).toEqual({ name: undefined, payload: undefined });
    expect(readBody(eventUpdate, {})).toEqual({ name: undefined, payload: undefined });
    expect(readBody(accessKeyCreate, { permissions: null })).toEqual({ type: 'SERVICE', name: undefined, permissions: undefined });
    expect(readBody(accessKeyCreate, {})).toEqual({ type: 'SERVICE', name: undefined, permissions: undefined });
    expect(readBody(accessKeyCreate, { type: 'account', name: 'x', permissions: { send: null, resources: { events: { read: ['*'], write: null }, logs: null } } })).toEqual({
      type: 'ACCOUNT', name: 'x', permissions: { send: undefined, receive: undefined, resources: { events: { read: ['*'], write: [] }, logs: {} } },
    });
    expect(readBody(permissionsUpdate, { send: null, receive: [] })).toEqual({ send: undefined, receive: [], resources: undefined });
    expect(readBody(servicePairRotate, { access_key: '', accessKey: 'a' })).toEqual({ access_key: undefined, accessKey: 'a' });
  });

  it.each([
    [eventCreate, { name: '', payload: {} }], [eventCreate, { name: 'a' }], [eventCreate, { name: 'a*', payload: {} }], [eventCreate, { name: 'a', payload: [] }], [eventCreate, []], [eventCreate, null], [eventCreate, 'x'],
    [eventUpdate, { name: 7 }], [eventUpdate, { payload: 'x' }],
    [eventCreate, { name: 'a', payload: Object.fromEntries(Array.from({ length: 501 }, (_, at) => [`f${at}`, 'string'])) }],
    [accessKeyCreate, { type: 'MESSENGER' }], [accessKeyCreate, { name: 'a\u0007' }], [accessKeyCreate, { permissions: { send: 'order' } }],
    [permissionsUpdate, { send: [1] }], [permissionsUpdate, { send: Array.from({ length: 501 }, () => 'a') }], [permissionsUpdate, { resources: { events: ['read'] } }],
    [workspaceCreate, { name: '' }], [workspaceCreate, {}],
  ])('is refused where it is wrong (%#)', (schema, body) => {
    expect(() => readBody(schema, body)).toThrow(expect.objectContaining({ code: 'RESOURCE_INVALID' }));
  });
});
