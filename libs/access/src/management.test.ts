import { ACTIONS, RESOURCES, ROLES, type Action, type Resource, type ResourcePermissions, type Role } from '@carillon/schemas';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { effectiveRole, mayManage, outranks, roleAllows, type ManagementPrincipal } from './index.ts';

const root = { id: 'r', path: 'acme' };
const team = { id: 't', path: 'acme/team-a' };
const lab = { id: 'l', path: 'acme/team-a/lab' };
const sibling = { id: 's', path: 'acme/team-ab' };
const foreign = { id: 'f', path: 'team-a' };
const what = { resource: 'keys', action: 'read' } as const;
const atRoot = { ...what, workspace: root, ancestors: [] };
const atTeam = { ...what, workspace: team, ancestors: [root] };
const atLab = { ...what, workspace: lab, ancestors: [root, team] };
const atSibling = { ...what, workspace: sibling, ancestors: [root] };
const atForeign = { ...what, workspace: foreign, ancestors: [] };

describe('roles', () => {
  /** The matrix, written out: the lowest role that may. */
  const lowest: Readonly<Record<Resource, Readonly<Record<Action, Role | undefined>>>> = {
    workspaces: { read: 'viewer', create: 'admin', update: 'admin', delete: 'owner' },
    members: { read: 'viewer', create: 'admin', update: 'admin', delete: 'admin' },
    keys: { read: 'viewer', create: 'developer', update: 'operator', delete: 'developer' },
    'event-definitions': { read: 'viewer', create: 'developer', update: 'developer', delete: 'developer' },
    rooms: { read: 'viewer', create: 'developer', update: 'developer', delete: 'developer' },
    devices: { read: 'viewer', create: 'operator', update: 'operator', delete: 'operator' },
    audit: { read: 'admin', create: undefined, update: undefined, delete: undefined },
  };

  it.each(ROLES.flatMap((role) => RESOURCES.flatMap((resource) => ACTIONS.map((action) => [role, resource, action] as const))))('%s, %s: %s', (role, resource, action) => {
    const least = lowest[resource][action];
    expect(roleAllows(role, resource, action)).toBe(least !== undefined && ROLES.indexOf(role) <= ROLES.indexOf(least));
  });

  it('are in an order', () => {
    expect([outranks('owner', 'admin'), outranks('admin', 'owner'), outranks('viewer', 'viewer'), outranks('operator', 'viewer')]).toEqual([true, false, false, true]);
  });

  it('come down from above, and the highest counts', () => {
    const roles = new Map<string, Role>([['r', 'operator'], ['t', 'viewer'], ['l', 'admin']]);
    expect([effectiveRole(roles, 'r', []), effectiveRole(roles, 't', ['r']), effectiveRole(roles, 'l', ['r', 't']), effectiveRole(roles, 'x', [])]).toEqual(['operator', 'operator', 'admin', undefined]);
  });
});

describe('a person', () => {
  const person = (roles: readonly (readonly [string, Role])[], administrator = false): ManagementPrincipal => ({ kind: 'user', administrator, roles: new Map(roles) });

  it('may where their role says so, and below, not above or beside', () => {
    const viewer = person([['t', 'viewer']]);
    expect([atRoot, atTeam, atLab, atSibling, atForeign].map((place) => mayManage(viewer, place))).toEqual([false, true, true, false, false]);
    expect(mayManage(viewer, { ...atTeam, action: 'create' })).toBe(false);
  });

  it('may nothing without a role, and everything as an administrator', () => {
    expect([mayManage(person([]), atTeam), mayManage(person([], true), { ...atForeign, resource: 'workspaces', action: 'delete' })]).toEqual([false, true]);
  });
});

describe('an account key', () => {
  const key = (paths: readonly string[], workspaceId = 't'): ManagementPrincipal => ({ kind: 'key', workspaceId, resources: { keys: { read: [...paths] } } });
  const reach = (paths: readonly string[], workspaceId?: string) => [atRoot, atTeam, atLab, atSibling, atForeign].map((place) => mayManage(key(paths, workspaceId), place));

  it.each([
    ['its own alone', [''], 't', [false, true, false, false, false]],
    ['its own and all below', ['*'], 't', [false, true, true, false, false]],
    ['one below', ['lab'], 't', [false, false, true, false, false]],
    ['one below by its path', ['team-a/lab'], 'r', [false, false, true, false, false]],
    ['all below one, without itself', ['team-a/*'], 'r', [false, false, true, false, false]],
    ['all below one that begins alike', ['team-ab/*'], 'r', [false, false, false, false, false]],
    ['everything from the root', ['*'], 'r', [true, true, true, true, false]],
    ['nothing', [], 't', [false, false, false, false, false]],
    ['no wildcard but those', ['team-*', '**', '*/lab', '/*', 'team-a/**', 'TEAM-A', '../team-ab', 'team-a/'], 'r', [false, false, false, false, false]],
  ] as const)('reaches %s', (_, paths, workspaceId, expected) => expect(reach(paths, workspaceId)).toEqual(expected));

  it('does only what is listed for the resource', () => {
    expect(mayManage(key(['*']), { ...atTeam, action: 'update' })).toBe(false);
    expect(mayManage(key(['*']), { ...atTeam, resource: 'devices' })).toBe(false);
  });

  it('reaches nothing outside its own, whatever is listed and whatever paths are called', () => {
    const text = fc.string({ unit: fc.constantFrom('a', '*', '/', '.', 'team-a', 'acme'), maxLength: 6 });
    const resources = fc.constantFrom(...RESOURCES).chain((resource) => fc.record({ resource: fc.constant(resource), paths: fc.array(text, { maxLength: 5 }) }));
    fc.assert(
      fc.property(resources, fc.constantFrom(...ACTIONS), text, text, ({ resource, paths }, action, path, above) => {
        const permitted: ResourcePermissions = { [resource]: { [action]: ['*', '', ...paths] } };
        const place = { resource, action, workspace: { id: 'x', path }, ancestors: [{ id: 'y', path: above }] };
        expect(mayManage({ kind: 'key', workspaceId: 'own', resources: permitted }, place)).toBe(false);
      }),
      { numRuns: 5_000 },
    );
  });
});
