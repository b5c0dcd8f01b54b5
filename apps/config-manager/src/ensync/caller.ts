import type { AuditRecord, ResourcePermissions, Workspace } from '@carillon/schemas';
import type { Repositories, Store } from '@carillon/store';

import { auditActor, type Exchange } from '../http/answer-route.ts';
import { Denial } from '../http/refusal.ts';
import type { Actor } from '../http/route.ts';
import { Standing } from '../resources/standing.ts';
import type { EnsyncAccess } from './ensync-route.ts';
import { readAll } from './listing.ts';

export interface CallerOptions {
  readonly store: Store;
  /** An account key, checked already. */
  readonly actor: Extract<Actor, { readonly kind: 'key' }>;
  /** Its workspace: the root of all that the caller sees. */
  readonly own: Workspace;
  /** What the call is about. */
  readonly access: EnsyncAccess;
  readonly exchange: Exchange;
}

/**
 * An ACCOUNT key that calls, with what it wants to do. It sees its own workspace and those below, each as far as its
 * resources say; what is elsewhere does not exist for it: RESOURCE_NOT_FOUND. What it may read but not do is FORBIDDEN.
 */
export class Caller {
  readonly own: Workspace;
  readonly #options: CallerOptions;

  constructor(options: CallerOptions) {
    this.own = options.own;
    this.#options = options;
  }

  /** Whether the caller may do this in its own workspace or one below. */
  may(workspace: Workspace, { resource, action }: EnsyncAccess = this.#options.access): boolean {
    return this.#standing(this.own).mayBelow(workspace, resource, action);
  }

  /** Whether the caller may itself do all that an ACCOUNT key of the workspace could do with these. */
  covers(resources: ResourcePermissions, workspace: Workspace): boolean {
    return this.#standing(workspace).covers(resources);
  }

  /** The path of a workspace from the caller's own; that one has its name. */
  pathOf({ id, name, path }: Workspace): string {
    return id === this.own.id ? name : path.slice(this.own.path.length + 1);
  }

  /** The workspaces where the caller may do this, by path, which puts its own first. Throws FORBIDDEN when there is none. */
  async view(): Promise<readonly Workspace[]> {
    const { store } = this.#options;
    const seen = await readAll([(query) => store.workspaces.list({ ...query, under: [this.own.id] })], (workspace) => this.may(workspace));
    return seen.length === 0 ? this.forbid() : seen;
  }

  /** Gives the workspace that a thing belongs to, when the caller may do this there. Throws FORBIDDEN, RESOURCE_NOT_FOUND. */
  async require(workspaceId: string): Promise<Workspace> {
    const { store, access } = this.#options;
    const line = workspaceId === this.own.id ? [this.own] : await store.workspaces.ancestors(workspaceId);
    const workspace = line.at(-1);
    if (workspace === undefined || !line.some(({ id }) => id === this.own.id)) throw new Denial('RESOURCE_NOT_FOUND', { workspaceId: this.own.id });
    if (this.may(workspace)) return workspace;
    if (workspace.id !== this.own.id && !this.may(workspace, { ...access, action: 'read' })) throw new Denial('RESOURCE_NOT_FOUND', { workspaceId });
    return this.forbid({ workspaceId });
  }

  /** Throws FORBIDDEN. */
  forbid({ detail, workspaceId = this.own.id }: { readonly detail?: string; readonly workspaceId?: string } = {}): never {
    const { resource, action } = this.#options.access;
    throw new Denial('FORBIDDEN', { detail: detail ?? `needs ${action} of ${resource}`, workspaceId });
  }

  /** Adds what was done to the audit log, in the transaction that does it. */
  async audit(tx: Repositories, what: Pick<AuditRecord, 'action' | 'workspaceId' | 'resource' | 'before' | 'after'>): Promise<void> {
    const { actor, exchange } = this.#options;
    await tx.audit.add({ ...what, actor: auditActor(actor), outcome: 'done', source: exchange.address, code: null, requestId: exchange.requestId });
  }

  #standing(workspace: Workspace): Standing {
    return new Standing(this.#options.actor, workspace.id === this.own.id ? [this.own] : [this.own, workspace]);
  }
}
