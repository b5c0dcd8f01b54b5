import { pageOf, pageQuery, user, userCreate, userUpdate, type User } from '@carillon/schemas';
import { CarillonError } from '@carillon/wire';
import { z } from 'zod';

import { route, type Route } from '../http/route.ts';
import { requireFit, type Passwords } from './passwords.ts';

const userParams = z.strictObject({ userId: z.string() });
const resource = ({ id, username }: User) => ({ kind: 'user', id, name: username });

/** People, by administrators. What a person may do in a workspace stands with the workspace's members. */
export function userRoutes({ passwords }: { readonly passwords: Passwords }): readonly Route[] {
  const shared = { tag: 'Users', access: 'administrator' } as const;
  return [
    route({
      ...shared, method: 'GET', path: '/users', name: 'listUsers', summary: 'List people', query: pageQuery,
      answer: { status: 200, schema: pageOf(user), description: 'People, by username' },
      handle: async ({ store, query }) => ({ body: await store.users.list(query) }),
    }),
    route({
      ...shared, method: 'POST', path: '/users', name: 'createUser', summary: 'Add a person', body: userCreate, versioned: true, creates: true,
      answer: { status: 201, schema: user, description: 'The person; without a password they sign in with the identity provider' },
      handle: async (call) => {
        const { password, username, name, administrator } = call.body;
        if (password !== undefined) requireFit(password, username);
        const passwordHash = password === undefined ? null : await passwords.hash(password);
        const made = await call.change({ action: 'user.create', workspaceId: null, resource, after: (result) => result }, (tx) => tx.users.create({ username, name, administrator, passwordHash }));
        return { body: made, version: made.version, location: `/users/${made.id}` };
      },
    }),
    route({
      ...shared, method: 'GET', path: '/users/:userId', name: 'getUser', summary: 'Read a person', params: userParams, versioned: true,
      answer: { status: 200, schema: user, description: 'The person' },
      handle: async ({ store, params }) => {
        const found = await store.users.get(params.userId);
        if (found === undefined) throw new CarillonError('RESOURCE_NOT_FOUND');
        return { body: found, version: found.version };
      },
    }),
    route({
      ...shared, method: 'PATCH', path: '/users/:userId', name: 'updateUser', summary: 'Change a person; disabling or a new password ends their sessions', params: userParams, body: userUpdate, versioned: true,
      answer: { status: 200, schema: user, description: 'The person' },
      handle: async (call) => {
        const { params: { userId }, body: { password, ...patch }, actor } = call;
        const before = await call.store.users.get(userId);
        if (before === undefined) throw new CarillonError('RESOURCE_NOT_FOUND');
        if (password !== undefined) requireFit(password, before.username);
        const passwordHash = password === undefined ? {} : { passwordHash: await passwords.hash(password) };
        const changed = await call.change({ action: 'user.update', workspaceId: null, resource, before, after: (result) => result }, async (tx) => {
          const result = await tx.users.update(userId, { ...patch, ...passwordHash }, call.ifMatch);
          if (result.disabled || password !== undefined) await tx.sessions.revokeAll(userId, actor.kind === 'user' && actor.id === userId && !result.disabled ? actor.sessionId : undefined);
          return result;
        });
        return { body: changed, version: changed.version };
      },
    }),
    route({
      ...shared, method: 'DELETE', path: '/users/:userId', name: 'deleteUser', summary: 'Remove a person, with their roles and sessions', params: userParams, versioned: true,
      answer: { status: 204, description: 'They are gone' },
      handle: async (call) => {
        const before = await call.store.users.get(call.params.userId);
        if (before === undefined) throw new CarillonError('RESOURCE_NOT_FOUND');
        await call.change({ action: 'user.delete', workspaceId: null, resource, before }, (tx) => tx.users.delete(call.params.userId, call.ifMatch));
        return {};
      },
    }),
  ];
}
