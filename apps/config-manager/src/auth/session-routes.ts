import { PAGE_LIMIT_MAX, pageOf, passwordChange, role, session, sessionCreate, sessionCreated, user, type Role } from '@carillon/schemas';
import type { Repositories } from '@carillon/store';
import { CarillonError } from '@carillon/wire';
import { z } from 'zod';

import { Refusal } from '../http/refusal.ts';
import { route, type Actor, type Route } from '../http/route.ts';
import { requireFit, type Passwords } from './passwords.ts';
import type { SignIn } from './sign-in.ts';

const me = z
  .object({ user, roles: z.array(z.object({ workspaceId: z.string(), path: z.string(), role })).meta({ description: 'Roles given to this person; each holds in the workspace and all below' }) })
  .meta({ id: 'Me' });

/** Signing in and out, and what a person may do about themselves. */
export function sessionRoutes({ signIn, passwords }: { readonly signIn: SignIn; readonly passwords: Passwords }): readonly Route[] {
  return [
    route({
      method: 'POST', path: '/sessions', name: 'createSession', summary: 'Sign in', tag: 'Sessions', access: 'public', body: sessionCreate,
      answer: { status: 201, schema: sessionCreated, description: 'The token goes into Authorization: Bearer' },
      handle: async (call) => ({ body: await signIn.withPassword(call.body, call) }),
    }),
    route({
      method: 'GET', path: '/sessions', name: 'listSessions', summary: 'List your sessions', tag: 'Sessions', access: 'person',
      answer: { status: 200, schema: pageOf(session), description: 'All of them, on one page' },
      handle: async ({ actor, store }) => {
        const { id, sessionId } = asPerson(actor);
        const items = (await store.sessions.list(id)).map((each) => ({ ...each, current: each.id === sessionId }));
        return { body: { items, nextCursor: null } };
      },
    }),
    route({
      method: 'DELETE', path: '/sessions/:sessionId', name: 'deleteSession', summary: 'Sign out, or end another session of yours', tag: 'Sessions', access: 'person',
      params: z.strictObject({ sessionId: z.string() }), answer: { status: 204, description: 'It has ended' },
      handle: async (call) => {
        const { id } = asPerson(call.actor);
        await call.change({ action: 'session.delete', workspaceId: null, resource: () => ({ kind: 'session', id: call.params.sessionId, name: null }) }, async (tx) => {
          if (!(await tx.sessions.revoke(call.params.sessionId, id))) throw new CarillonError('RESOURCE_NOT_FOUND');
        });
        return {};
      },
    }),
    route({
      method: 'DELETE', path: '/sessions', name: 'deleteOtherSessions', summary: 'End all your sessions but this one', tag: 'Sessions', access: 'person',
      answer: { status: 204, description: 'They have ended' },
      handle: async (call) => {
        const { id, sessionId } = asPerson(call.actor);
        await call.change({ action: 'session.delete', workspaceId: null, resource: () => ({ kind: 'user', id, name: call.actor.name }), after: (ended) => ({ ended }) }, (tx) => tx.sessions.revokeAll(id, sessionId));
        return {};
      },
    }),
    route({
      method: 'GET', path: '/me', name: 'getMe', summary: 'Read who you are and where you may do what', tag: 'Sessions', access: 'person',
      answer: { status: 200, schema: me, description: 'You' },
      handle: async ({ actor, store }) => {
        const person = asPerson(actor);
        return { body: { user: person.user, roles: await rolesWithPaths(store, person.roles) } };
      },
    }),
    route({
      method: 'PATCH', path: '/me/password', name: 'changePassword', summary: 'Change your password', tag: 'Sessions', access: 'person', body: passwordChange,
      answer: { status: 204, description: 'It is changed; your other sessions have ended' },
      handle: async (call) => {
        const { id, sessionId, user } = asPerson(call.actor);
        if (!user.hasPassword) throw new Refusal('LOGIN_FAILED', 'you have no password: an administrator can set one');
        await signIn.confirmPassword(user.username, call.body.currentPassword, call);
        requireFit(call.body.newPassword, user.username);
        const passwordHash = await passwords.hash(call.body.newPassword);
        await call.change({ action: 'user.password', workspaceId: null, resource: () => ({ kind: 'user', id, name: user.username }) }, async (tx) => {
          await tx.users.update(id, { passwordHash });
          await tx.sessions.revokeAll(id, sessionId);
        });
        return {};
      },
    }),
  ];
}

/** By path. */
async function rolesWithPaths(store: Repositories, roles: ReadonlyMap<string, Role>): Promise<readonly { readonly workspaceId: string; readonly path: string; readonly role: Role }[]> {
  const ids = [...roles.keys()];
  const all = [];
  let cursor: string | undefined;
  do {
    const page = await store.workspaces.list({ ids, limit: PAGE_LIMIT_MAX, ...(cursor === undefined ? {} : { cursor }) });
    for (const { id, path } of page.items) all.push({ workspaceId: id, path, role: roles.get(id) as Role });
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
  return all;
}

function asPerson(actor: Actor): Extract<Actor, { readonly kind: 'user' }> {
  if (actor.kind !== 'user') throw new Error('the route is not for persons only');
  return actor;
}
