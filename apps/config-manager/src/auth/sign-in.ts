import type { SessionCreated, User } from '@carillon/schemas';
import type { Store } from '@carillon/store';

import type { ManagerCounts } from '../counts.ts';
import { Refusal } from '../http/refusal.ts';
import type { Call } from '../http/route.ts';
import type { DenialLog } from './denial-log.ts';
import type { AdmittedAttempt, LoginThrottle } from './login-throttle.ts';
import type { Passwords } from './passwords.ts';
import { createSessionToken, hashToken } from './tokens.ts';

export interface SignInOptions {
  readonly store: Store;
  readonly passwords: Passwords;
  readonly throttle: LoginThrottle;
  readonly denials: DenialLog;
  readonly counts: ManagerCounts;
  readonly sessionTtlMs: number;
  readonly now: () => number;
}

/** Where somebody signs in from. */
export type Origin = Pick<Call<unknown, unknown, unknown>, 'source' | 'isLocal' | 'requestId'>;

/** Opens sessions, for a password or for whoever an identity provider vouches for. */
export class SignIn {
  readonly #options: SignInOptions;

  constructor(options: SignInOptions) {
    this.#options = options;
  }

  /** Throws LOGIN_FAILED, whichever of the two is wrong; LOGIN_THROTTLED; RATE_LIMITED. */
  async withPassword({ username, password }: { readonly username: string; readonly password: string }, origin: Origin): Promise<SessionCreated> {
    const { store, passwords } = this.#options;
    const name = username.toLowerCase();
    const found = await store.users.credentials(name);
    const { isOutdated } = await this.#verify({ name, found, password, origin });
    // #verify does not come back without a user.
    const user = found?.user as User;
    if (isOutdated) await store.users.update(user.id, { passwordHash: await passwords.hash(password) });
    return this.open(user, origin, 'password');
  }

  /** Checks the password of somebody who is signed in; slowed and recorded as a sign-in is. Throws as `withPassword`. */
  async confirmPassword(username: string, password: string, origin: Origin): Promise<void> {
    await this.#verify({ name: username, found: await this.#options.store.users.credentials(username), password, origin });
  }

  /** Opens a session; the only time its token is there to see. */
  async open(user: User, { source, requestId }: Pick<Origin, 'source' | 'requestId'>, by: 'password' | 'oidc'): Promise<SessionCreated> {
    const { store, throttle, counts, sessionTtlMs, now } = this.#options;
    const token = createSessionToken();
    const nowMs = now();
    const expiresAt = new Date(nowMs + sessionTtlMs).toISOString();
    await store.change(async (tx) => {
      const { id } = await tx.sessions.create({ userId: user.id, tokenHash: hashToken(token), source, expiresAt });
      // By the clock that its idleness is measured with, which need not be the database's.
      await tx.sessions.touch(id, new Date(nowMs).toISOString());
      await tx.audit.add({
        workspaceId: null, actor: { kind: 'user', id: user.id, name: user.username }, action: 'session.create', outcome: 'done',
        resource: { kind: 'session', id, name: null }, before: null, after: { by, expiresAt }, source, code: null, requestId,
      });
    });
    await throttle.succeeded(user.id, source);
    counts.signIns += 1;
    return { token, expiresAt, user };
  }

  async #verify({ name, found, password, origin }: { readonly name: string; readonly found: Awaited<ReturnType<Store['users']['credentials']>>; readonly password: string; readonly origin: Origin }): Promise<{ readonly isOutdated: boolean }> {
    const { throttle, passwords } = this.#options;
    const user = found?.user;
    let admitted: AdmittedAttempt;
    try {
      admitted = await throttle.attempt({ username: name, user, source: origin.source, isLocal: origin.isLocal });
    } catch (error) {
      if (error instanceof Refusal) await this.#deny(user, origin, error.code);
      throw error;
    }
    let check: Awaited<ReturnType<Passwords['check']>>;
    try {
      check = await passwords.check(password, found?.passwordHash, { isKnown: admitted.isKnown });
    } catch (error) {
      // Nothing was learnt about the password.
      admitted.succeeded();
      throw error;
    }
    if (!check.matches || user === undefined || user.disabled) {
      await this.#deny(user, origin, 'LOGIN_FAILED');
      throw new Refusal('LOGIN_FAILED');
    }
    admitted.succeeded();
    return { isOutdated: check.isOutdated };
  }

  /** A name that nobody has is not written down: people type passwords there. */
  async #deny(user: User | undefined, { source, requestId }: Origin, code: string): Promise<void> {
    await this.#options.denials.add(
      {
        workspaceId: null, actor: { kind: 'anonymous', id: null, name: 'anonymous' }, action: 'session.create',
        resource: { kind: 'user', id: user?.id ?? null, name: user?.username ?? null }, source, code, requestId,
      },
      user?.id,
    );
  }
}
