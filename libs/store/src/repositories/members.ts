import type { Member, Page, PageQuery, Role } from '@carillon/schemas';

import { readPage } from '../cursor.ts';
import type { Connection } from '../database.ts';
import type { Member as Row } from '../generated/client.ts';
import { atVersion, born, changed, stored, versioned } from './row.ts';

type NamedRow = Row & { readonly user: { readonly username: string; readonly name: string } };

const WITH_NAMES = { user: { select: { username: true, name: true } } } as const;

/** Who is what in which workspace. */
export class Members {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  async get(workspaceId: string, userId: string): Promise<Member | undefined> {
    const row = await this.#db.prisma.member.findUnique({ where: { workspaceId_userId: { workspaceId, userId } }, include: WITH_NAMES });
    return row === null ? undefined : item(row);
  }

  /** By username. */
  async list(workspaceId: string, query: PageQuery): Promise<Page<Member>> {
    return readPage(query, {
      name: 'members',
      key: ({ user }) => [user.username],
      read: async (after, take) =>
        this.#db.prisma.member.findMany({ where: { workspaceId, ...(after === undefined ? {} : { user: { username: { gt: after[0] ?? '' } } }) }, include: WITH_NAMES, orderBy: { user: { username: 'asc' } }, take }),
      item,
    }, 1);
  }

  async rolesOf(userId: string): Promise<readonly { readonly workspaceId: string; readonly role: Role }[]> {
    const rows = await this.#db.prisma.member.findMany({ where: { userId }, select: { workspaceId: true, role: true } });
    return rows.map(({ workspaceId, role }) => ({ workspaceId, role: role as Role }));
  }

  /** `RESOURCE_NOT_FOUND`: no such workspace or person. `RESOURCE_EXISTS`: a member already. */
  async create({ workspaceId, userId, role }: { readonly workspaceId: string; readonly userId: string; readonly role: Role }): Promise<Member> {
    return item(await this.#db.prisma.member.create({ data: { workspaceId, userId, role, ...born() }, include: WITH_NAMES }));
  }

  async update(workspaceId: string, userId: string, role: Role, expectedVersion?: number): Promise<Member> {
    const key = { workspaceId_userId: { workspaceId, userId } };
    const row = await versioned(expectedVersion, {
      write: async () => this.#db.prisma.member.update({ where: { ...key, ...atVersion(expectedVersion) }, data: { role, ...changed() }, include: WITH_NAMES }),
      exists: async () => this.get(workspaceId, userId),
    });
    return item(row);
  }

  async delete(workspaceId: string, userId: string, expectedVersion?: number): Promise<Member> {
    const key = { workspaceId_userId: { workspaceId, userId } };
    const row = await versioned(expectedVersion, {
      write: async () => this.#db.prisma.member.delete({ where: { ...key, ...atVersion(expectedVersion) }, include: WITH_NAMES }),
      exists: async () => this.get(workspaceId, userId),
    });
    return item(row);
  }
}

function item(row: NamedRow): Member {
  const { userId, workspaceId, role, user } = row;
  return { userId, workspaceId, username: user.username, name: user.name, role: role as Role, ...stored(row) };
}
