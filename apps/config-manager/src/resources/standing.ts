import { effectiveRole, mayManage, outranks, roleAllows, type ManagementPrincipal } from '@carillon/access';
import { ACTIONS, RESOURCES, type Action, type Resource, type ResourcePermissions, type Role, type Workspace } from '@carillon/schemas';
import { CarillonError } from '@carillon/wire';

import { authorize, principalOf } from '../auth/authorize.ts';
import type { Actor, Call } from '../http/route.ts';
import { coversGrant } from './grant-paths.ts';

/** Whoever has no credential is a person without roles. */
const NOBODY: ManagementPrincipal = { kind: 'user', administrator: false, roles: new Map() };

/** How a caller stands to one workspace: what the rules inside handlers ask. */
export class Standing {
  readonly #who: ManagementPrincipal;
  readonly #workspace: Workspace;
  readonly #ancestors: readonly Workspace[];

  /** `line`: from the root down to the workspace itself, which is the last. */
  constructor(actor: Actor, line: readonly [...Workspace[], Workspace]) {
    this.#who = actor.kind === 'anonymous' ? NOBODY : principalOf(actor);
    this.#workspace = line.at(-1)!;
    this.#ancestors = line.slice(0, -1);
  }

  /** Administrators stand as owners everywhere; account keys have no role. */
  get role(): Role | undefined {
    if (this.#who.kind === 'key') return undefined;
    return this.#who.administrator ? 'owner' : effectiveRole(this.#who.roles, this.#workspace.id, this.#ancestors.map(({ id }) => id));
  }

  get isAdministrator(): boolean {
    return this.#who.kind === 'user' && this.#who.administrator;
  }

  /** Whether the caller is a person whose role is this one or above it. */
  isAtLeast(role: Role): boolean {
    const own = this.role;
    return own !== undefined && !outranks(role, own);
  }

  may(resource: Resource, action: Action): boolean {
    return mayManage(this.#who, { resource, action, workspace: this.#workspace, ancestors: this.#ancestors });
  }

  /** The same of a workspace somewhere below this one. */
  mayBelow(below: Workspace, resource: Resource, action: Action): boolean {
    const ancestors = below.id === this.#workspace.id ? this.#ancestors : [...this.#ancestors, this.#workspace];
    return mayManage(this.#who, { resource, action, workspace: below, ancestors });
  }

  /** Whether everything that an account key of this workspace could do with `resources` is the caller's to do as well. */
  covers(resources: ResourcePermissions): boolean {
    const who = this.#who;
    return RESOURCES.every((resource) =>
      ACTIONS.every((action) => {
        const wanted = resources[resource]?.[action] ?? [];
        if (wanted.length === 0 || who.kind === 'user') return wanted.length === 0 || this.may(resource, action);
        const base = this.#pathBelow(who.workspaceId);
        return base !== undefined && wanted.every((path) => coversGrant(who.resources[resource]?.[action] ?? [], base, path));
      }),
    );
  }

  /** Nobody gives a role above their own, and only owners make, change or remove owners. A key has no role: it gives what it may do itself. */
  mayGive(role: Role): boolean {
    return this.#who.kind === 'user' ? this.isAtLeast(role) : role !== 'owner' && this.covers(everythingOf(role));
  }

  #pathBelow(ownId: string): string | undefined {
    if (ownId === this.#workspace.id) return '';
    const own = this.#ancestors.find(({ id }) => id === ownId);
    return own === undefined ? undefined : this.#workspace.path.slice(own.path.length + 1);
  }
}

/** What a role may do in its workspace and all below, in the words of account keys. */
function everythingOf(role: Role): ResourcePermissions {
  return Object.fromEntries(RESOURCES.map((resource) => [resource, Object.fromEntries(ACTIONS.filter((action) => roleAllows(role, resource, action)).map((action) => [action, ['*']]))]));
}

/** Reads how the caller stands to a workspace; RESOURCE_NOT_FOUND when there is none of this id. */
export async function standingIn({ store, actor }: Pick<Call<unknown, unknown, unknown>, 'store' | 'actor'>, workspaceId: string): Promise<Standing> {
  const line = await store.workspaces.ancestors(workspaceId);
  if (line.length === 0) throw new CarillonError('RESOURCE_NOT_FOUND');
  return new Standing(actor, line as [...Workspace[], Workspace]);
}

/** For routes whose access depends on more than the path: what a `{resource, action}` route does before its handler. Throws RESOURCE_NOT_FOUND or FORBIDDEN. */
export async function requireIn(
  { store, actor }: Pick<Call<unknown, unknown, unknown>, 'store' | 'actor'>, workspaceId: string, access: { readonly resource: Resource; readonly action: Action },
): Promise<Workspace> {
  const workspace = await authorize(access, { actor, workspaceId, store });
  if (workspace === undefined) throw new CarillonError('RESOURCE_NOT_FOUND');
  return workspace;
}
