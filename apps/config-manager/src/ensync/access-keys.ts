import { createAccessKey } from '@carillon/access';
import { NO_PERMISSIONS, type AccessKey, type Permissions, type ResourcePermissions, type Workspace } from '@carillon/schemas';
import { CarillonError } from '@carillon/wire';

import { workspaceEntry } from '../feed/entries.ts';
import { putKey } from '../feed/put-key.ts';
import { createIdentity, type Identity } from '../resources/identity.ts';
import { readResources, showResources, type WireResources } from './account-resources.ts';
import type { Caller } from './caller.ts';
import type { EnsyncCall, EnsyncReply, EnsyncRoute } from './ensync-route.ts';
import { readEventPatterns, showEventPatterns } from './event-patterns.ts';
import { checkKey, namedKey } from './known-key.ts';
import { cutPage, readAll, readPaging } from './listing.ts';
import { accessKeyCreate, permissionsUpdate, readBody, servicePairRotate, type PermissionsBody } from './request-bodies.ts';

/**
 * EnSync's access keys are our keys of the kinds service and account; keys of other kinds do not exist here. The text of a
 * key is in the answer that makes it and nowhere else: what is listed as `key` is its public part, `ck_<id>`, since nothing
 * more is kept.
 */
export const ACCESS_KEY_ROUTES: readonly EnsyncRoute[] = [
  { method: 'GET', path: '/access-key', access: { resource: 'keys', action: 'read' }, handle: listKeys },
  { method: 'POST', path: '/access-key', access: { resource: 'keys', action: 'create' }, handle: createKey },
  { method: 'GET', path: '/access-key/permissions/:key', access: { resource: 'keys', action: 'read' }, handle: getKey },
  { method: 'POST', path: '/access-key/permissions/:key', access: { resource: 'keys', action: 'update' }, handle: updatePermissions },
  { method: 'GET', path: '/access-key/:key/permissions', access: { resource: 'keys', action: 'read' }, handle: getKey },
  { method: 'POST', path: '/access-key/:key/permissions', access: { resource: 'keys', action: 'update' }, handle: updatePermissions },
  { method: 'GET', path: '/access-key/:key', access: { resource: 'keys', action: 'read' }, handle: getKey },
  { method: 'DELETE', path: '/access-key/:key', access: { resource: 'keys', action: 'delete' }, handle: deleteKey },
  { method: 'PUT', path: '/access/service-key-pair', access: { resource: 'keys', action: 'update' }, handle: rotateServicePair },
  { method: 'GET', path: '/access/verify/:key', access: { resource: 'keys', action: 'read' }, handle: verifyKey },
];

/** EnSync knows no revoking: a key that was revoked is as gone as one that was deleted. */
function isShown({ kind, revokedAt }: AccessKey): boolean {
  return (kind === 'service' || kind === 'account') && revokedAt === null;
}

interface KeyAnswer {
  readonly id: string;
  readonly key: string;
  readonly name: string;
  readonly type: 'SERVICE' | 'ACCOUNT';
  readonly createdAt: string;
  readonly permissions: { readonly send: readonly string[]; readonly receive: readonly string[]; readonly resources: WireResources };
  readonly service_key_id?: string;
  readonly service_key_pair?: { readonly public_key: string };
}

/** `workspace`: the key's, which the paths of its resources begin at. */
function showKey(key: AccessKey, workspace: Workspace): KeyAnswer {
  const { id, name, kind, publicKey, createdAt } = key;
  const permissions = { send: showEventPatterns(key.permissions.send), receive: showEventPatterns(key.permissions.receive), resources: showResources(key.resources, workspace.name) };
  return {
    id, key: `ck_${id}`, name, type: kind === 'account' ? 'ACCOUNT' : 'SERVICE', createdAt, permissions,
    ...(kind === 'service' && publicKey !== null ? { service_key_id: id, service_key_pair: { public_key: publicKey } } : {}),
  };
}

function showPair({ publicKey, privateKey }: Identity): { readonly public_key: string; readonly private_key: string } {
  return { public_key: publicKey, private_key: privateKey };
}

async function listKeys({ store, caller, query, nowMs }: EnsyncCall): Promise<EnsyncReply> {
  const paging = readPaging(query, ['createdAt', 'name', 'key']);
  const part = (query['name'] ?? '').toLowerCase();
  const asked = query['accessKey'] ?? '';
  const only = asked === '' ? undefined : ((await namedKey(store, asked, nowMs))?.id ?? '');
  const view = await caller.view();
  const found = await readAll(
    view.map(({ id }) => (page) => store.keys.list(id, page)),
    (key) => isShown(key) && key.name.toLowerCase().includes(part) && (only === undefined || only === key.id),
  );
  const { resultsLength, results } = cutPage(found, paging, (key, orderBy) => (orderBy === 'key' ? key.id : key[orderBy]));
  const places = new Map(view.map((workspace) => [workspace.id, workspace]));
  return { status: 200, body: { resultsLength, results: results.map((key) => showKey(key, places.get(key.workspaceId) ?? caller.own)) } };
}

async function getKey(call: EnsyncCall): Promise<EnsyncReply> {
  const { key, workspace } = await findKey(call);
  return { status: 200, body: showKey(key, workspace) };
}

async function createKey({ store, caller, body }: EnsyncCall): Promise<EnsyncReply> {
  await caller.require(caller.own.id);
  const wanted = readBody(accessKeyCreate, body);
  const kind = wanted.type === 'ACCOUNT' ? 'account' : 'service';
  const resources = resourcesOf(wanted.permissions?.resources ?? {}, caller.own);
  const permissions = mergeLists(NO_PERMISSIONS, wanted.permissions ?? { send: [], receive: [] });
  checkGrants(caller, { kind, permissions, resources }, caller.own);
  const { id, key: accessKey, hash } = createAccessKey();
  const pair = kind === 'service' ? createIdentity() : undefined;
  const made = await store.change(async (tx) => {
    const after = await tx.keys.create({
      id, workspaceId: caller.own.id, kind, name: wanted.name ?? id, permissions, resources, limits: {}, expiresAt: null, secretHash: hash, publicKey: pair?.publicKey ?? null,
    });
    await caller.audit(tx, { action: 'key.create', workspaceId: after.workspaceId, resource: resourceOf(after), before: null, after });
    await putKey(tx, after);
    return after;
  });
  const { name, type, createdAt, permissions: shown } = showKey(made, caller.own);
  const service = pair === undefined ? {} : { service_key_id: id, service_key_pair: showPair(pair) };
  return { status: 201, body: { id, accessKeyId: id, accessKey, name, type, createdAt, permissions: shown, ...service } };
}

/** What stands in the body replaces the list, null or nothing leaves it as it was. What is denied to the key stays denied. */
async function updatePermissions(call: EnsyncCall): Promise<EnsyncReply> {
  const { store, caller } = call;
  const { key: before, workspace } = await findKey(call);
  const wanted = readBody(permissionsUpdate, call.body);
  const resources = wanted.resources === undefined ? before.resources : resourcesOf(wanted.resources, workspace);
  const permissions = mergeLists(before.permissions, wanted);
  requireAbove(caller, before, workspace);
  checkGrants(caller, { kind: before.kind, permissions, resources }, workspace);
  const made = await store.change(async (tx) => {
    const after = await tx.keys.update(before.id, { permissions, resources }, before.version);
    await caller.audit(tx, { action: 'key.update', workspaceId: after.workspaceId, resource: resourceOf(after), before, after });
    await putKey(tx, after);
    return after;
  });
  return { status: 200, body: showKey(made, workspace) };
}

/** Gone for good: who is connected with it is cut when hubs hear of it. */
async function deleteKey(call: EnsyncCall): Promise<EnsyncReply> {
  const { store, caller } = call;
  const { key: before, workspace } = await findKey(call);
  requireAbove(caller, before, workspace);
  await store.change(async (tx) => {
    const wasAnonymous = (await tx.workspaces.get(workspace.id))?.anonymousKeyId === before.id;
    await tx.keys.delete(before.id);
    await caller.audit(tx, { action: 'key.delete', workspaceId: before.workspaceId, resource: resourceOf(before), before, after: null });
    const withoutIt = wasAnonymous ? await tx.workspaces.get(workspace.id) : undefined;
    if (before.kind !== 'account') await tx.feed.remove({ type: 'key', workspaceId: workspace.id, id: before.id });
    if (withoutIt !== undefined) await tx.feed.put(workspaceEntry(withoutIt));
  });
  return { status: 204 };
}

/** A new address for a SERVICE key. Its text and what it may do stay. */
async function rotateServicePair(call: EnsyncCall): Promise<EnsyncReply> {
  const { store, caller } = call;
  const { access_key: snake, accessKey: camel } = readBody(servicePairRotate, call.body);
  const text = snake ?? camel;
  if (text === undefined) throw new CarillonError('RESOURCE_INVALID', '/access_key is missing');
  const { key: before } = await findKey({ ...call, params: { key: text } });
  if (before.kind !== 'service') throw new CarillonError('RESOURCE_INVALID', '/access_key only SERVICE keys have a pair');
  const pair = createIdentity();
  await store.change(async (tx) => {
    const after = await tx.keys.update(before.id, { publicKey: pair.publicKey }, before.version);
    await caller.audit(tx, { action: 'key.rotate-pair', workspaceId: after.workspaceId, resource: resourceOf(after), before, after });
    await putKey(tx, after);
  });
  return { status: 200, body: showPair(pair) };
}

/** Whether the text is the whole of a key that is in force, of those the caller sees. */
async function verifyKey({ store, caller, params, nowMs }: EnsyncCall): Promise<EnsyncReply> {
  const view = await caller.view();
  const checked = await checkKey(store, params['key'] ?? '', nowMs);
  return { status: 200, body: { status: checked !== undefined && checked.valid && isShown(checked.key) && view.some(({ id }) => id === checked.key.workspaceId) } };
}

async function findKey({ store, caller, params, nowMs }: EnsyncCall): Promise<{ readonly key: AccessKey; readonly workspace: Workspace }> {
  const found = await namedKey(store, params['key'] ?? '', nowMs);
  if (found === undefined || !isShown(found)) throw new CarillonError('RESOURCE_NOT_FOUND');
  return { key: found, workspace: await caller.require(found.workspaceId) };
}

/** Lists are for SERVICE keys, resources for ACCOUNT keys. */
function checkGrants(caller: Caller, { kind, permissions, resources }: Pick<AccessKey, 'kind' | 'permissions' | 'resources'>, workspace: Workspace): void {
  if (kind === 'account' && permissions.send.length + permissions.receive.length > 0) throw new CarillonError('RESOURCE_INVALID', 'ACCOUNT keys neither send nor receive');
  if (kind !== 'account' && Object.keys(resources).length > 0) throw new CarillonError('RESOURCE_INVALID', 'only ACCOUNT keys have resources');
  requireAbove(caller, { resources }, workspace);
}

/** Nobody makes or touches an ACCOUNT key that may do more than they may. */
function requireAbove(caller: Caller, { resources }: Pick<AccessKey, 'resources'>, workspace: Workspace): void {
  if (!caller.covers(resources, workspace)) caller.forbid({ detail: 'the ACCOUNT key may do more than the one that calls', workspaceId: workspace.id });
}

function resourcesOf(wire: WireResources, { name: own }: Workspace): ResourcePermissions {
  const read = readResources(wire, own);
  if (!read.ok) throw new CarillonError('RESOURCE_INVALID', `resources${read.pointer.slice(0, 128)} ${read.detail}`);
  return read.resources;
}

function mergeLists(before: Permissions, { send, receive }: Pick<PermissionsBody, 'send' | 'receive'>): Permissions {
  return { ...before, send: rulesOf('send', send, before.send), receive: rulesOf('receive', receive, before.receive) };
}

function rulesOf(list: 'send' | 'receive', names: readonly string[] | undefined, before: Permissions['send']): Permissions['send'] {
  if (names === undefined) return before;
  const read = readEventPatterns(names);
  if (!read.ok) throw new CarillonError('RESOURCE_INVALID', `/${list}/${read.index} is no event name or pattern`);
  return [...read.rules];
}

function resourceOf({ id, name }: AccessKey): { readonly kind: string; readonly id: string; readonly name: string } {
  return { kind: 'key', id, name };
}
