import { workspaceCreate as ourWorkspaceCreate, workspaceName, type Workspace } from '@carillon/schemas';
import type { Repositories } from '@carillon/store';
import { CarillonError } from '@carillon/wire';

import { workspaceEntry } from '../feed/entries.ts';

import type { Caller } from './caller.ts';
import type { EnsyncCall, EnsyncReply, EnsyncRoute } from './ensync-route.ts';
import { cutPage, readPaging } from './listing.ts';
import { readBody, workspaceCreate } from './request-bodies.ts';

/**
 * Workspaces as a caller sees them: its own is the root and shows its own name as its path, those below show theirs from
 * there (`gms`, `gms/team`). Where the caller may not read a workspace, those below it that it may read are roots.
 */
export const WORKSPACE_ROUTES: readonly EnsyncRoute[] = [
  { method: 'GET', path: '/workspace', access: { resource: 'workspaces', action: 'read' }, handle: listWorkspaces },
  { method: 'POST', path: '/workspace', access: { resource: 'workspaces', action: 'create' }, handle: createWorkspaces },
];

interface WorkspaceAnswer {
  readonly id: string;
  readonly name: string;
  readonly parentId: string | null;
  readonly path: string;
  readonly createdAt: string;
  readonly children: WorkspaceAnswer[];
}

function showWorkspace(workspace: Workspace, caller: Caller): WorkspaceAnswer {
  const { id, name, parentId, createdAt } = workspace;
  return { id, name, parentId: id === caller.own.id ? null : parentId, path: caller.pathOf(workspace), createdAt, children: [] };
}

/** The page is cut from the roots; `resultsLength` counts them. Children are in the order of the page. */
async function listWorkspaces({ caller, query }: EnsyncCall): Promise<EnsyncReply> {
  const paging = readPaging(query, ['name', 'createdAt']);
  const shown = (await caller.view()).map((workspace) => showWorkspace(workspace, caller));
  const byId = new Map(shown.map((workspace) => [workspace.id, workspace]));
  const ordered = cutPage(shown, { ...paging, pageIndex: 0, limit: Infinity }, (workspace, orderBy) => workspace[orderBy]).results;
  const roots = ordered.filter((workspace) => {
    const parent = workspace.parentId === null ? undefined : byId.get(workspace.parentId);
    parent?.children.push(workspace);
    return parent === undefined;
  });
  return { status: 200, body: cutPage(roots, paging, (workspace, orderBy) => workspace[orderBy]) };
}

/** Makes what is missing of a path below the own workspace; its name as the first piece stands for itself. RESOURCE_EXISTS when nothing is missing. */
async function createWorkspaces({ store, caller, body }: EnsyncCall): Promise<EnsyncReply> {
  const pieces = readBody(workspaceCreate, body).name.split('/');
  const bad = pieces.findIndex((piece) => !workspaceName.safeParse(piece).success);
  if (bad !== -1) throw new CarillonError('RESOURCE_INVALID', '/name is a path of names of letters, digits, _ . and -');
  const names = pieces[0]?.toLowerCase() === caller.own.name.toLowerCase() ? pieces.slice(1) : pieces;
  const { there, missing } = await walkDown(store, caller.own, names);
  await caller.require(there.id);
  // The first that is made stands below one where it is allowed; a path that ends there does not reach further down.
  const allowed = missing.slice(0, -1).every((_name, at) => mayCreateBelow(caller, there, missing.slice(0, at + 1)));
  if (!allowed) caller.forbid({ detail: 'needs create of workspaces further down', workspaceId: there.id });
  if (missing.length === 0) throw new CarillonError('RESOURCE_EXISTS');
  const last = await store.change((tx) => createChain(tx, { caller, there, missing }));
  return { status: 201, body: showWorkspace(last, caller) };
}

async function createChain(tx: Repositories, { caller, there, missing }: { readonly caller: Caller; readonly there: Workspace; readonly missing: readonly string[] }): Promise<Workspace> {
  const made: Workspace[] = [];
  for (const name of missing) {
    const parentId = (made.at(-1) ?? there).id;
    const after = await tx.workspaces.create(ourWorkspaceCreate.parse({ name, parentId }));
    await caller.audit(tx, { action: 'workspace.create', workspaceId: parentId, resource: { kind: 'workspace', id: after.id, name: after.path }, before: null, after });
    made.push(after);
  }
  for (const workspace of made) await tx.feed.put(workspaceEntry(workspace));
  return made.at(-1) as Workspace;
}

/** Goes down by name as far as there are workspaces. */
async function walkDown({ workspaces }: Repositories, from: Workspace, names: readonly string[]): Promise<{ readonly there: Workspace; readonly missing: readonly string[] }> {
  let there = from;
  for (const [at, name] of names.entries()) {
    const next = await workspaces.byPath(`${there.path}/${name}`);
    if (next === undefined) return { there, missing: names.slice(at) };
    there = next;
  }
  return { there, missing: [] };
}

/** Asked of a workspace that is still to be made: rights go by its path. */
function mayCreateBelow(caller: Caller, there: Workspace, names: readonly string[]): boolean {
  const planned: Workspace = { ...there, id: '', path: [there.path, ...names].join('/') };
  return caller.may(planned);
}
