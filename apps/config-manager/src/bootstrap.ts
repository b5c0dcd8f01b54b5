import { createAccessKey } from '@carillon/access';
import { ALL_PERMISSIONS, DEFAULT_WORKSPACE_ID, type AuditRecord, type KeyKind } from '@carillon/schemas';
import type { Repositories, Store } from '@carillon/store';
import { CarillonError } from '@carillon/wire';

import { requireFit, type Passwords } from './auth/passwords.ts';
import { randomText } from './auth/tokens.ts';
import { keyEntry, workspaceEntry } from './feed/entries.ts';

/** 24 of 62 characters: 142 bits. */
const PASSWORD_CHARACTERS = 24;

export interface BootstrapOptions {
  readonly passwords: Passwords;
  readonly username: string;
  /** One is made when there is none. */
  readonly password?: string | undefined;
  /**
   * Keeps a password that was made where its owner finds it. Called before the user is there for good: when it rejects,
   * nothing was made.
   */
  readonly keep?: (password: string) => Promise<void>;
}

export interface Bootstrap {
  /** False: the database had users, and nothing was done. */
  readonly created: boolean;
  /** The password that was made; absent when one was given. */
  readonly adminPassword?: string;
}

/**
 * Makes the workspace `default` and an administrator in a database without users. Of several config-managers that start at
 * once one does it: names are unique, and the others find them taken. Throws PASSWORD_UNFIT for a given password that is.
 */
export async function bootstrap(store: Store, { passwords, username, password, keep }: BootstrapOptions): Promise<Bootstrap> {
  if ((await store.users.count()) > 0) return { created: false };
  if (password !== undefined) requireFit(password, username);
  const chosen = password ?? randomText(PASSWORD_CHARACTERS);
  const passwordHash = await passwords.hash(chosen);
  try {
    const created = await store.change(async (tx) => {
      if ((await tx.users.count()) > 0) return false;
      const user = await tx.users.create({ username, name: 'Administrator', administrator: true, passwordHash });
      await tx.audit.add(made('user.create', { kind: 'user', id: user.id, name: user.username }, { workspaceId: null, after: user }));
      await makeDefaultWorkspace(tx);
      if (password === undefined) await keep?.(chosen);
      return true;
    });
    return { created, ...(created && password === undefined ? { adminPassword: chosen } : {}) };
  } catch (error) {
    if (error instanceof CarillonError && error.code === 'RESOURCE_EXISTS' && (await store.users.count()) > 0) return { created: false };
    throw error;
  }
}

async function makeDefaultWorkspace(tx: Repositories): Promise<void> {
  if ((await tx.workspaces.get(DEFAULT_WORKSPACE_ID)) !== undefined) return;
  const workspace = await tx.workspaces.create({ id: DEFAULT_WORKSPACE_ID, name: DEFAULT_WORKSPACE_ID, parentId: null, validation: 'off', allowedOrigins: [], limits: {} });
  await tx.audit.add(made('workspace.create', { kind: 'workspace', id: workspace.id, name: workspace.path }, { workspaceId: workspace.id, after: workspace }));
  await tx.feed.put(workspaceEntry(workspace));
}

/** A key that this program makes for itself or its owner: in `default`, with all permissions. */
export interface OwnKey {
  readonly kind: Exclude<KeyKind, 'account'>;
  readonly name: string;
  /** As of `bootstrap`. */
  readonly keep?: (accessKey: string) => Promise<void>;
}

/** Makes a key; gives its text, which is seen this once. Throws RESOURCE_NOT_FOUND when there is no workspace `default`. */
export function createOwnKey(store: Store, options: OwnKey): Promise<string> {
  return store.change((tx) => putOwnKey(tx, options));
}

/** The same for the first messenger's key, unless the workspace is not there, or has or had a key: then undefined. */
export function createFirstKey(store: Store, { keep }: Pick<OwnKey, 'keep'> = {}): Promise<string | undefined> {
  return store.change(async (tx) => {
    if ((await tx.workspaces.get(DEFAULT_WORKSPACE_ID)) === undefined) return undefined;
    if ((await tx.keys.list(DEFAULT_WORKSPACE_ID, { limit: 1 })).items.length > 0) return undefined;
    return putOwnKey(tx, { kind: 'messenger', name: 'first key', ...(keep === undefined ? {} : { keep }) });
  });
}

async function putOwnKey(tx: Repositories, { kind, name, keep }: OwnKey): Promise<string> {
  const { id, key: accessKey, hash } = createAccessKey();
  const key = await tx.keys.create({
    id, workspaceId: DEFAULT_WORKSPACE_ID, secretHash: hash, publicKey: null, kind, name, permissions: ALL_PERMISSIONS, resources: {}, limits: {}, expiresAt: null,
  });
  await tx.audit.add(made('key.create', { kind: 'key', id, name }, { workspaceId: DEFAULT_WORKSPACE_ID, after: key }));
  await keep?.(accessKey);
  const entry = keyEntry({ key, secrets: [{ hash, expiresAt: null }] });
  if (entry !== undefined) await tx.feed.put(entry);
  return accessKey;
}

/** What this program did by itself. */
function made(action: string, resource: AuditRecord['resource'], { workspaceId, after }: Pick<AuditRecord, 'workspaceId' | 'after'>): Omit<AuditRecord, 'id' | 'at'> {
  return { workspaceId, action, resource, after, before: null, actor: { kind: 'system', id: null, name: 'config-manager' }, outcome: 'done', source: 'local', code: null, requestId: null };
}
