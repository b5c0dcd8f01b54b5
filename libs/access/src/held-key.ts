import { timingSafeEqual } from 'node:crypto';

import type { KeyEntry } from '@carillon/schemas';

import { PermissionSet } from './permission-set.ts';
import { Principal, type PrincipalState } from './principal.ts';
import { UsageCount, UsageMeter } from './usage-meter.ts';

interface Secret {
  readonly hash: string;
  readonly digest: Buffer;
  readonly expiresAtMs: number | null;
}

/** Two while rotating; as many are compared whether they are there or not. */
const SECRETS_MAX = 2;
const NO_DIGEST = Buffer.alloc(32);

/** One access key as a copy holds it, and the principal made of it once somebody has come with it. */
export class HeldKey {
  /** The key of the record that it came with, and its position. */
  readonly feedKey: string;
  seq: number;
  #entry: KeyEntry;
  #secrets: readonly Secret[];
  #made: { readonly principal: Principal; readonly state: PrincipalState; readonly own: UsageCount } | undefined;
  /** Up to when the principal has been told what ended. */
  #toldMs = 0;

  constructor(feedKey: string, seq: number, entry: KeyEntry) {
    this.feedKey = feedKey;
    this.seq = seq;
    this.#entry = entry;
    this.#secrets = secretsOf(entry);
  }

  get entry(): KeyEntry {
    return this.#entry;
  }

  get secrets(): readonly Secret[] {
    return this.#secrets;
  }

  isExpired(nowMs: number): boolean {
    return this.#entry.expiresAtMs !== null && this.#entry.expiresAtMs <= nowMs;
  }

  /** When `expire` has something to say about the principal: the key's end, or that of a secret that was rotated out; undefined when never. */
  get dueMs(): number | undefined {
    if (this.#made?.state.status !== 'valid') return undefined;
    const ends = [this.#entry.expiresAtMs, ...this.#secrets.map(({ expiresAtMs }) => expiresAtMs)].filter((at) => at !== null && at > this.#toldMs) as number[];
    return ends.length === 0 ? undefined : Math.min(...ends);
  }

  principal(shared: UsageCount, nowMs: number): Principal {
    this.#made ??= this.#make(shared, nowMs);
    // The clock was put back: what had ended by the other one has not, and is to be told of again when it does.
    if (nowMs < this.#toldMs) this.#look(this.#made.state, nowMs);
    return this.#made.principal;
  }

  /** Takes a newer entry of the same key. Gives the principal that it changed. */
  change(seq: number, entry: KeyEntry, nowMs: number): Principal | undefined {
    this.seq = seq;
    this.#entry = entry;
    this.#secrets = secretsOf(entry);
    if (this.#made === undefined) return undefined;
    const { principal, state, own } = this.#made;
    state.permissions = new PermissionSet(entry.permissions);
    state.limits = own.limits = entry.limits;
    this.#look(state, nowMs);
    return principal;
  }

  /** Gives the principal if its time, or that of one of its secrets, has come since it was last asked. */
  expire(nowMs: number): Principal | undefined {
    const { dueMs } = this;
    if (this.#made === undefined || dueMs === undefined || dueMs > nowMs) return undefined;
    this.#look(this.#made.state, nowMs);
    return this.#made.principal;
  }

  #look(state: PrincipalState, nowMs: number): void {
    this.#toldMs = nowMs;
    state.status = this.isExpired(nowMs) ? 'expired' : 'valid';
    state.secrets = inForce(this.#secrets, nowMs);
  }

  /** Ends the principal for good and gives it; whoever comes with the key after that is another. */
  revoke(): Principal | undefined {
    const made = this.#made;
    this.#made = undefined;
    if (made !== undefined) made.state.status = 'revoked';
    return made?.principal;
  }

  #make(shared: UsageCount, nowMs: number) {
    const { id, workspaceId, kind, permissions, limits } = this.#entry;
    const own = new UsageCount(limits, shared.now);
    const state: PrincipalState = { permissions: new PermissionSet(permissions), limits, status: 'valid', secrets: undefined };
    this.#look(state, nowMs);
    return { principal: new Principal({ keyId: id, workspaceId, kind, meter: new UsageMeter({ own, shared }), state }), state, own };
  }
}

/** Whether a digest is that of a secret in force. Takes the same time whether there are two, one or none, and whichever it is. */
export function matchesSecret(secrets: readonly Secret[], digest: Buffer, nowMs: number): boolean {
  let found = false;
  for (let slot = 0; slot < SECRETS_MAX; slot += 1) {
    const secret = secrets[slot];
    const isEqual = timingSafeEqual(digest, secret?.digest ?? NO_DIGEST);
    const isInForce = secret !== undefined && (secret.expiresAtMs === null || secret.expiresAtMs > nowMs);
    found = (isEqual && isInForce) || found;
  }
  return found;
}

function inForce(secrets: readonly Secret[], nowMs: number): ReadonlySet<string> {
  return new Set(secrets.filter(({ expiresAtMs }) => expiresAtMs === null || expiresAtMs > nowMs).map(({ hash }) => hash));
}

/** What is no SHA-256 is no secret. */
function secretsOf({ secrets }: KeyEntry): readonly Secret[] {
  return secrets.map(({ hash, expiresAtMs }) => ({ hash, digest: Buffer.from(hash, 'base64url'), expiresAtMs })).filter(({ digest }) => digest.length === NO_DIGEST.length);
}
