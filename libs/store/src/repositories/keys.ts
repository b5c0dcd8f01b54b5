import type { AccessKey, AccessKeyCreate, AccessKeyUpdate, KeyKind, Page, PageQuery, Permissions, ResourcePermissions, UsageLimits } from '@carillon/schemas';

import { cursorTime, readPage } from '../cursor.ts';
import type { Connection } from '../database.ts';
import type { AccessKey as Row } from '../generated/client.ts';
import { atVersion, born, changed, given, iso, json, stored, versioned } from './row.ts';

/** SHA-256 of a whole key, and until when it counts (null: as long as the key does). */
export interface KeySecret {
  readonly hash: string;
  readonly expiresAt: string | null;
}

/** Hubs tell the same use within a batch more than once; their clocks may run ahead of ours. Rows are locked in one order, so that two batches never wait for each other. */
const MARK_USED = `WITH used AS (SELECT id, least(to_timestamp(max(at_ms) / 1000), now()) AS at FROM unnest($1::text[], $2::float8[]) AS u(id, at_ms) GROUP BY id),
  held AS (SELECT k.id FROM access_keys k JOIN used ON used.id = k.id WHERE k.last_used_at IS NULL OR k.last_used_at < used.at ORDER BY k.id FOR NO KEY UPDATE OF k)
  UPDATE access_keys k SET last_used_at = greatest(k.last_used_at, used.at) FROM used, held WHERE k.id = held.id AND k.id = used.id`;

/** Access keys. Their secrets are known by hash only; two are in force while rotating. */
export class Keys {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  async get(id: string): Promise<AccessKey | undefined> {
    return (await this.secrets(id))?.key;
  }

  /** Newest first. */
  async list(workspaceId: string, query: PageQuery & { readonly kind?: KeyKind | undefined }): Promise<Page<AccessKey>> {
    const where = { workspaceId, ...(query.kind === undefined ? {} : { kind: query.kind }) };
    return readPage(query, {
      name: 'keys',
      key: ({ createdAt, id }) => [createdAt.toISOString(), id],
      read: async (after, take) => this.#db.prisma.accessKey.findMany({ where: { AND: [where, after === undefined ? {} : before(after)] }, orderBy: [{ createdAt: 'desc' }, { id: 'desc' }], take }),
      item,
    }, 2);
  }

  /** `RESOURCE_NOT_FOUND`: no such workspace. `RESOURCE_EXISTS`: the id or the public key. */
  async create(input: AccessKeyCreate & { readonly id: string; readonly workspaceId: string; readonly secretHash: string; readonly publicKey: string | null }): Promise<AccessKey> {
    const { id, workspaceId, secretHash, publicKey, kind, name, permissions, resources, limits, expiresAt } = input;
    const times = born();
    const data = {
      id, workspaceId, secretHash, publicKey, kind, name, permissions: json(permissions), resources: json(resources), limits: json(limits), expiresAt: time(expiresAt), secretCreatedAt: times.createdAt, ...times,
    };
    return item(await this.#db.prisma.accessKey.create({ data }));
  }

  async update(id: string, patch: AccessKeyUpdate & { readonly publicKey?: string | undefined }, expectedVersion?: number): Promise<AccessKey> {
    const { name, publicKey, permissions, resources, limits, expiresAt } = patch;
    const data = {
      ...given({ name, publicKey }), ...(permissions === undefined ? {} : { permissions: json(permissions) }), ...(resources === undefined ? {} : { resources: json(resources) }),
      ...(limits === undefined ? {} : { limits: json(limits) }), ...(expiresAt === undefined ? {} : { expiresAt: time(expiresAt) }), ...changed(),
    };
    return this.#write(id, { data, expectedVersion });
  }

  /** A new secret; the one before it stays in force until `previousExpiresAt` (a time that has come ends it at once), one before that no longer. */
  async rotate(id: string, { secretHash, previousExpiresAt }: { readonly secretHash: string; readonly previousExpiresAt: string }, expectedVersion?: number): Promise<AccessKey> {
    return this.#db.atomically(async (db) => {
      // Locked until this transaction ends, so that of two rotations the second one finds the secret of the first.
      await db.sql.query('key_lock', 'SELECT id FROM access_keys WHERE id = $1 FOR UPDATE', [id]);
      const row = await db.prisma.accessKey.findUnique({ where: { id }, select: { secretHash: true, secretCreatedAt: true } });
      const now = new Date();
      const ends = new Date(previousExpiresAt);
      const previous = row === null || ends <= now ? NO_PREVIOUS : { previousHash: row.secretHash, previousCreatedAt: row.secretCreatedAt, previousExpiresAt: ends };
      return new Keys(db).#write(id, { data: { ...previous, secretHash, secretCreatedAt: now, ...changed() }, expectedVersion });
    });
  }

  /** For good. Of one that is revoked already nothing changes. */
  async revoke(id: string, expectedVersion?: number): Promise<AccessKey> {
    return this.#db.atomically(async (db) => {
      const keys = new Keys(db);
      await db.sql.query('key_lock', 'SELECT id FROM access_keys WHERE id = $1 FOR UPDATE', [id]);
      const found = await keys.get(id);
      if (found !== undefined && found.revokedAt !== null && (expectedVersion ?? found.version) === found.version) return found;
      return keys.#write(id, { data: { revokedAt: new Date(), ...changed() }, expectedVersion });
    });
  }

  /** As if it had never been. */
  async delete(id: string): Promise<AccessKey> {
    return item(await this.#db.prisma.accessKey.delete({ where: { id } }));
  }

  /** The secrets in force, the current one first. */
  async secrets(id: string): Promise<{ readonly key: AccessKey; readonly secrets: readonly KeySecret[] } | undefined> {
    const row = await this.#db.prisma.accessKey.findUnique({ where: { id } });
    return row === null ? undefined : { key: item(row), secrets: secretsOf(row).map(({ hash, expiresAt }) => ({ hash, expiresAt })) };
  }

  /** Remembers uses, of many keys in one statement; never earlier ones than are known, never the future. The version stays. */
  async markUsed(used: readonly { readonly id: string; readonly atMs: number }[]): Promise<void> {
    if (used.length === 0) return;
    await this.#db.sql.query('keys_mark_used', MARK_USED, [used.map(({ id }) => id), used.map(({ atMs }) => atMs)]);
  }

  async byPublicKey(publicKey: string): Promise<AccessKey | undefined> {
    const row = await this.#db.prisma.accessKey.findUnique({ where: { publicKey } });
    return row === null ? undefined : item(row);
  }

  async #write(id: string, { data, expectedVersion }: { readonly data: object; readonly expectedVersion: number | undefined }): Promise<AccessKey> {
    const row = await versioned(expectedVersion, {
      write: async () => this.#db.prisma.accessKey.update({ where: { id, ...atVersion(expectedVersion) }, data }),
      exists: async () => this.#db.prisma.accessKey.findUnique({ where: { id }, select: { id: true } }),
    });
    return item(row);
  }
}

const NO_PREVIOUS = { previousHash: null, previousCreatedAt: null, previousExpiresAt: null } as const;

function before([createdAt, id = '']: readonly string[]): object {
  const at = cursorTime(createdAt);
  return { OR: [{ createdAt: { lt: at } }, { createdAt: at, id: { lt: id } }] };
}

function secretsOf(row: Row): readonly (KeySecret & { readonly createdAt: string })[] {
  const current = { hash: row.secretHash, createdAt: row.secretCreatedAt.toISOString(), expiresAt: null };
  const { previousHash, previousCreatedAt, previousExpiresAt } = row;
  if (previousHash === null || previousCreatedAt === null || previousExpiresAt === null || previousExpiresAt <= new Date()) return [current];
  return [current, { hash: previousHash, createdAt: previousCreatedAt.toISOString(), expiresAt: previousExpiresAt.toISOString() }];
}

function time(text: string | null): Date | null {
  return text === null ? null : new Date(text);
}

function item(row: Row): AccessKey {
  const { id, workspaceId, name, publicKey } = row;
  return {
    id, workspaceId, kind: row.kind as KeyKind, name, publicKey,
    permissions: row.permissions as Permissions, resources: row.resources as ResourcePermissions, limits: row.limits as UsageLimits,
    expiresAt: iso(row.expiresAt), revokedAt: iso(row.revokedAt), lastUsedAt: iso(row.lastUsedAt),
    secrets: secretsOf(row).map(({ createdAt, expiresAt }) => ({ createdAt, expiresAt })), ...stored(row),
  };
}
