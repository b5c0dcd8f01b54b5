import type { Role, Session, User } from '@carillon/schemas';

import type { Connection } from '../database.ts';
import { newId } from '../row-id.ts';
import { userOfJson } from './users.ts';

/** Asked for with every call of the management API: one statement for who it is and what they are. */
const BY_TOKEN = `SELECT json_build_object('id', s.id, 'expires_at', s.expires_at, 'last_used_at', s.last_used_at, 'person', row_to_json(u),
  'roles', (SELECT coalesce(json_agg(json_build_object('workspaceId', m.workspace_id, 'role', m.role)), '[]') FROM members m WHERE m.user_id = u.id))::text AS found
  FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.token_hash = $1 AND s.revoked_at IS NULL AND s.expires_at > $2::timestamptz AND NOT u.disabled`;

export interface SessionInForce {
  readonly id: string;
  readonly user: User;
  readonly roles: readonly { readonly workspaceId: string; readonly role: Role }[];
  readonly expiresAt: string;
  readonly lastUsedAt: string;
}

interface FoundSession {
  readonly id: string;
  readonly expires_at: string;
  readonly last_used_at: string;
  readonly person: Readonly<Record<string, never>>;
  readonly roles: SessionInForce['roles'];
}

/** Sign-ins that last, known by the SHA-256 of their token. */
export class Sessions {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  /** `RESOURCE_NOT_FOUND`: no such person. */
  async create({ userId, tokenHash, source, expiresAt }: { readonly userId: string; readonly tokenHash: string; readonly source: string; readonly expiresAt: string }): Promise<{
    readonly id: string; readonly createdAt: string; readonly expiresAt: string;
  }> {
    const now = new Date();
    const row = await this.#db.prisma.session.create({ data: { id: newId('ss'), userId, tokenHash, source, createdAt: now, lastUsedAt: now, expiresAt: new Date(expiresAt) } });
    return { id: row.id, createdAt: row.createdAt.toISOString(), expiresAt: row.expiresAt.toISOString() };
  }

  /** Only one that is in force: neither expired nor revoked, of a person who is not disabled. With what that person is where. */
  async byTokenHash(tokenHash: string, nowIso: string): Promise<SessionInForce | undefined> {
    const [found] = await this.#db.sql.query('session_by_token', BY_TOKEN, [tokenHash, new Date(nowIso)]);
    if (found === undefined) return undefined;
    const { id, expires_at: expiresAt, last_used_at: lastUsedAt, person, roles } = JSON.parse(String(found['found'])) as FoundSession;
    return { id, user: userOfJson(person), expiresAt: new Date(expiresAt).toISOString(), lastUsedAt: new Date(lastUsedAt).toISOString(), roles };
  }

  /** Remembers the use; never an earlier one than is known. */
  async touch(id: string, nowIso: string): Promise<void> {
    const lastUsedAt = new Date(nowIso);
    await this.#db.prisma.session.updateMany({ where: { id, lastUsedAt: { lt: lastUsedAt } }, data: { lastUsedAt } });
  }

  /** Those that were not revoked and have not expired by now, newest first. */
  async list(userId: string): Promise<readonly Omit<Session, 'current'>[]> {
    const rows = await this.#db.prisma.session.findMany({ where: { userId, revokedAt: null, expiresAt: { gt: new Date() } }, orderBy: [{ createdAt: 'desc' }, { id: 'desc' }] });
    return rows.map(({ id, source, createdAt, expiresAt, lastUsedAt }) => ({ id, source, createdAt: createdAt.toISOString(), expiresAt: expiresAt.toISOString(), lastUsedAt: lastUsedAt.toISOString() }));
  }

  /** False when the person has no such session, or it was revoked already. */
  async revoke(id: string, userId: string): Promise<boolean> {
    return (await this.#db.prisma.session.updateMany({ where: { id, userId, revokedAt: null }, data: { revokedAt: new Date() } })).count > 0;
  }

  /** How many were revoked. */
  async revokeAll(userId: string, exceptId?: string): Promise<number> {
    return (await this.#db.prisma.session.updateMany({ where: { userId, revokedAt: null, ...(exceptId === undefined ? {} : { id: { not: exceptId } }) }, data: { revokedAt: new Date() } })).count;
  }

  /** Takes away those that are no longer in force. */
  async deleteExpired(nowIso: string): Promise<number> {
    return (await this.#db.prisma.session.deleteMany({ where: { OR: [{ expiresAt: { lte: new Date(nowIso) } }, { revokedAt: { not: null } }] } })).count;
  }
}
