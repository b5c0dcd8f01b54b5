import { DEFAULT_WORKSPACE_ID, PAGE_LIMIT_MAX, pageOf, pageQuery, workspace as workspaceSchema, workspaceCreate, workspaceUpdate, type Page, type PageQuery, type Workspace } from '@carillon/schemas';
import type { Repositories } from '@carillon/store';
import { CarillonError } from '@carillon/wire';
import { z } from 'zod';

import { workspaceEntry } from '../feed/entries.ts';
import { Denial } from '../http/refusal.ts';
import { route, type Actor, type Call, type Route } from '../http/route.ts';
import { refuseField } from './invalid.ts';
import { id, workspaceParams } from './params.ts';
import { Standing, standingIn } from './standing.ts';

const tag = 'Workspaces';
const told = ({ id, path }: Workspace) => ({ kind: 'workspace', id, name: path });

const listQuery = pageQuery.extend({
  parentId: id.optional().meta({ description: 'Only those right below this one; `null`: only roots' }),
  under: id.optional().meta({ description: 'Only this one and those below it' }),
});

/** What divides an installation: everything belongs to one of them, and roles reach down. */
export const workspaceRoutes: readonly Route[] = [
  route({
    method: 'GET', path: '/workspaces', name: 'listWorkspaces', summary: 'List the workspaces that the caller may read', tag, access: 'signed-in', query: listQuery,
    answer: { status: 200, schema: pageOf(workspaceSchema), description: 'A page of them by path; one may hold fewer than asked for, and more come after it' },
    handle: async ({ store, actor, query }) => ({ body: await readable(store, actor, query) }),
  }),
  route({
    method: 'POST', path: '/workspaces', name: 'createWorkspace', summary: 'Make a workspace', tag, access: 'signed-in', body: workspaceCreate,
    answer: { status: 201, schema: workspaceSchema, description: 'What was made' }, versioned: true, creates: true,
    handle: async (call) => {
      await requireCreate(call);
      const { parentId } = call.body;
      const made = await call.change({ action: 'workspace.create', workspaceId: parentId, resource: told, after: (workspace) => workspace }, async (tx) => {
        const workspace = await tx.workspaces.create(call.body);
        await tx.feed.put(workspaceEntry(workspace));
        return workspace;
      });
      return { body: made, version: made.version, location: `/workspaces/${made.id}` };
    },
  }),
  route({
    method: 'GET', path: '/workspaces/:workspaceId', name: 'getWorkspace', summary: 'Read a workspace', tag, access: { resource: 'workspaces', action: 'read' }, params: workspaceParams,
    answer: { status: 200, schema: workspaceSchema, description: 'It' }, versioned: true,
    handle: async ({ workspace }) => ({ body: workspace, version: workspace.version }),
  }),
  route({
    method: 'PATCH', path: '/workspaces/:workspaceId', name: 'updateWorkspace', summary: 'Rename a workspace or change its settings', tag, access: { resource: 'workspaces', action: 'update' },
    params: workspaceParams, body: workspaceUpdate, answer: { status: 200, schema: workspaceSchema, description: 'It, changed' }, versioned: true,
    handle: async (call) => {
      const { workspace: before, body, ifMatch } = call;
      const after = await call.change({ action: 'workspace.update', workspaceId: before.id, resource: told, before, after: (workspace) => workspace }, async (tx) => {
        if (typeof body.anonymousKeyId === 'string') await requireAnonymous(tx, before.id, body.anonymousKeyId);
        const workspace = await tx.workspaces.update(before.id, body, ifMatch);
        await (body.name === undefined ? tx.feed.put(workspaceEntry(workspace)) : putTree(tx, workspace));
        return workspace;
      });
      return { body: after, version: after.version };
    },
  }),
  route({
    method: 'DELETE', path: '/workspaces/:workspaceId', name: 'deleteWorkspace', summary: 'Remove a workspace and everything in it', tag, access: { resource: 'workspaces', action: 'delete' },
    params: workspaceParams, answer: { status: 204, description: 'It is gone' }, versioned: true,
    handle: async (call) => {
      const { workspace: before, ifMatch } = call;
      if (before.id === DEFAULT_WORKSPACE_ID) throw new CarillonError('RESOURCE_IN_USE', 'the default workspace stays');
      // Told where it was made: the audit of what is gone can be read from above only.
      await call.change({ action: 'workspace.delete', workspaceId: before.parentId, resource: told, before }, async (tx) => {
        const workspace = await tx.workspaces.delete(before.id, ifMatch);
        await tx.feed.removeWorkspace(before.id);
        return workspace;
      });
      return {};
    },
  }),
];

/** A root is made by administrators; below another, whoever may create there. One that the caller may not read does not exist for them. */
async function requireCreate(call: Call<unknown, unknown, z.output<typeof workspaceCreate>>): Promise<void> {
  const { parentId } = call.body;
  if (parentId === null) {
    if (call.actor.kind !== 'user' || !call.actor.user.administrator) call.deny('only administrators make roots');
    return;
  }
  const standing = await standingIn(call, parentId);
  if (standing.may('workspaces', 'create')) return;
  if (!standing.may('workspaces', 'read')) throw new Denial('RESOURCE_NOT_FOUND', { workspaceId: parentId });
  throw new Denial('FORBIDDEN', { detail: 'needs create of workspaces in the workspace above', workspaceId: parentId });
}

async function requireAnonymous(tx: Repositories, workspaceId: string, keyId: string): Promise<void> {
  const key = await tx.keys.get(keyId);
  const isLive = key?.revokedAt === null && (key.expiresAt === null || Date.parse(key.expiresAt) > Date.now());
  if (key?.workspaceId !== workspaceId || !isLive) refuseField('/anonymousKeyId', 'names no key of this workspace that is in force');
  if (key.kind !== 'messenger' && key.kind !== 'service') refuseField('/anonymousKeyId', 'must name a key of kind messenger or service');
}

/** A new name changes the paths of all below. */
async function putTree(tx: Repositories, root: Workspace): Promise<void> {
  for (let cursor: string | undefined; ; ) {
    const page: Page<Workspace> = await tx.workspaces.list({ under: [root.id], limit: PAGE_LIMIT_MAX, cursor });
    for (const workspace of page.items) await tx.feed.put(workspaceEntry(workspace));
    if (page.nextCursor === null) return;
    cursor = page.nextCursor;
  }
}

async function readable(store: Repositories, actor: Actor, query: z.output<typeof listQuery>): Promise<Page<Workspace>> {
  const { limit, cursor, parentId, under } = query;
  const paging: PageQuery & { parentId?: string | null } = { limit, cursor, ...(parentId === undefined ? {} : { parentId: parentId === 'null' ? null : parentId }) };
  switch (actor.kind) {
    case 'user': {
      if (actor.user.administrator) return store.workspaces.list({ ...paging, ...(under === undefined ? {} : { under: [under] }) });
      const roots = await visibleRoots(store, [...actor.roles.keys()], under);
      return roots.length === 0 ? NOTHING : store.workspaces.list({ ...paging, under: roots });
    }
    case 'key': {
      const own = await store.workspaces.ancestors(actor.key.workspaceId);
      const roots = await visibleRoots(store, [actor.key.workspaceId], under);
      if (own.length === 0 || roots.length === 0) return NOTHING;
      const standing = new Standing(actor, own as [...Workspace[], Workspace]);
      return pageOfReadable((page) => store.workspaces.list({ ...paging, ...page, under: roots }), { limit, cursor, isReadable: (workspace) => standing.mayBelow(workspace, 'workspaces', 'read') });
    }
    case 'anonymous':
      return NOTHING;
    default:
      return actor satisfies never;
  }
}

interface Readable extends PageQuery {
  readonly isReadable: (workspace: Workspace) => boolean;
}

/** A cursor names the last workspace of its page, so a page that is given out ends with one that the caller may read, or is the last. */
async function pageOfReadable(list: (page: PageQuery) => Promise<Page<Workspace>>, { limit, cursor, isReadable }: Readable): Promise<Page<Workspace>> {
  let from = cursor;
  for (let take = limit; ; ) {
    const { items, nextCursor } = await list({ limit: take, cursor: from });
    const readable = items.filter(isReadable);
    const shown = readable.slice(0, limit);
    const last = shown.at(-1);
    const isLastPage = nextCursor === null && shown.length === readable.length;
    if (isLastPage || (last !== undefined && last === items.at(-1))) return { items: shown, nextCursor };
    if (last === undefined) {
      from = nextCursor ?? undefined;
      take = PAGE_LIMIT_MAX;
    } else {
      take = items.indexOf(last) + 1;
    }
  }
}

const NOTHING: Page<Workspace> = { items: [], nextCursor: null };

/** Of the workspaces at or below which the caller may look, and those at or below `under`, where both hold. */
async function visibleRoots(store: Repositories, roots: readonly string[], under: string | undefined): Promise<readonly string[]> {
  if (under === undefined) return roots;
  const above = (await store.workspaces.ancestors(under)).map(({ id }) => id);
  if (above.some((id) => roots.includes(id))) return [under];
  const lines = await Promise.all(roots.map(async (root) => ({ root, line: await store.workspaces.ancestors(root) })));
  return lines.filter(({ line }) => line.some(({ id }) => id === under)).map(({ root }) => root);
}
