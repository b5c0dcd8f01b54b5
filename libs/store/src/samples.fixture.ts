import { NO_PERMISSIONS, type AccessKey, type AuditRecord, type KeyEntry, type User, type Workspace } from '@carillon/schemas';
import { CarillonError, type ErrorCode } from '@carillon/wire';
import { expect } from 'vitest';

import type { Repositories } from './repositories/repositories.ts';

let count = 0;

/** A name that no other sample has. */
export const unique = (what: string): string => `${what}-${(count += 1)}`;

export async function makeWorkspace(store: Repositories, { name = unique('workspace'), parentId = null }: { readonly name?: string; readonly parentId?: string | null } = {}): Promise<Workspace> {
  return store.workspaces.create({ name, parentId, validation: 'off', allowedOrigins: [], limits: {} });
}

export async function makeUser(store: Repositories, { username = unique('user'), administrator = false }: { readonly username?: string; readonly administrator?: boolean } = {}): Promise<User> {
  return store.users.create({ username, name: `Name of ${username}`, administrator, passwordHash: null });
}

export async function makeKey(store: Repositories, workspaceId: string, { id = unique('key').replace('-', ''), secretHash = unique('hash'), publicKey = null }: { readonly id?: string; readonly secretHash?: string; readonly publicKey?: string | null } = {}): Promise<AccessKey> {
  return store.keys.create({ id, workspaceId, secretHash, publicKey, kind: 'messenger', name: 'A key', permissions: NO_PERMISSIONS, resources: {}, limits: {}, expiresAt: null });
}

export function keyEntry(workspaceId: string, id: string): KeyEntry {
  return { type: 'key', id, workspaceId, kind: 'messenger', permissions: NO_PERMISSIONS, limits: {}, expiresAtMs: null, secrets: [] };
}

export function auditOf(workspaceId: string | null, fields: Partial<AuditRecord> = {}): Omit<AuditRecord, 'id' | 'at'> {
  return {
    workspaceId, actor: { kind: 'user', id: 'us_1', name: 'ada' }, action: 'key.create', outcome: 'done', resource: { kind: 'key', id: 'k1', name: 'A key' },
    before: null, after: null, source: '127.0.0.1', code: null, requestId: null, ...fields,
  };
}

/** The refusal must carry this code, and nothing of the database's own words. */
export async function expectCode(code: ErrorCode, refused: Promise<unknown>): Promise<CarillonError> {
  const error: unknown = await refused.then(() => undefined, (thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(CarillonError);
  const fault = error as CarillonError;
  expect(fault.code).toBe(code);
  expect(fault.message).not.toMatch(/prisma|select|insert|constraint|relation|invocation|postgresql:/i);
  return fault;
}

/** All pages of a listing, in order. */
export async function allPages<Item>(read: (cursor: string | undefined) => Promise<{ readonly items: readonly Item[]; readonly nextCursor: string | null }>): Promise<readonly Item[]> {
  const items: Item[] = [];
  let cursor: string | undefined;
  do {
    const page = await read(cursor);
    items.push(...page.items);
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
  return items;
}
