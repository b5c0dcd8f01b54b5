import type { AuditQuery, AuditRecord, Page } from '@carillon/schemas';

import { cursorTime, readPage } from '../cursor.ts';
import type { Connection } from '../database.ts';
import type { Prisma, AuditRecord as Row } from '../generated/client.ts';
import { newId } from '../row-id.ts';
import { storable } from '../storable.ts';

/** Every change adds one: by a statement of our own, at a third of what it costs through Prisma. */
const ADD = `INSERT INTO audit_records (id, at, workspace_id, actor_kind, actor_id, actor_name, action, outcome, resource_kind, resource_id, resource_name, before, after, source, code, request_id)
  VALUES ($1, $2::timestamptz, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::json, $13::json, $14, $15, $16)`;

/** Who did what. Records are added and, when they are old, taken away; never changed. */
export class AuditLog {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  /** Text that the database cannot hold is mended, not refused: whoever sends it does not escape the record. */
  async add(record: Omit<AuditRecord, 'id' | 'at'>): Promise<void> {
    const { workspaceId, actor, action, outcome, resource, before, after, source, code, requestId } = storable(record);
    const values = [
      newId('au'), new Date(), workspaceId, actor.kind, actor.id, actor.name, action, outcome, resource.kind, resource.id, resource.name, text(before), text(after), source, code, requestId,
    ];
    await this.#db.sql.query('audit_add', ADD, values);
  }

  /** Newest first; `from` is the first moment that counts, `to` the first that does not. */
  async list(query: AuditQuery & { readonly workspaceIds?: readonly string[] | undefined }): Promise<Page<AuditRecord>> {
    return readPage(query, {
      name: 'audit',
      key: ({ at, id }) => [at.toISOString(), id],
      read: async (after, take) => this.#db.prisma.auditRecord.findMany({ where: { AND: after === undefined ? filters(query) : [...filters(query), earlier(after)] }, orderBy: [{ at: 'desc' }, { id: 'desc' }], take }),
      item,
    }, 2);
  }

  async deleteBefore(iso: string): Promise<number> {
    return (await this.#db.prisma.auditRecord.deleteMany({ where: { at: { lt: new Date(iso) } } })).count;
  }
}

function filters({ workspaceIds, action, actor, resource, outcome, from, to }: AuditQuery & { readonly workspaceIds?: readonly string[] | undefined }): Prisma.AuditRecordWhereInput[] {
  const all: (Prisma.AuditRecordWhereInput | undefined)[] = [
    workspaceIds && { workspaceId: { in: [...workspaceIds] } },
    action === undefined ? undefined : { action },
    actor === undefined ? undefined : { OR: [{ actorId: actor }, { actorName: actor }] },
    resource === undefined ? undefined : { OR: [{ resourceKind: resource }, { resourceId: resource }] },
    outcome && { outcome },
    from === undefined ? undefined : { at: { gte: new Date(from) } },
    to === undefined ? undefined : { at: { lt: new Date(to) } },
  ];
  return all.filter((filter) => filter !== undefined);
}

function earlier([at, id = '']: readonly string[]): Prisma.AuditRecordWhereInput {
  const time = cursorTime(at);
  return { OR: [{ at: { lt: time } }, { at: time, id: { lt: id } }] };
}

function text(content: unknown): string | null {
  return content === null || content === undefined ? null : JSON.stringify(content);
}

function item(row: Row): AuditRecord {
  return {
    id: row.id, at: row.at.toISOString(), workspaceId: row.workspaceId, action: row.action, outcome: row.outcome as AuditRecord['outcome'],
    actor: { kind: row.actorKind as AuditRecord['actor']['kind'], id: row.actorId, name: row.actorName },
    resource: { kind: row.resourceKind, id: row.resourceId, name: row.resourceName },
    before: row.before, after: row.after, source: row.source, code: row.code, requestId: row.requestId,
  };
}
