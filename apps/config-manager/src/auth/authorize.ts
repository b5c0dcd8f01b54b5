import { mayManage, type ManagementPrincipal } from '@carillon/access';
import type { Workspace } from '@carillon/schemas';
import type { Repositories } from '@carillon/store';

import { Denial, Refusal } from '../http/refusal.ts';
import type { Access, Actor } from '../http/route.ts';

/**
 * Decides whether the caller may call a route. Gives the workspace that the path names, for routes that are about one.
 *
 * Throws CREDENTIAL_REQUIRED without a credential where one is needed; RESOURCE_NOT_FOUND when the caller may not even read
 * the workspace, the same as for one that does not exist; FORBIDDEN when the caller may read it and not do this.
 */
export async function authorize(access: Access, { actor, workspaceId, store }: { readonly actor: Actor; readonly workspaceId: string | undefined; readonly store: Repositories }): Promise<Workspace | undefined> {
  if (access === 'public') return undefined;
  if (actor.kind === 'anonymous') throw new Refusal('CREDENTIAL_REQUIRED');
  if (access === 'signed-in') return undefined;
  if (access === 'person' || access === 'administrator') {
    if (actor.kind !== 'user') throw new Denial('FORBIDDEN', { detail: 'only a signed-in person may do this', workspaceId: actor.key.workspaceId });
    if (access === 'administrator' && !actor.user.administrator) throw new Denial('FORBIDDEN', { detail: 'only administrators may do this', workspaceId: null });
    return undefined;
  }
  const line = workspaceId === undefined ? [] : await store.workspaces.ancestors(workspaceId);
  const workspace = line.at(-1);
  if (workspace === undefined) throw new Denial('RESOURCE_NOT_FOUND', { workspaceId: null });
  const ancestors = line.slice(0, -1);
  const who = principalOf(actor);
  if (mayManage(who, { ...access, workspace, ancestors })) return workspace;
  if (!mayManage(who, { resource: 'workspaces', action: 'read', workspace, ancestors })) throw new Denial('RESOURCE_NOT_FOUND', { workspaceId: workspace.id });
  throw new Denial('FORBIDDEN', { detail: `needs ${access.action} of ${access.resource} in this workspace`, workspaceId: workspace.id });
}

/** The caller as rights are decided by. */
export function principalOf(actor: Exclude<Actor, { readonly kind: 'anonymous' }>): ManagementPrincipal {
  if (actor.kind === 'key') return { kind: 'key', workspaceId: actor.key.workspaceId, resources: actor.key.resources };
  return { kind: 'user', administrator: actor.user.administrator, roles: actor.roles };
}
