import { ROLES, type Action, type Resource, type ResourcePermissions, type Role } from '@carillon/schemas';

/** Who calls the management API: a signed-in person with the roles given to them by workspace id, or an account key. */
export type ManagementPrincipal =
  | { readonly kind: 'user'; readonly administrator: boolean; readonly roles: ReadonlyMap<string, Role> }
  | { readonly kind: 'key'; readonly workspaceId: string; readonly resources: ResourcePermissions };

/** A workspace as rights are decided by: its id, and its path for what is below an account key's own. */
export interface WorkspacePlace {
  readonly id: string;
  readonly path: string;
}

const READABLE_BY_ALL: readonly Resource[] = ['workspaces', 'members', 'event-definitions', 'rooms', 'devices', 'keys'];
const CHANGES: readonly Action[] = ['create', 'update', 'delete'];
const each = (resources: readonly Resource[], actions: readonly Action[]): readonly string[] => resources.flatMap((resource) => actions.map((action) => `${resource}:${action}`));

/**
 * What each role adds to the one below it. Finer rules stand beside the resources they are about: operators update keys
 * only to rotate and revoke them, account keys take an admin, owners take an owner.
 */
const ADDED: Readonly<Record<Role, readonly string[]>> = {
  viewer: each(READABLE_BY_ALL, ['read']),
  operator: [...each(['devices'], CHANGES), ...each(['keys'], ['update'])],
  developer: each(['keys', 'event-definitions', 'rooms'], CHANGES),
  admin: [...each(['audit'], ['read']), ...each(['members'], CHANGES), ...each(['workspaces'], ['create', 'update'])],
  owner: each(['workspaces'], ['delete']),
};

const ALLOWED = new Map(ROLES.map((role, rank) => [role, new Set(ROLES.slice(rank).flatMap((lower) => ADDED[lower]))]));

/** Whether a role in a workspace may do this there. To create a workspace is asked of the one above it. */
export function roleAllows(role: Role, resource: Resource, action: Action): boolean {
  return ALLOWED.get(role)?.has(`${resource}:${action}`) ?? false;
}

/** Whether the first role is above the second; no role is above itself. */
export function outranks(a: Role, b: Role): boolean {
  return ROLES.indexOf(a) < ROLES.indexOf(b);
}

/** The highest of the roles in a workspace and in those above it; undefined when there is none. */
export function effectiveRole(roles: ReadonlyMap<string, Role>, workspaceId: string, ancestorIds: readonly string[]): Role | undefined {
  let highest: Role | undefined;
  for (const id of [workspaceId, ...ancestorIds]) {
    const role = roles.get(id);
    if (role !== undefined && (highest === undefined || outranks(role, highest))) highest = role;
  }
  return highest;
}

/**
 * Whether the caller may do this to resources of the workspace. `ancestors`: those above it, root first, without itself.
 * Administrators may everything everywhere. Of an account key nothing reaches outside its own workspace and those below.
 */
export function mayManage(
  who: ManagementPrincipal,
  what: { readonly resource: Resource; readonly action: Action; readonly workspace: WorkspacePlace; readonly ancestors: readonly WorkspacePlace[] },
): boolean {
  if (who.kind === 'key') {
    const below = pathBelow(who.workspaceId, what.workspace, what.ancestors);
    return below !== undefined && (who.resources[what.resource]?.[what.action] ?? []).some((path) => selectsPath(path, below));
  }
  if (who.administrator) return true;
  const role = effectiveRole(who.roles, what.workspace.id, what.ancestors.map(({ id }) => id));
  return role !== undefined && roleAllows(role, what.resource, what.action);
}

/** The path of a workspace from one above it, '' for itself, undefined when it is not below. Ids decide; a path that does not agree is not below. */
function pathBelow(ownId: string, workspace: WorkspacePlace, ancestors: readonly WorkspacePlace[]): string | undefined {
  if (workspace.id === ownId) return '';
  const own = ancestors.find(({ id }) => id === ownId);
  return own !== undefined && workspace.path.startsWith(`${own.path}/`) ? workspace.path.slice(own.path.length + 1) : undefined;
}

/** '' its own alone · 'team-a' that one · 'team-a/*' all below it · '*' its own and all below. A star anywhere else is no wildcard. */
function selectsPath(path: string, below: string): boolean {
  if (path === '*' || path === below) return true;
  return path.length > 2 && path.endsWith('/*') && below.startsWith(path.slice(0, -1));
}
