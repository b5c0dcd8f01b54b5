import { auditQuery, auditRecord, PAGE_LIMIT_MAX, pageOf, type AuditQuery } from '@carillon/schemas';
import type { Repositories } from '@carillon/store';

import { route, type Route } from '../http/route.ts';
import { requireTime } from './invalid.ts';
import { workspaceParams } from './params.ts';
import { standingIn, type Standing } from './standing.ts';

const answer = { status: 200, schema: pageOf(auditRecord), description: 'A page of records, the newest first' } as const;

/** Who did what. Nothing changes or removes a record through this API. */
export const auditRoutes: readonly Route[] = [
  route({
    method: 'GET', path: '/workspaces/:workspaceId/audit', name: 'listWorkspaceAudit', summary: 'List what was done in a workspace and in those below it', tag: 'Audit',
    access: { resource: 'audit', action: 'read' }, params: workspaceParams, query: auditQuery, answer,
    handle: async (call) => {
      const { store, workspace, query } = call;
      checkTimes(query);
      const workspaceIds = await readableBelow(store, workspace.id, await standingIn(call, workspace.id));
      return { body: await store.audit.list({ ...query, workspaceIds }) };
    },
  }),
  route({
    method: 'GET', path: '/audit', name: 'listAudit', summary: 'List what was done anywhere', tag: 'Audit',
    access: 'administrator', query: auditQuery, answer,
    handle: async ({ store, query }) => {
      checkTimes(query);
      return { body: await store.audit.list(query) };
    },
  }),
];

function checkTimes({ from, to }: AuditQuery): void {
  if (from !== undefined) requireTime('/query/from', from);
  if (to !== undefined) requireTime('/query/to', to);
}

/** Ids of the workspace and of those below whose audit the caller may read: an account key may have been given the one alone. */
async function readableBelow(store: Repositories, workspaceId: string, standing: Standing): Promise<readonly string[]> {
  const ids: string[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await store.workspaces.list({ under: [workspaceId], limit: PAGE_LIMIT_MAX, cursor });
    for (const below of page.items) if (standing.mayBelow(below, 'audit', 'read')) ids.push(below.id);
    if (page.nextCursor === null) return ids;
    cursor = page.nextCursor;
  }
}
