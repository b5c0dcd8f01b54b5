import type { Page, PageQuery, RoomPolicy, RoomPolicyCreate, RoomPolicyUpdate } from '@carillon/schemas';

import { readPage } from '../cursor.ts';
import type { Connection } from '../database.ts';
import type { RoomPolicy as Row } from '../generated/client.ts';
import { newId } from '../row-id.ts';
import { atVersion, born, changed, given, json, stored, versioned } from './row.ts';

/** How the events of rooms travel and how long they are kept; one a pattern and workspace. */
export class RoomPolicies {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  async get(id: string): Promise<RoomPolicy | undefined> {
    const row = await this.#db.prisma.roomPolicy.findUnique({ where: { id } });
    return row === null ? undefined : item(row);
  }

  /** By pattern. */
  async list(workspaceId: string, query: PageQuery): Promise<Page<RoomPolicy>> {
    return readPage(query, {
      name: 'room-policies',
      key: ({ pattern }) => [pattern],
      read: async (after, take) => this.#db.prisma.roomPolicy.findMany({ where: { workspaceId, ...(after === undefined ? {} : { pattern: { gt: after[0] ?? '' } }) }, orderBy: { pattern: 'asc' }, take }),
      item,
    }, 1);
  }

  /** `RESOURCE_NOT_FOUND`: no such workspace. `RESOURCE_EXISTS`: the pattern. */
  async create({ workspaceId, pattern, lane, retention }: RoomPolicyCreate & { readonly workspaceId: string }): Promise<RoomPolicy> {
    return item(await this.#db.prisma.roomPolicy.create({ data: { id: newId('rp'), workspaceId, pattern, lane, retention: json(retention), ...born() } }));
  }

  async update(id: string, { lane, retention }: RoomPolicyUpdate, expectedVersion?: number): Promise<RoomPolicy> {
    const data = { ...given({ lane }), ...(retention === undefined ? {} : { retention: json(retention) }), ...changed() };
    const row = await versioned(expectedVersion, {
      write: async () => this.#db.prisma.roomPolicy.update({ where: { id, ...atVersion(expectedVersion) }, data }),
      exists: async () => this.get(id),
    });
    return item(row);
  }

  async delete(id: string, expectedVersion?: number): Promise<RoomPolicy> {
    const row = await versioned(expectedVersion, {
      write: async () => this.#db.prisma.roomPolicy.delete({ where: { id, ...atVersion(expectedVersion) } }),
      exists: async () => this.get(id),
    });
    return item(row);
  }
}

function item(row: Row): RoomPolicy {
  const { id, workspaceId, pattern } = row;
  return { id, workspaceId, pattern, lane: row.lane as RoomPolicy['lane'], retention: row.retention as RoomPolicy['retention'], ...stored(row) };
}
