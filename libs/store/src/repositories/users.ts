import type { Page, PageQuery, User } from '@carillon/schemas';
import { CarillonError } from '@carillon/wire';

import { readPage } from '../cursor.ts';
import type { Connection } from '../database.ts';
import type { User as Row } from '../generated/client.ts';
import { lockFor } from '../locks.ts';
import { newId } from '../row-id.ts';
import { atVersion, born, changed, given, stored, versioned } from './row.ts';

export interface UserCreateInput {
  readonly username: string;
  readonly name: string;
  readonly administrator: boolean;
  /** Null: signs in elsewhere only. */
  readonly passwordHash: string | null;
}

export interface UserPatch {
  readonly name?: string | undefined;
  readonly administrator?: boolean | undefined;
  readonly disabled?: boolean | undefined;
  readonly passwordHash?: string | undefined;
}

/** People. Names to sign in with are kept and compared in lower case. One administrator who is not disabled stays, once there is one. */
export class Users {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  async get(id: string): Promise<User | undefined> {
    const row = await this.#db.prisma.user.findUnique({ where: { id } });
    return row === null ? undefined : userItem(row);
  }

  async byUsername(username: string): Promise<User | undefined> {
    return (await this.credentials(username))?.user;
  }

  /** By username. */
  async list(query: PageQuery): Promise<Page<User>> {
    return readPage(query, {
      name: 'users',
      key: ({ username }) => [username],
      read: async (after, take) => this.#db.prisma.user.findMany({ where: after === undefined ? {} : { username: { gt: after[0] ?? '' } }, orderBy: { username: 'asc' }, take }),
      item: userItem,
    }, 1);
  }

  /** `RESOURCE_EXISTS`: the username. */
  async create({ username, name, administrator, passwordHash }: UserCreateInput): Promise<User> {
    return userItem(await this.#db.prisma.user.create({ data: { id: newId('us'), username: username.toLowerCase(), name, administrator, passwordHash, ...born() } }));
  }

  /** `RESOURCE_IN_USE`: no administrator who is not disabled would be left. */
  async update(id: string, { name, administrator, disabled, passwordHash }: UserPatch, expectedVersion?: number): Promise<User> {
    return this.#db.atomically(async (db) => {
      if (administrator === false || disabled === true) await this.#keepAdministrator(db, id);
      const row = await versioned(expectedVersion, {
        write: async () => db.prisma.user.update({ where: { id, ...atVersion(expectedVersion) }, data: { ...given({ name, administrator, disabled, passwordHash }), ...changed() } }),
        exists: async () => db.prisma.user.findUnique({ where: { id }, select: { id: true } }),
      });
      return userItem(row);
    });
  }

  /** Memberships and sessions go with it. `RESOURCE_IN_USE` as for an update. */
  async delete(id: string, expectedVersion?: number): Promise<User> {
    return this.#db.atomically(async (db) => {
      await this.#keepAdministrator(db, id);
      const row = await versioned(expectedVersion, {
        write: async () => db.prisma.user.delete({ where: { id, ...atVersion(expectedVersion) } }),
        exists: async () => db.prisma.user.findUnique({ where: { id }, select: { id: true } }),
      });
      return userItem(row);
    });
  }

  /** What a password is checked against. */
  async credentials(username: string): Promise<{ readonly user: User; readonly passwordHash: string | null } | undefined> {
    const row = await this.#db.prisma.user.findUnique({ where: { username: username.toLowerCase() } });
    return row === null ? undefined : { user: userItem(row), passwordHash: row.passwordHash };
  }

  async byOidc(issuer: string, subject: string): Promise<User | undefined> {
    const row = await this.#db.prisma.user.findUnique({ where: { oidcIssuer_oidcSubject: { oidcIssuer: issuer, oidcSubject: subject } } });
    return row === null ? undefined : userItem(row);
  }

  /** In place of an earlier link. `RESOURCE_EXISTS`: another person has this one. */
  async linkOidc(userId: string, issuer: string, subject: string): Promise<void> {
    await this.#db.prisma.user.update({ where: { id: userId }, data: { oidcIssuer: issuer, oidcSubject: subject, ...changed() } });
  }

  async count(): Promise<number> {
    return this.#db.prisma.user.count();
  }

  async #keepAdministrator({ prisma, sql }: Connection, id: string): Promise<void> {
    await lockFor('administrators', sql);
    const active = { administrator: true, disabled: false };
    const [isOne, others] = [await prisma.user.count({ where: { id, ...active } }), await prisma.user.count({ where: { id: { not: id }, ...active } })];
    if (isOne > 0 && others === 0) throw new CarillonError('RESOURCE_IN_USE', 'it is the last administrator');
  }
}

export function userItem(row: Row): User {
  const { id, username, name, administrator, disabled } = row;
  return { id, username, name, administrator, disabled, hasPassword: row.passwordHash !== null, oidcLinked: row.oidcSubject !== null, ...stored(row) };
}

/** A row as PostgreSQL writes it: columns by their own names, times as text. */
export function userOfJson(row: Readonly<Record<string, never>>): User {
  return {
    id: row['id']!, username: row['username']!, name: row['name']!, administrator: row['administrator']!, disabled: row['disabled']!, hasPassword: row['password_hash'] !== null,
    oidcLinked: row['oidc_subject'] !== null, version: row['version']!, createdAt: new Date(row['created_at']!).toISOString(), updatedAt: new Date(row['updated_at']!).toISOString(),
  };
}
