import type { Device, DeviceCreate, DeviceUpdate, Page, PageQuery } from '@carillon/schemas';

import { readPage } from '../cursor.ts';
import type { Connection } from '../database.ts';
import type { Device as Row } from '../generated/client.ts';
import { newId } from '../row-id.ts';
import { atVersion, born, changed, given, stored, versioned } from './row.ts';

/** Targets of repeaters; one a name, room and workspace. */
export class Devices {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  async get(id: string): Promise<Device | undefined> {
    const row = await this.#db.prisma.device.findUnique({ where: { id } });
    return row === null ? undefined : item(row);
  }

  /** By room, then name. */
  async list(workspaceId: string, query: PageQuery & { readonly room?: string | undefined; readonly repeater?: string | undefined }): Promise<Page<Device>> {
    const where = { workspaceId, ...given({ room: query.room, repeater: query.repeater }) };
    const after = ([room = '', name = '']: readonly string[]) => ({ OR: [{ room: { gt: room } }, { room, name: { gt: name } }] });
    return readPage(query, {
      name: 'devices',
      key: ({ room, name }) => [room, name],
      read: async (key, take) => this.#db.prisma.device.findMany({ where: { AND: [where, key === undefined ? {} : after(key)] }, orderBy: [{ room: 'asc' }, { name: 'asc' }], take }),
      item,
    }, 2);
  }

  /** `RESOURCE_NOT_FOUND`: no such workspace. `RESOURCE_EXISTS`: the name in that room. */
  async create({ workspaceId, room, name, repeater, address, enabled }: DeviceCreate & { readonly workspaceId: string }): Promise<Device> {
    return item(await this.#db.prisma.device.create({ data: { id: newId('dv'), workspaceId, room, name, repeater, address, enabled, ...born() } }));
  }

  async update(id: string, { repeater, address, enabled }: DeviceUpdate, expectedVersion?: number): Promise<Device> {
    const row = await versioned(expectedVersion, {
      write: async () => this.#db.prisma.device.update({ where: { id, ...atVersion(expectedVersion) }, data: { ...given({ repeater, address, enabled }), ...changed() } }),
      exists: async () => this.get(id),
    });
    return item(row);
  }

  async delete(id: string, expectedVersion?: number): Promise<Device> {
    const row = await versioned(expectedVersion, {
      write: async () => this.#db.prisma.device.delete({ where: { id, ...atVersion(expectedVersion) } }),
      exists: async () => this.get(id),
    });
    return item(row);
  }
}

function item(row: Row): Device {
  const { id, workspaceId, room, name, repeater, address, enabled } = row;
  return { id, workspaceId, room, name, repeater, address, enabled, ...stored(row) };
}
