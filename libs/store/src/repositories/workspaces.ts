import { WORKSPACE_DEPTH_MAX, type Page, type PageQuery, type ValidationMode, type UsageLimits, type Workspace, type WorkspaceCreate, type WorkspaceUpdate } from '@carillon/schemas';
import { CarillonError } from '@carillon/wire';

import { readPage } from '../cursor.ts';
import type { Connection } from '../database.ts';
import type { Prisma, Workspace as Row } from '../generated/client.ts';
import { lockFor } from '../locks.ts';
import { newId } from '../row-id.ts';
import { atVersion, born, changed, given, json, stored, versioned } from './row.ts';

/*
 * A tree by `parentId`, with each one's path kept beside it. Whatever changes paths (create, rename, delete) holds one lock until its
 * transaction ends, so that a child that is made while its parent is renamed cannot keep the old path.
 */

/** The character after `/`: what is below a path lies between `path/` and `path0`, by bytes. */
const AFTER_SLASH = '0';

/** Asked for with every call of the management API. */
const ANCESTORS = `WITH RECURSIVE up AS (SELECT w.*, 0 AS height FROM workspaces w WHERE id = $1
  UNION ALL SELECT above.*, up.height + 1 FROM workspaces above JOIN up ON above.id = up.parent_id)
  SELECT row_to_json(up)::text AS row FROM up ORDER BY height DESC`;

export interface WorkspaceQuery extends PageQuery {
  readonly ids?: readonly string[] | undefined;
  /** Only those at or below these, by id. */
  readonly under?: readonly string[] | undefined;
  /** Only children of this one; null: only roots. */
  readonly parentId?: string | null | undefined;
}

export class Workspaces {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  /** Waits until no other transaction holds this one's lock, and holds it to the end: for rules about all that belongs to it. */
  async lock(id: string): Promise<void> {
    await this.#db.sql.query('workspace_lock', 'SELECT id FROM workspaces WHERE id = $1 FOR NO KEY UPDATE', [id]);
  }

  async get(id: string): Promise<Workspace | undefined> {
    const row = await this.#db.prisma.workspace.findUnique({ where: { id } });
    return row === null ? undefined : item(row);
  }

  /** The path is compared without case. */
  async byPath(path: string): Promise<Workspace | undefined> {
    const [found] = await this.#db.sql.query('workspace_by_path', 'SELECT id FROM workspaces WHERE lower(path) = lower($1::text COLLATE "C")', [path]);
    return found === undefined ? undefined : this.get(String(found['id']));
  }

  /** Root first, itself last; none when it is unknown. */
  async ancestors(id: string): Promise<readonly Workspace[]> {
    return (await this.#db.sql.query('workspace_ancestors', ANCESTORS, [id])).map(({ row }) => item(rowOfJson(String(row))));
  }

  /** By path; what is asked for by several fields fits all of them. */
  async list(query: WorkspaceQuery): Promise<Page<Workspace>> {
    const { ids, under, parentId } = query;
    const where: Prisma.WorkspaceWhereInput[] = [];
    if (ids !== undefined) where.push({ id: { in: [...ids] } });
    if (under !== undefined) where.push(await this.#atOrBelow(under));
    if (parentId !== undefined) where.push({ parentId });
    return readPage(query, {
      name: 'workspaces',
      key: ({ path }) => [path],
      read: async (after, take) => this.#db.prisma.workspace.findMany({ where: { AND: after === undefined ? where : [...where, { path: { gt: after[0] ?? '' } }] }, orderBy: { path: 'asc' }, take }),
      item,
    }, 1);
  }

  /** `RESOURCE_NOT_FOUND`: no such parent. `RESOURCE_EXISTS`: the name, compared without case, among siblings. `RESOURCE_INVALID`: too deep. */
  async create({ id = newId('ws'), name, parentId, validation, allowedOrigins, limits }: WorkspaceCreate & { readonly id?: string | undefined }): Promise<Workspace> {
    return this.#db.atomically(async ({ prisma, sql }) => {
      await lockFor('workspace-paths', sql);
      const parent = parentId === null ? undefined : await prisma.workspace.findUnique({ where: { id: parentId }, select: { path: true } });
      if (parent === null) throw new CarillonError('RESOURCE_NOT_FOUND', 'there is no such parent');
      const path = parent === undefined ? name : `${parent.path}/${name}`;
      if (path.split('/').length > WORKSPACE_DEPTH_MAX) throw new CarillonError('RESOURCE_INVALID', `workspaces are at most ${WORKSPACE_DEPTH_MAX} deep`);
      return item(await prisma.workspace.create({ data: { id, name, path, parentId, validation, allowedOrigins: [...allowedOrigins], limits: json(limits), ...born() } }));
    });
  }

  /** A new name changes the paths, and so the versions, of all below. `RESOURCE_NOT_FOUND` also when the anonymous key is none of this workspace. */
  async update(id: string, patch: WorkspaceUpdate, expectedVersion?: number): Promise<Workspace> {
    return this.#db.atomically(async (db) => {
      await this.#checkAnonymousKey(db, id, patch.anonymousKeyId);
      const renamed = patch.name === undefined ? undefined : await this.#renamed(db, id, patch.name);
      const { name, validation, anonymousKeyId, allowedOrigins, limits } = patch;
      const data = { ...given({ name, validation, anonymousKeyId, allowedOrigins }), ...(limits === undefined ? {} : { limits: json(limits) }), ...(renamed === undefined ? {} : { path: renamed.to }), ...changed() };
      const row = await versioned(expectedVersion, {
        write: async () => db.prisma.workspace.update({ where: { id, ...atVersion(expectedVersion) }, data }),
        exists: async () => db.prisma.workspace.findUnique({ where: { id }, select: { id: true } }),
      });
      if (renamed !== undefined && renamed.from !== renamed.to) await movePaths(db, renamed);
      return item(row);
    });
  }

  /** Everything in it goes with it. `RESOURCE_IN_USE` while there are workspaces below. */
  async delete(id: string, expectedVersion?: number): Promise<Workspace> {
    return this.#db.atomically(async ({ prisma, sql }) => {
      await lockFor('workspace-paths', sql);
      if ((await prisma.workspace.count({ where: { parentId: id } })) > 0) throw new CarillonError('RESOURCE_IN_USE', 'there are workspaces below it');
      const row = await versioned(expectedVersion, {
        write: async () => prisma.workspace.delete({ where: { id, ...atVersion(expectedVersion) } }),
        exists: async () => prisma.workspace.findUnique({ where: { id }, select: { id: true } }),
      });
      return item(row);
    });
  }

  async #renamed({ prisma, sql }: Connection, id: string, name: string): Promise<{ readonly from: string; readonly to: string } | undefined> {
    await lockFor('workspace-paths', sql);
    const row = await prisma.workspace.findUnique({ where: { id }, select: { path: true } });
    return row === null ? undefined : { from: row.path, to: [...row.path.split('/').slice(0, -1), name].join('/') };
  }

  async #checkAnonymousKey({ prisma }: Connection, id: string, keyId: string | null | undefined): Promise<void> {
    if (keyId === undefined || keyId === null) return;
    if ((await prisma.accessKey.count({ where: { id: keyId, workspaceId: id } })) === 0) throw new CarillonError('RESOURCE_NOT_FOUND', 'the workspace has no such key');
  }

  async #atOrBelow(ids: readonly string[]): Promise<Prisma.WorkspaceWhereInput> {
    const rows = await this.#db.prisma.workspace.findMany({ where: { id: { in: [...ids] } }, select: { path: true }, orderBy: { path: 'asc' } });
    // One that lies below another of them adds nothing.
    const tops = new Set<string>();
    for (const { path } of rows) if (!prefixes(path).some((prefix) => tops.has(prefix))) tops.add(path);
    // Within AND, Prisma takes an empty OR for no condition at all.
    if (tops.size === 0) return { id: { in: [] } };
    return { OR: [...tops].flatMap((path) => [{ path }, { path: { gt: `${path}/`, lt: `${path}${AFTER_SLASH}` } }]) };
  }
}

/** In one statement, for all below. */
async function movePaths({ sql }: Connection, { from, to }: { readonly from: string; readonly to: string }): Promise<void> {
  const text = `UPDATE workspaces SET path = $1::text || substr(path, length($2::text) + 1), version = version + 1, updated_at = $3::timestamptz
    WHERE path > $2::text || '/' AND path < $2::text || '${AFTER_SLASH}'`;
  await sql.query('workspace_move', text, [to, from, new Date()]);
}

function prefixes(path: string): readonly string[] {
  const names = path.split('/');
  return names.map((_, at) => names.slice(0, at).join('/')).slice(1);
}

function item(row: Row): Workspace {
  const { id, parentId, name, path, anonymousKeyId, allowedOrigins } = row;
  return { id, parentId, name, path, validation: row.validation as ValidationMode, anonymousKeyId, allowedOrigins, limits: row.limits as UsageLimits, ...stored(row) };
}

/** A row as PostgreSQL writes it: columns by their own names, times as text. */
function rowOfJson(text: string): Row {
  const row = JSON.parse(text) as Record<string, never>;
  return {
    id: row['id']!, parentId: row['parent_id']!, name: row['name']!, path: row['path']!, validation: row['validation']!, anonymousKeyId: row['anonymous_key_id']!,
    allowedOrigins: row['allowed_origins']!, limits: row['limits']!, version: row['version']!, createdAt: new Date(row['created_at']!), updatedAt: new Date(row['updated_at']!),
  };
}
