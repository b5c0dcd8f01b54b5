import { createAccessKey, hashAccessKey } from '@carillon/access';
import {
  key as keySchema, keyCreate, keyKind, keyRotate, keyUpdate, keyWithSecret, pageOf, pageQuery, type AccessKey, type AccessKeyUpdate, type AccessKeyWithSecret, type KeyKind,
} from '@carillon/schemas';
import type { Repositories } from '@carillon/store';
import { CarillonError } from '@carillon/wire';

import { putKey } from '../feed/put-key.ts';
import { Denial } from '../http/refusal.ts';
import { route, type Actor, type Call, type Route } from '../http/route.ts';
import { createIdentity } from './identity.ts';
import { refuseField, requireTime } from './invalid.ts';
import { id, workspaceParams } from './params.ts';
import { requireIn, standingIn, type Standing } from './standing.ts';

const tag = 'Access keys';
const path = '/workspaces/:workspaceId/keys';
const onePath = '/workspaces/:workspaceId/keys/:keyId';
const oneParams = workspaceParams.extend({ keyId: id });
const told = ({ id, name }: AccessKey) => ({ kind: 'key', id, name });

/**
 * Keys. Who holds a secret may do what its key may, and rotating gives one out: so nobody makes, changes or rotates an account
 * key that may do more than they may themselves, or for longer. Revoking takes power only and asks for less.
 */
export const keyRoutes: readonly Route[] = [
  route({
    method: 'GET', path, name: 'listKeys', summary: 'List access keys', tag, access: { resource: 'keys', action: 'read' },
    params: workspaceParams, query: pageQuery.extend({ kind: keyKind.optional() }), answer: { status: 200, schema: pageOf(keySchema), description: 'A page of them, the newest first; revoked ones too' },
    handle: async ({ store, workspace, query }) => ({ body: await store.keys.list(workspace.id, query) }),
  }),
  route({
    method: 'POST', path, name: 'createKey', summary: 'Make an access key', tag, access: { resource: 'keys', action: 'create' },
    params: workspaceParams, body: keyCreate, answer: { status: 201, schema: keyWithSecret, description: 'The key and, this once, its secret' }, versioned: true, creates: true,
    handle: async (call) => {
      const { workspace, body } = call;
      checkFields(body.kind, body);
      if (body.kind === 'account') requireAccountRights(call, await standingIn(call, workspace.id), body);
      const { id, key: accessKey, hash } = createAccessKey();
      const identity = body.kind === 'service' ? createIdentity() : { publicKey: null, privateKey: null };
      const key = await call.change({ action: 'key.create', workspaceId: workspace.id, resource: told, after: (made) => made }, async (tx) => {
        const made = await tx.keys.create({ ...body, id, workspaceId: workspace.id, secretHash: hash, publicKey: identity.publicKey });
        await putKey(tx, made);
        return made;
      });
      return { body: { key, accessKey, privateKey: identity.privateKey } satisfies AccessKeyWithSecret, version: key.version, location: `/workspaces/${workspace.id}/keys/${id}` };
    },
  }),
  route({
    method: 'GET', path: onePath, name: 'getKey', summary: 'Read an access key', tag, access: { resource: 'keys', action: 'read' }, params: oneParams,
    answer: { status: 200, schema: keySchema, description: 'It; secrets are never shown again' }, versioned: true,
    handle: async ({ store, workspace, params }) => {
      const key = await find(store, workspace.id, params.keyId);
      return { body: key, version: key.version };
    },
  }),
  route({
    method: 'PATCH', path: onePath, name: 'updateKey', summary: 'Change what an access key is called and may do', tag, access: { resource: 'keys', action: 'update' },
    params: oneParams, body: keyUpdate, answer: { status: 200, schema: keySchema, description: 'It, changed' }, versioned: true,
    handle: async (call) => {
      const { store, workspace, params, body } = call;
      const standing = await standingIn(call, workspace.id);
      if (standing.role !== undefined && !standing.isAtLeast('developer')) call.deny('operators rotate and revoke keys, and change nothing else of them');
      const before = await findLive(store, workspace.id, params.keyId);
      checkFields(before.kind, body);
      if (before.kind === 'account') requireAccountRights(call, standing, before, body);
      const after = await call.change({ action: 'key.update', workspaceId: workspace.id, resource: told, before, after: (key) => key }, async (tx) => {
        const key = await tx.keys.update(before.id, body, expected(call, before));
        await putKey(tx, key);
        return key;
      });
      return { body: after, version: after.version };
    },
  }),
  route({
    method: 'DELETE', path: onePath, name: 'revokeKey', summary: 'Revoke an access key, for good', tag,
    // Decided inside: operators revoke keys, although they may not delete anything else of a workspace's keys.
    access: 'signed-in', params: oneParams, answer: { status: 204, description: 'It opens nothing any more' }, versioned: true,
    handle: async (call) => {
      const { store, params, actor, ifMatch } = call;
      const workspace = await requireIn(call, params.workspaceId, { resource: 'keys', action: actor.kind === 'user' ? 'update' : 'delete' });
      const standing = await standingIn(call, workspace.id);
      const before = await find(store, workspace.id, params.keyId);
      if (before.kind === 'account' && standing.role !== undefined && !standing.isAtLeast('admin')) throw new Denial('FORBIDDEN', { detail: 'account keys take an admin', workspaceId: workspace.id });
      await call.change({ action: 'key.revoke', workspaceId: workspace.id, resource: told, before, after: (key) => key }, async (tx) => {
        const key = await tx.keys.revoke(before.id, ifMatch);
        await putKey(tx, key);
        return key;
      });
      return {};
    },
  }),
  route({
    method: 'POST', path: `${onePath}/rotate`, name: 'rotateKey', summary: 'Give an access key a new secret', tag, access: { resource: 'keys', action: 'update' },
    params: oneParams, body: keyRotate, answer: { status: 200, schema: keyWithSecret, description: 'The key and, this once, its new secret' }, versioned: true, creates: true,
    handle: async (call) => {
      const { store, workspace, params, body } = call;
      const before = await findLive(store, workspace.id, params.keyId);
      if (before.kind === 'account') requireAccountRights(call, await standingIn(call, workspace.id), before);
      const { key: accessKey, hash } = rotated(before.id);
      const previousExpiresAt = new Date(Date.now() + body.overlapSeconds * 1_000).toISOString();
      const key = await call.change({ action: 'key.rotate', workspaceId: workspace.id, resource: told, before, after: (after) => after }, async (tx) => {
        const after = await tx.keys.rotate(before.id, { secretHash: hash, previousExpiresAt }, expected(call, before));
        await putKey(tx, after);
        return after;
      });
      return { body: { key, accessKey, privateKey: null } satisfies AccessKeyWithSecret, version: key.version };
    },
  }),
];

/** A new secret for the id that stands: the text of another key, with this id in its place. */
function rotated(keyId: string): { readonly key: string; readonly hash: string } {
  const fresh = createAccessKey();
  const key = fresh.key.replace(fresh.id, keyId);
  return { key, hash: hashAccessKey(key) };
}

/** Another workspace's key is not found, as if it did not exist. */
async function find(store: Repositories, workspaceId: string, keyId: string): Promise<AccessKey> {
  const key = await store.keys.get(keyId);
  if (key?.workspaceId !== workspaceId) throw new CarillonError('RESOURCE_NOT_FOUND');
  return key;
}

async function findLive(store: Repositories, workspaceId: string, keyId: string): Promise<AccessKey> {
  const key = await find(store, workspaceId, keyId);
  if (key.revokedAt !== null) refuseField('', 'was revoked, and that is for good');
  return key;
}

/** What was asked about an account key holds for the version that was read. */
function expected({ ifMatch }: { readonly ifMatch: number | undefined }, before: AccessKey): number | undefined {
  return ifMatch ?? (before.kind === 'account' ? before.version : undefined);
}

function checkFields(kind: KeyKind, { permissions, resources, expiresAt }: AccessKeyUpdate): void {
  const rules = permissions === undefined ? [] : [...permissions.send, ...permissions.receive, ...permissions.deny.send, ...permissions.deny.receive];
  if (kind === 'account' && rules.length > 0) refuseField('/permissions', 'are not for account keys, which have resources');
  if (kind !== 'account' && resources !== undefined && Object.keys(resources).length > 0) refuseField('/resources', 'are for account keys alone');
  if (typeof expiresAt !== 'string') return;
  requireTime('/expiresAt', expiresAt);
  if (Date.parse(expiresAt) <= Date.now()) refuseField('/expiresAt', 'must lie ahead');
}

/** Account keys take an admin, or an account key; and nobody hands on more than they may do themselves, nor for longer. */
function requireAccountRights(call: Call<unknown, unknown, unknown>, standing: Standing, ...wanted: readonly AccessKeyUpdate[]): void {
  if (standing.role !== undefined && !standing.isAtLeast('admin')) call.deny('account keys take an admin');
  for (const { resources, expiresAt } of wanted) {
    if (resources !== undefined && !standing.covers(resources)) call.deny('the account key may do more than its maker');
    if (expiresAt !== undefined && outlives(expiresAt, call.actor)) call.deny('the account key would outlive its maker');
  }
}

/** Of a key that ends; the roles of persons do not. */
function outlives(expiresAt: string | null, actor: Actor): boolean {
  const ownEnd = actor.kind === 'key' ? actor.key.expiresAt : null;
  return ownEnd !== null && (expiresAt === null || Date.parse(expiresAt) > Date.parse(ownEnd));
}
