import { isDeepStrictEqual } from 'node:util';

import type { EventDefinition, EventDefinitionCreate, EventDefinitionUpdate, Page, PageQuery } from '@carillon/schemas';

import { readPage } from '../cursor.ts';
import type { Connection } from '../database.ts';
import type { EventDefinition as Row } from '../generated/client.ts';
import { newId } from '../row-id.ts';
import { atVersion, born, changed, given, json, stored, versioned } from './row.ts';

/** What events of a name look like; one a name and workspace. */
export class Definitions {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  async get(id: string): Promise<EventDefinition | undefined> {
    const row = await this.#db.prisma.eventDefinition.findUnique({ where: { id } });
    return row === null ? undefined : item(row);
  }

  async byName(workspaceId: string, name: string): Promise<EventDefinition | undefined> {
    const row = await this.#db.prisma.eventDefinition.findUnique({ where: { workspaceId_name: { workspaceId, name } } });
    return row === null ? undefined : item(row);
  }

  /** By name. */
  async list(workspaceId: string, query: PageQuery & { readonly name?: string | undefined }): Promise<Page<EventDefinition>> {
    const where = { workspaceId, ...(query.name === undefined ? {} : { name: query.name }) };
    return readPage(query, {
      name: 'definitions',
      key: ({ name }) => [name],
      read: async (after, take) => this.#db.prisma.eventDefinition.findMany({ where: { AND: [where, after === undefined ? {} : { name: { gt: after[0] ?? '' } }] }, orderBy: { name: 'asc' }, take }),
      item,
    }, 1);
  }

  /** `RESOURCE_NOT_FOUND`: no such workspace. `RESOURCE_EXISTS`: the name. */
  async create({ workspaceId, name, description, schema }: EventDefinitionCreate & { readonly workspaceId: string }): Promise<EventDefinition> {
    return item(await this.#db.prisma.eventDefinition.create({ data: { id: newId('kd'), workspaceId, name, description, schema: json(schema), ...born() } }));
  }

  /** The revision counts up when the schema is another than before; the order of its keys does not count. */
  async update(id: string, { description, schema }: EventDefinitionUpdate, expectedVersion?: number): Promise<EventDefinition> {
    return this.#db.atomically(async ({ prisma, sql }) => {
      await sql.query('definition_lock', 'SELECT id FROM event_definitions WHERE id = $1 FOR UPDATE', [id]);
      const before = schema === undefined ? null : await prisma.eventDefinition.findUnique({ where: { id }, select: { schema: true } });
      const revised = before !== null && !isDeepStrictEqual(before.schema, JSON.parse(JSON.stringify(schema)));
      const data = { ...given({ description }), ...(schema === undefined ? {} : { schema: json(schema) }), ...(revised ? { revision: { increment: 1 } } : {}), ...changed() };
      const row = await versioned(expectedVersion, {
        write: async () => prisma.eventDefinition.update({ where: { id, ...atVersion(expectedVersion) }, data }),
        exists: async () => prisma.eventDefinition.findUnique({ where: { id }, select: { id: true } }),
      });
      return item(row);
    });
  }

  async delete(id: string, expectedVersion?: number): Promise<EventDefinition> {
    const row = await versioned(expectedVersion, {
      write: async () => this.#db.prisma.eventDefinition.delete({ where: { id, ...atVersion(expectedVersion) } }),
      exists: async () => this.get(id),
    });
    return item(row);
  }
}

function item(row: Row): EventDefinition {
  const { id, workspaceId, name, description, revision } = row;
  return { id, workspaceId, name, description, schema: row.schema as Record<string, unknown>, revision, ...stored(row) };
}
