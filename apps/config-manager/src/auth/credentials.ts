import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

import { hashAccessKey, parseAccessKey } from '@carillon/access';

import type { Store } from '@carillon/store';

import { Denial, Refusal } from '../http/refusal.ts';
import type { Actor } from '../http/route.ts';
import { hashToken, isSessionToken } from './tokens.ts';

/** Longer ones are no credential of ours; a header may have 16 KiB. */
const CREDENTIAL_MAX_CHARACTERS = 256;
/** The use of a session or key is written down at most this often: one write instead of one a call. */
const TOUCH_EVERY_MS = 10_000;
/** Keys whose last use is remembered, so that it is not written at every call. */
const TOUCHED_MAX = 10_000;

/**
 * What a request presents: `Authorization: Bearer`, `X-Access-Key` or `X-API-Key`; undefined without any.
 * Throws ACCESS_KEY_AMBIGUOUS for two different ones, CREDENTIAL_INVALID for another scheme or nothing after it.
 */
export function presentedCredential(headers: IncomingHttpHeaders): string | undefined {
  const presented = new Set<string>();
  const { authorization } = headers;
  if (authorization !== undefined) {
    const token = /^bearer +(\S+) *$/i.exec(authorization)?.[1];
    if (token === undefined) throw new Refusal('CREDENTIAL_INVALID', 'Authorization takes a Bearer token here');
    presented.add(token);
  }
  for (const name of ['x-access-key', 'x-api-key'] as const) {
    const value = headers[name];
    if (value !== undefined) presented.add(String(value).trim());
  }
  if (presented.size > 1) throw new Refusal('ACCESS_KEY_AMBIGUOUS');
  const [credential] = presented;
  if (credential !== undefined && (credential === '' || credential.length > CREDENTIAL_MAX_CHARACTERS)) throw new Refusal('CREDENTIAL_INVALID');
  return credential;
}

/** Names a credential without giving it away: what buckets are kept under. */
export function credentialDigest(credential: string): string {
  return createHash('sha256').update(credential).digest('base64url');
}

export interface CredentialsOptions {
  readonly store: Store;
  /** A session not used for this long has ended. */
  readonly sessionIdleMs: number;
  readonly now: () => number;
}

/** Finds out who calls. Nothing is cached: calls of this API are rare, and a revoked key or session ends at once. */
export class Credentials {
  readonly #store: Store;
  readonly #idleMs: number;
  readonly #now: () => number;
  readonly #touchedMs = new Map<string, number>();

  constructor({ store, sessionIdleMs, now }: CredentialsOptions) {
    this.#store = store;
    this.#idleMs = sessionIdleMs;
    this.#now = now;
  }

  /** Throws CREDENTIAL_INVALID, or FORBIDDEN for a good key of a kind that does not open this API. */
  async authenticate(credential: string): Promise<Actor> {
    return isSessionToken(credential) ? this.#session(credential) : this.#key(credential);
  }

  async #session(token: string): Promise<Actor> {
    const nowMs = this.#now();
    const nowIso = new Date(nowMs).toISOString();
    const found = await this.#store.sessions.byTokenHash(hashToken(token), nowIso);
    if (found === undefined) throw new Refusal('CREDENTIAL_INVALID');
    const { id, user, lastUsedAt, roles } = found;
    const unusedMs = nowMs - Date.parse(lastUsedAt);
    if (unusedMs > this.#idleMs) {
      await this.#store.sessions.revoke(id, user.id);
      throw new Refusal('CREDENTIAL_INVALID', 'the session was not used for too long');
    }
    if (unusedMs > Math.min(TOUCH_EVERY_MS, this.#idleMs / 10)) await this.#store.sessions.touch(id, nowIso);
    return { kind: 'user', id: user.id, name: user.username, user, roles: new Map(roles.map(({ workspaceId, role }) => [workspaceId, role])), sessionId: id };
  }

  async #key(text: string): Promise<Actor> {
    const parsed = parseAccessKey(text);
    const found = parsed === undefined ? undefined : await this.#store.keys.secrets(parsed.id);
    if (found === undefined) throw new Refusal('CREDENTIAL_INVALID');
    const nowMs = this.#now();
    const { key, secrets } = found;
    const presented = Buffer.from(hashAccessKey(text));
    const inForce = secrets.filter(({ hash, expiresAt }) => (expiresAt === null || Date.parse(expiresAt) > nowMs) && isEqual(presented, Buffer.from(hash)));
    const hasEnded = key.revokedAt !== null || (key.expiresAt !== null && Date.parse(key.expiresAt) <= nowMs);
    if (inForce.length === 0 || hasEnded) throw new Refusal('CREDENTIAL_INVALID');
    if (key.kind !== 'account') throw new Denial('FORBIDDEN', { detail: `a key of kind ${key.kind} does not open this API; one of kind account does`, workspaceId: key.workspaceId });
    await this.#markUsed(key.id, nowMs);
    return { kind: 'key', id: key.id, name: key.name, key };
  }

  async #markUsed(id: string, nowMs: number): Promise<void> {
    if (nowMs - (this.#touchedMs.get(id) ?? 0) < TOUCH_EVERY_MS) return;
    this.#touchedMs.delete(id);
    this.#touchedMs.set(id, nowMs);
    if (this.#touchedMs.size > TOUCHED_MAX) this.#touchedMs.delete(this.#touchedMs.keys().next().value as string);
    await this.#store.keys.markUsed([{ id, atMs: nowMs }]);
  }
}

function isEqual(one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}
