import { randomUUID } from 'node:crypto';

import { ACTIONS, RESOURCES, type AccessKeyCreate, type Action, type Resource, type ResourcePermissions, type Role } from '@carillon/schemas';

import { createSessionToken, hashToken } from '../auth/tokens.ts';
import { ADMIN_PASSWORD, startTestConfigManager, usePostgres, type Caller, type TestConfigManager, type TestConfigManagerOptions } from '../config-manager.fixture.ts';
import { Leaks } from './leaks.fixture.ts';
import { auditText } from './stored.fixture.ts';

// A tree of workspaces and whoever may call: `team` is what is walked; whoever belongs to `root` stands above it, to `lab` below,
// to `sibling` beside, to `foreign` elsewhere. People come with a session and without a sign-in, which would cost a password each.

export type WorkspaceName = 'root' | 'team' | 'lab' | 'sibling' | 'foreign';

/** Somebody who calls; everything that they are answered is looked through for secrets. */
export interface Walker extends Caller {
  /** Of the user or key; '' for nobody. */
  readonly id: string;
  readonly username: string;
}

export interface Scene {
  readonly manager: TestConfigManager;
  readonly ids: Readonly<Record<WorkspaceName, string>>;
  readonly leaks: Leaks;
  readonly administrator: Walker;
  readonly nobody: Walker;
  /** Whoever presents these headers. */
  as(headers: Readonly<Record<string, string>>): Walker;
  /** A new person with roles, by the name or id of workspaces. */
  person(roles?: Readonly<Record<string, Role>>, user?: { readonly passwordHash?: string; readonly administrator?: boolean; readonly sessionEndsAt?: string }): Promise<Walker>;
  /** A new key in a workspace; of kind account unless told otherwise. */
  key(at: string, input?: Partial<AccessKeyCreate>): Promise<Walker>;
  /** A session of a person, besides those they have; gives its id and who holds it. */
  session(userId: string, expiresAt?: string): Promise<{ readonly id: string; readonly walker: Walker }>;
  /** Fails when a secret of the run, or an internal, stands where it must not. */
  expectNoLeaks(): Promise<void>;
  stop(): Promise<void>;
}

export const EVERYTHING: ResourcePermissions = Object.fromEntries(RESOURCES.map((resource) => [resource, Object.fromEntries(ACTIONS.map((action) => [action, ['*']]))]));

/** All that an account key can have, but for one action. */
export function everythingBut(resource: Resource, action: Action): ResourcePermissions {
  return { ...EVERYTHING, [resource]: { ...EVERYTHING[resource], [action]: [] } };
}

export const fresh = (): string => `x${randomUUID().replaceAll('-', '').slice(0, 16)}`;

const HOUR_MS = 3_600_000;

export async function openScene(options: TestConfigManagerOptions = {}): Promise<Scene> {
  const postgres = await usePostgres();
  const manager = await startTestConfigManager(options);
  const { store } = manager;
  const leaks = new Leaks();
  leaks.keep(new URL(postgres.url).password, ADMIN_PASSWORD, manager.admin.token);

  const as = (headers: Readonly<Record<string, string>>, { id = '', username = '' } = {}): Walker => {
    const caller = manager.as(headers);
    return {
      id, username,
      call: async (...given) => {
        const answer = await caller.call<never>(...given);
        leaks.heard(answer);
        return answer;
      },
    };
  };
  const workspace = async (name: string, parentId: string | null): Promise<string> => (await store.workspaces.create({ name, parentId, validation: 'off', allowedOrigins: [], limits: {} })).id;
  const root = await workspace('root', null);
  const team = await workspace('team', root);
  const ids: Record<string, string> = { root, team, lab: await workspace('lab', team), sibling: await workspace('team-b', root), foreign: await workspace('foreign', null) };

  const session: Scene['session'] = async (userId, expiresAt = new Date(manager.clock.now() + HOUR_MS).toISOString()) => {
    const token = createSessionToken();
    leaks.keep(token);
    const { id } = await store.sessions.create({ userId, tokenHash: hashToken(token), source: '127.0.0.1', expiresAt });
    return { id, walker: as({ authorization: `Bearer ${token}` }, { id: userId }) };
  };
  return {
    manager, leaks, session,
    ids: ids as Scene['ids'],
    as: (headers) => as(headers),
    nobody: as({}),
    administrator: as({ authorization: `Bearer ${manager.admin.token}` }, { id: manager.admin.user.id, username: manager.admin.user.username }),
    person: async (roles = {}, { passwordHash, administrator = false, sessionEndsAt } = {}) => {
      const username = fresh();
      if (passwordHash !== undefined) leaks.keep(passwordHash);
      const { id } = await store.users.create({ username, name: 'A person', administrator, passwordHash: passwordHash ?? null });
      for (const [at, role] of Object.entries(roles)) await store.members.create({ workspaceId: ids[at] ?? at, userId: id, role });
      const { walker } = await session(id, sessionEndsAt);
      return { ...walker, username };
    },
    key: async (at, input = {}) => {
      const { key, accessKey } = await manager.key(input, ids[at] ?? at);
      leaks.keep(accessKey);
      return as({ authorization: `Bearer ${accessKey}` }, { id: key.id });
    },
    expectNoLeaks: async () => leaks.expectNone([...manager.logs, await auditText(store)]),
    stop: async () => {
      await manager.stop();
      await postgres.release();
    },
  };
}
