import { member as memberSchema, memberCreate, memberUpdate, PAGE_LIMIT_MAX, pageOf, pageQuery, username, type Member, type Role, type Workspace } from '@carillon/schemas';
import type { Repositories } from '@carillon/store';
import { CarillonError } from '@carillon/wire';

import { Denial } from '../http/refusal.ts';
import { route, type Route } from '../http/route.ts';
import { id, workspaceParams } from './params.ts';
import { requireIn, standingIn, type Standing } from './standing.ts';

const tag = 'Members';
const path = '/workspaces/:workspaceId/members';
const onePath = '/workspaces/:workspaceId/members/:userId';
const oneParams = workspaceParams.extend({ userId: id });
const told = ({ userId, username }: Member) => ({ kind: 'member', id: userId, name: username });

/** Who has which role where. Nobody gives a role above their own; only owners make, change or remove owners. */
export const memberRoutes: readonly Route[] = [
  route({
    method: 'GET', path, name: 'listMembers', summary: 'List members', tag, access: { resource: 'members', action: 'read' }, params: workspaceParams, query: pageQuery,
    answer: { status: 200, schema: pageOf(memberSchema), description: 'A page of them; those of the workspaces above, whose roles reach down, are not among them' },
    handle: async ({ store, workspace, query }) => ({ body: await store.members.list(workspace.id, query) }),
  }),
  route({
    method: 'POST', path, name: 'createMember', summary: 'Give a person a role', tag, access: { resource: 'members', action: 'create' }, params: workspaceParams, body: memberCreate,
    answer: { status: 201, schema: memberSchema, description: 'The member' }, versioned: true, creates: true,
    handle: async (call) => {
      const { store, workspace, body } = call;
      const standing = await standingIn(call, workspace.id);
      if (!standing.mayGive(body.role)) call.deny(`may not give the role ${body.role}`);
      const name = username.safeParse(body.username);
      const user = name.success ? await store.users.byUsername(name.data) : undefined;
      if (user === undefined) throw new CarillonError('RESOURCE_NOT_FOUND', 'there is no person of this username');
      const made = await call.change({ action: 'member.create', workspaceId: workspace.id, resource: told, after: (member) => member }, (tx) =>
        tx.members.create({ workspaceId: workspace.id, userId: user.id, role: body.role }),
      );
      return { body: made, version: made.version, location: `/workspaces/${workspace.id}/members/${user.id}` };
    },
  }),
  route({
    method: 'GET', path: onePath, name: 'getMember', summary: 'Read a member', tag, access: { resource: 'members', action: 'read' }, params: oneParams,
    answer: { status: 200, schema: memberSchema, description: 'The member' }, versioned: true,
    handle: async ({ store, workspace, params }) => {
      const member = await find(store, workspace.id, params.userId);
      return { body: member, version: member.version };
    },
  }),
  route({
    method: 'PATCH', path: onePath, name: 'updateMember', summary: 'Change a member\'s role', tag, access: { resource: 'members', action: 'update' }, params: oneParams, body: memberUpdate,
    answer: { status: 200, schema: memberSchema, description: 'The member, changed' }, versioned: true,
    handle: async (call) => {
      const { store, workspace, params, body, ifMatch } = call;
      const standing = await standingIn(call, workspace.id);
      const before = await find(store, workspace.id, params.userId);
      if (!standing.mayGive(body.role)) call.deny(`may not give the role ${body.role}`);
      if (!standing.mayGive(before.role)) call.deny(`may not take the role ${before.role}`);
      const after = await call.change({ action: 'member.update', workspaceId: workspace.id, resource: told, before, after: (member) => member }, async (tx) => {
        const now = await stillThere(tx, before);
        if (body.role !== 'owner') await keepAnOwner(tx, workspace, standing, now);
        return tx.members.update(workspace.id, params.userId, body.role, ifMatch);
      });
      return { body: after, version: after.version };
    },
  }),
  route({
    method: 'DELETE', path: onePath, name: 'deleteMember', summary: 'Take a person\'s role; everybody may leave by themselves', tag,
    // Decided inside: a viewer may leave, and may not remove anybody else.
    access: 'signed-in', params: oneParams, answer: { status: 204, description: 'The person is no member any more' }, versioned: true,
    handle: async (call) => {
      const { store, params, actor, ifMatch } = call;
      const leaves = actor.kind === 'user' && actor.id === params.userId;
      const workspace = await requireIn(call, params.workspaceId, { resource: 'members', action: leaves ? 'read' : 'delete' });
      const standing = await standingIn(call, workspace.id);
      const before = await find(store, workspace.id, params.userId);
      if (!leaves && !standing.mayGive(before.role)) throw new Denial('FORBIDDEN', { detail: `may not take the role ${before.role}`, workspaceId: workspace.id });
      await call.change({ action: 'member.delete', workspaceId: workspace.id, resource: told, before }, async (tx) => {
        await keepAnOwner(tx, workspace, standing, await stillThere(tx, before));
        return tx.members.delete(workspace.id, params.userId, ifMatch);
      });
      return {};
    },
  }),
];

async function find(from: Repositories, workspaceId: string, userId: string): Promise<Member> {
  const member = await from.members.get(workspaceId, userId);
  if (member === undefined) throw new CarillonError('RESOURCE_NOT_FOUND');
  return member;
}

/** The rules were asked about the role that was read; one that was changed meanwhile is another question. */
async function stillThere(tx: Repositories, before: Member): Promise<{ readonly userId: string; readonly role: Role }> {
  const now = await find(tx, before.workspaceId, before.userId);
  if (now.role !== before.role) throw new CarillonError('PRECONDITION_FAILED');
  return now;
}

/** Somebody must answer for a root: its last owner goes only when an administrator does it. Below, the owners above remain. */
async function keepAnOwner(tx: Repositories, workspace: Workspace, standing: Standing, leaving: { readonly userId: string; readonly role: Role }): Promise<void> {
  if (leaving.role !== 'owner' || workspace.parentId !== null || standing.isAdministrator) return;
  // Of two who go at once the second one waits, and then sees that the first is gone.
  await tx.workspaces.lock(workspace.id);
  for (let cursor: string | undefined; ; ) {
    const page = await tx.members.list(workspace.id, { limit: PAGE_LIMIT_MAX, cursor });
    if (page.items.some(({ userId, role }) => role === 'owner' && userId !== leaving.userId)) return;
    if (page.nextCursor === null) throw new CarillonError('RESOURCE_IN_USE', 'the last owner of a root stays, unless an administrator decides otherwise');
    cursor = page.nextCursor;
  }
}
