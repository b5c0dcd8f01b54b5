import { createAccessKey } from '@carillon/access';
import { NO_PERMISSIONS, type Action, type Resource, type Role } from '@carillon/schemas';

import { Passwords } from '../auth/passwords.ts';
import { fresh, type Scene, type Walker } from './scene.fixture.ts';

// Every route, for whom it is and a call of it that succeeds: written by hand from what roles are said to mean, so that it does not
// follow a change of the code. A route that is missing here fails the walk.

/** From the lowest to the highest. */
export const LADDER = ['viewer', 'operator', 'developer', 'admin', 'owner'] as const satisfies readonly Role[];

export type Audience =
  | { readonly for: 'everybody' }
  | { readonly for: 'signed-in' }
  | { readonly for: 'person' }
  | { readonly for: 'administrator' }
  /** In a workspace: the lowest role, and what an account key needs. */
  | { readonly for: Role; readonly key: readonly [Resource, Action] };

export interface Aim {
  /** Of the path's parameters, besides the workspace `team`. */
  readonly ids?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

export type Walked = Audience & {
  readonly status: number;
  /** What the path names in the workspace, and by which parameter. */
  readonly thing?: Thing;
  /** Makes what the call is about. */
  readonly aim?: (scene: Scene, by: Walker) => Promise<Aim>;
};

export interface Thing {
  readonly parameter: 'id' | 'keyId' | 'userId';
  readonly kind: 'key' | 'definition' | 'room' | 'device' | 'member';
}

const DEFINITION = { description: '', schema: { type: 'object' } };
const RETENTION = { maxAgeSeconds: 60, maxBytes: null };
const DEVICE = { repeater: 'r1', address: 'ws://192.0.2.1:7101/a', enabled: true };
const CHEAP = new Passwords({ logN: 4, r: 8, p: 1 });
const PASSWORD = 'of somebody in the walk';
const NEW_PASSWORD = 'another one in the walk';

/** A new one in a workspace; gives its id. */
export async function makeThing({ kind }: Thing, scene: Scene, workspaceId: string): Promise<string> {
  const { store } = scene.manager;
  switch (kind) {
    case 'key': {
      const { id, hash } = createAccessKey();
      return (await store.keys.create({ id, workspaceId, kind: 'messenger', name: 'A key', permissions: NO_PERMISSIONS, resources: {}, limits: {}, expiresAt: null, secretHash: hash, publicKey: null })).id;
    }
    case 'definition': return (await store.definitions.create({ workspaceId, name: fresh(), ...DEFINITION })).id;
    case 'room': return (await store.roomPolicies.create({ workspaceId, pattern: fresh(), lane: 'live', retention: RETENTION })).id;
    case 'device': return (await store.devices.create({ workspaceId, room: 'r', name: fresh(), ...DEVICE })).id;
    case 'member': return (await scene.person({ [workspaceId]: 'viewer' })).id;
  }
}

const about = (parameter: Thing['parameter'], kind: Thing['kind'], body?: unknown) => {
  const thing = { parameter, kind };
  return { thing, aim: async (scene: Scene): Promise<Aim> => ({ ids: { [parameter]: await makeThing(thing, scene, scene.ids.team) }, body }) };
};
const sends = (body: () => unknown) => ({ aim: async (): Promise<Aim> => ({ body: body() }) });
const someUser = async (scene: Scene): Promise<string> => (await scene.person()).id;

/** List, make, read, change and remove. */
function things(of: { readonly one: string; readonly many: string; readonly kind: Thing['kind']; readonly resource: Resource; readonly changedBy: Role }, create: () => unknown, update: unknown): Record<string, Walked> {
  const { one, many, kind, resource, changedBy } = of;
  return {
    [`list${many}`]: { for: 'viewer', key: [resource, 'read'], status: 200 },
    [`create${one}`]: { for: changedBy, key: [resource, 'create'], status: 201, ...sends(create) },
    [`get${one}`]: { for: 'viewer', key: [resource, 'read'], status: 200, ...about('id', kind) },
    [`update${one}`]: { for: changedBy, key: [resource, 'update'], status: 200, ...about('id', kind, update) },
    [`delete${one}`]: { for: changedBy, key: [resource, 'delete'], status: 204, ...about('id', kind) },
  };
}

export const WALKED: Readonly<Record<string, Walked>> = {
  createSession: {
    for: 'everybody', status: 201,
    aim: async (scene) => {
      scene.leaks.keep(PASSWORD);
      return { body: { username: (await scene.person({}, { passwordHash: await CHEAP.hash(PASSWORD) })).username, password: PASSWORD } };
    },
  },
  // No identity provider is set.
  beginOidcSignIn: { for: 'everybody', status: 503 },
  finishOidcSignIn: { for: 'everybody', status: 503 },
  listSessions: { for: 'person', status: 200 },
  deleteSession: { for: 'person', status: 204, aim: async (scene, by) => ({ ids: { sessionId: (await scene.session(by.id)).id } }) },
  deleteOtherSessions: { for: 'person', status: 204 },
  getMe: { for: 'person', status: 200 },
  changePassword: {
    for: 'person', status: 204,
    aim: async ({ leaks, manager: { store } }, by) => {
      leaks.keep(PASSWORD, NEW_PASSWORD);
      if (by.id.startsWith('us_')) await store.users.update(by.id, { passwordHash: await CHEAP.hash(PASSWORD) });
      return { body: { currentPassword: PASSWORD, newPassword: NEW_PASSWORD } };
    },
  },
  listUsers: { for: 'administrator', status: 200 },
  createUser: { for: 'administrator', status: 201, ...sends(() => ({ username: fresh(), name: 'New' })) },
  getUser: { for: 'administrator', status: 200, aim: async (scene) => ({ ids: { userId: await someUser(scene) } }) },
  updateUser: { for: 'administrator', status: 200, aim: async (scene) => ({ ids: { userId: await someUser(scene) }, body: { name: 'Renamed' } }) },
  deleteUser: { for: 'administrator', status: 204, aim: async (scene) => ({ ids: { userId: await someUser(scene) } }) },
  listWorkspaces: { for: 'signed-in', status: 200 },
  createWorkspace: { for: 'admin', key: ['workspaces', 'create'], status: 201, aim: async ({ ids }) => ({ body: { name: fresh(), parentId: ids.team } }) },
  getWorkspace: { for: 'viewer', key: ['workspaces', 'read'], status: 200 },
  updateWorkspace: { for: 'admin', key: ['workspaces', 'update'], status: 200, ...sends(() => ({ validation: 'warn' })) },
  deleteWorkspace: {
    for: 'owner', key: ['workspaces', 'delete'], status: 204,
    aim: async ({ ids, manager: { store } }) => ({ ids: { workspaceId: (await store.workspaces.create({ name: fresh(), parentId: ids.team, validation: 'off', allowedOrigins: [], limits: {} })).id } }),
  },
  listMembers: { for: 'viewer', key: ['members', 'read'], status: 200 },
  createMember: { for: 'admin', key: ['members', 'create'], status: 201, aim: async (scene) => ({ body: { username: (await scene.person()).username, role: 'viewer' } }) },
  getMember: { for: 'viewer', key: ['members', 'read'], status: 200, ...about('userId', 'member') },
  updateMember: { for: 'admin', key: ['members', 'update'], status: 200, ...about('userId', 'member', { role: 'operator' }) },
  deleteMember: { for: 'admin', key: ['members', 'delete'], status: 204, ...about('userId', 'member') },
  listKeys: { for: 'viewer', key: ['keys', 'read'], status: 200 },
  createKey: { for: 'developer', key: ['keys', 'create'], status: 201, ...sends(() => ({ kind: 'messenger', name: 'New' })) },
  getKey: { for: 'viewer', key: ['keys', 'read'], status: 200, ...about('keyId', 'key') },
  updateKey: { for: 'developer', key: ['keys', 'update'], status: 200, ...about('keyId', 'key', { name: 'Renamed' }) },
  revokeKey: { for: 'operator', key: ['keys', 'delete'], status: 204, ...about('keyId', 'key') },
  rotateKey: { for: 'operator', key: ['keys', 'update'], status: 200, ...about('keyId', 'key', { overlapSeconds: 0 }) },
  ...things({ one: 'EventDefinition', many: 'EventDefinitions', kind: 'definition', resource: 'event-definitions', changedBy: 'developer' }, () => ({ name: fresh(), ...DEFINITION }), { description: 'changed' }),
  ...things({ one: 'RoomPolicy', many: 'RoomPolicies', kind: 'room', resource: 'rooms', changedBy: 'developer' }, () => ({ pattern: fresh(), lane: 'durable' }), { lane: 'durable' }),
  ...things({ one: 'Device', many: 'Devices', kind: 'device', resource: 'devices', changedBy: 'operator' }, () => ({ room: 'r', name: fresh(), ...DEVICE }), { enabled: false }),
  listWorkspaceAudit: { for: 'admin', key: ['audit', 'read'], status: 200 },
  listAudit: { for: 'administrator', status: 200 },
  getFeed: { for: 'administrator', status: 200 },
  republishFeed: { for: 'administrator', status: 200 },
};

/** The path of a call: parameters that the aim does not name are the workspace `team`. */
export function pathOf(path: string, { ids = {} }: Aim, scene: Scene, instead: Readonly<Record<string, string>> = {}): string {
  return path.replaceAll(/:([A-Za-z]+)/g, (_, name: string) => instead[name] ?? ids[name] ?? (name === 'workspaceId' ? scene.ids.team : 'unnamed'));
}
