import { resourcePermissions } from '@carillon/schemas';
import { describe, expect, it } from 'vitest';

import { readResources, showResources } from './account-resources.ts';

describe('the resources of an ACCOUNT key', () => {
  it.each(['access_keys', 'accessKeys', 'access keys', 'access-keys'])('may call our keys %s', (word) => {
    expect(readResources({ [word]: { read: ['*'] } }, 'gms')).toEqual({ ok: true, resources: { keys: { read: ['*'] } } });
  });

  it('say write for create, update and delete, and are shown with both', () => {
    const read = readResources({ events: { write: ['*'], read: ['team/*'], create: ['*', 'team'] }, workspaces: { create: ['gms', 'gms/team'] }, logs: { read: ['*'] } }, 'GMS');
    expect(read).toEqual({
      ok: true,
      resources: {
        'event-definitions': { create: ['*', 'team'], update: ['*'], delete: ['*'], read: ['team/*'] },
        workspaces: { create: ['', 'team'] }, audit: { read: ['*'] },
      },
    });
    if (!read.ok) throw new Error(read.detail);
    expect(resourcePermissions.safeParse(read.resources).success).toBe(true);
    expect(showResources(read.resources, 'gms')).toEqual({
      events: { read: ['team/*'], create: ['*', 'team'], update: ['*'], delete: ['*'] }, workspaces: { create: ['gms', 'team'] }, logs: { read: ['*'] },
    });
    expect(showResources({ keys: { create: ['*'], update: ['*'], delete: ['*'] } }, 'gms')).toEqual({ access_keys: { create: ['*'], update: ['*'], delete: ['*'], write: ['*'] } });
  });

  it('are not shown where EnSync has no word for them', () => {
    expect(showResources({ members: { read: ['*'] }, devices: { read: ['*'] } }, 'gms')).toEqual({});
  });

  it.each([
    [{ integrations: { read: ['*'] } }, '/integrations'],
    [{ members: { read: ['*'] } }, '/members'],
    [{ constructor: { read: ['*'] } }, '/constructor'],
    [{ events: { list: ['*'] } }, '/events/list'],
    [{ events: { 'a/b': ['*'] } }, '/events/a~1b'],
    [{ events: { read: ['*', '../other'] } }, '/events/read/1'],
    [{ events: { read: ['a/*/b'] } }, '/events/read/0'],
    [{ events: { read: ['gms/*'] } }, '/events/read/0'],
    [{ events: { read: [''] } }, '/events/read/0'],
    [{ events: { read: Array.from({ length: 101 }, (_, at) => `w${at}`) } }, '/events/read'],
  ])('%j is refused', (wire, pointer) => {
    expect(readResources(wire as never, 'gms')).toMatchObject({ ok: false, pointer });
  });
});
