import { createHash, randomBytes } from 'node:crypto';

import type { Logger } from '@carillon/runtime';
import { username as usernameSchema, type SessionCreated, type User } from '@carillon/schemas';
import type { Store } from '@carillon/store';
import { CarillonError } from '@carillon/wire';
import {
  allowInsecureRequests, authorizationCodeGrant, buildAuthorizationUrl, calculatePKCECodeChallenge, discovery, enableNonRepudiationChecks, None, randomNonce, randomPKCECodeVerifier, randomState,
  type Configuration, type IDToken,
} from 'openid-client';
import { z } from 'zod';

import { Refusal } from '../http/refusal.ts';
import { createSealer, type Sealer } from '../http/sealing.ts';
import type { DenialLog } from './denial-log.ts';
import type { Origin, SignIn } from './sign-in.ts';

/** What the settings say of a provider. */
export interface OidcSettings {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string | undefined;
  readonly redirectUrl: string;
  readonly createUsers: boolean;
}

export interface OidcOptions {
  readonly settings: OidcSettings;
  readonly store: Store;
  readonly signIn: SignIn;
  readonly denials: DenialLog;
  readonly log: Logger;
  readonly now: () => number;
}

/** How long a person may take at the provider. */
const ATTEMPT_MS = 10 * 60_000;
const REQUEST_TIMEOUT_S = 5;
/** States that have come back, so that none does twice; older ones have expired long before this many have. */
const USED_MAX = 10_000;
const COOKIE = 'carillon_oidc';

const attempt = z.object({ state: z.string(), nonce: z.string(), verifier: z.string(), untilMs: z.number() });
type Attempt = z.output<typeof attempt>;

/**
 * Sign-in with an identity provider: OpenID Connect's code flow with PKCE (RFC 7636), state and nonce. What belongs to one
 * attempt waits in a sealed cookie of the person's browser, so that any of several config-managers can take the answer:
 * the seal's key comes from the client secret, which they share.
 */
export class Oidc {
  readonly #options: OidcOptions;
  readonly #sealer: Sealer;
  readonly #used = new Set<string>();
  #provider: Promise<Configuration> | undefined;

  constructor(options: OidcOptions) {
    this.#options = options;
    this.#sealer = createSealer(options.settings.clientSecret ?? randomBytes(32), 'oidc attempt');
  }

  /** Where to send the browser, and the cookie to send it with. Throws OIDC_UNAVAILABLE. */
  async begin(): Promise<{ readonly location: string; readonly cookie: string }> {
    const provider = await this.#discover();
    const begun: Attempt = { state: randomState(), nonce: randomNonce(), verifier: randomPKCECodeVerifier(), untilMs: this.#options.now() + ATTEMPT_MS };
    const location = buildAuthorizationUrl(provider, {
      redirect_uri: this.#options.settings.redirectUrl, scope: 'openid profile email', response_type: 'code', state: begun.state, nonce: begun.nonce,
      code_challenge: await calculatePKCECodeChallenge(begun.verifier), code_challenge_method: 'S256',
    });
    const sealed = Buffer.from(this.#sealer.seal(Buffer.from(JSON.stringify(begun)))).toString('base64url');
    return { location: location.href, cookie: this.#cookie(sealed, ATTEMPT_MS / 1_000) };
  }

  /** Clears the cookie of an attempt that is over. */
  get clearing(): string {
    return this.#cookie('', 0);
  }

  /** Takes what the provider sent the browser back with. Throws OIDC_FAILED or OIDC_UNAVAILABLE. */
  async finish({ search, cookies }: { readonly search: string; readonly cookies: string | undefined }, origin: Origin): Promise<SessionCreated> {
    const { signIn, settings } = this.#options;
    try {
      const claims = await this.#claims(this.#attemptOf(cookies, new URLSearchParams(search).get('state')), new URL(search, settings.redirectUrl));
      const user = await this.#userOf(claims, origin);
      return await signIn.open(user, origin, 'oidc');
    } catch (error) {
      if (error instanceof CarillonError && error.code === 'OIDC_FAILED') await this.#deny(origin);
      throw error;
    }
  }

  #attemptOf(cookies: string | undefined, state: string | null): Attempt {
    const text = cookies?.split(';').map((cookie) => cookie.trim()).find((cookie) => cookie.startsWith(`${COOKIE}=`))?.slice(COOKIE.length + 1);
    const opened = text === undefined ? undefined : this.#sealer.open(Buffer.from(text, 'base64url'));
    if (opened === undefined) throw new Refusal('OIDC_FAILED', 'this browser began no sign-in here, or it was too long ago');
    const begun = attempt.parse(JSON.parse(Buffer.from(opened).toString('utf8')));
    if (begun.untilMs <= this.#options.now()) throw new Refusal('OIDC_FAILED', 'the sign-in took too long');
    if (state !== begun.state) throw new Refusal('OIDC_FAILED', 'the answer is not to the sign-in that this browser began');
    const used = createHash('sha256').update(begun.state).digest('base64url');
    if (this.#used.has(used)) throw new Refusal('OIDC_FAILED', 'the answer was used before');
    this.#used.add(used);
    if (this.#used.size > USED_MAX) this.#used.delete(this.#used.values().next().value as string);
    return begun;
  }

  async #claims({ state, nonce, verifier }: Attempt, answer: URL): Promise<IDToken> {
    const provider = await this.#discover();
    try {
      const tokens = await authorizationCodeGrant(provider, answer, { expectedState: state, expectedNonce: nonce, pkceCodeVerifier: verifier, idTokenExpected: true });
      const claims = tokens.claims();
      if (claims === undefined) throw new Refusal('OIDC_FAILED', 'the provider sent no identity');
      return claims;
    } catch (error) {
      if (error instanceof CarillonError) throw error;
      this.#options.log.warn({ error }, 'the identity provider did not vouch for somebody');
      if (isAway(error)) throw new Refusal('OIDC_UNAVAILABLE', undefined, { cause: error });
      throw new Refusal('OIDC_FAILED', undefined, { cause: error });
    }
  }

  /** Found by issuer and subject; else by e-mail address, which the provider must have verified, as the username. */
  async #userOf(claims: IDToken, { requestId, source }: Origin): Promise<User> {
    const { store, settings } = this.#options;
    const linked = await store.users.byOidc(claims.iss, claims.sub);
    if (linked !== undefined) return required(linked);
    const email = usernameSchema.safeParse(claims['email_verified'] === true ? claims['email'] : undefined);
    if (!email.success) throw new Refusal('OIDC_FAILED', 'the provider knows no verified e-mail address of this person');
    const existing = await store.users.byUsername(email.data);
    // A second person of the same address at the provider is not the first.
    if (existing?.oidcLinked === true || (existing === undefined && !settings.createUsers)) throw new Refusal('OIDC_FAILED', 'there is no user for this person');
    if (existing !== undefined) required(existing);
    const name = typeof claims['name'] === 'string' && claims['name'].trim() !== '' ? claims['name'].replaceAll(/\p{Cc}/gu, ' ').trim().slice(0, 120) : email.data;
    return store.change(async (tx) => {
      const user = existing ?? (await tx.users.create({ username: email.data, name, administrator: false, passwordHash: null }));
      await tx.users.linkOidc(user.id, claims.iss, claims.sub);
      const after = (await tx.users.get(user.id)) ?? user;
      await tx.audit.add({
        workspaceId: null, actor: { kind: 'system', id: null, name: 'oidc' }, action: existing === undefined ? 'user.create' : 'user.link', outcome: 'done',
        resource: { kind: 'user', id: user.id, name: user.username }, before: existing ?? null, after, source, code: null, requestId,
      });
      return after;
    });
  }

  /** Asked once; after a failure again at the next sign-in. */
  async #discover(): Promise<Configuration> {
    const { settings, log } = this.#options;
    const { issuer, clientId, clientSecret } = settings;
    const isInsecure = new URL(issuer).protocol === 'http:';
    // The library takes TLS for enough and checks no signature unless it is told to.
    const execute = [enableNonRepudiationChecks, ...(isInsecure ? [allowInsecureRequests] : [])];
    this.#provider ??= discovery(new URL(issuer), clientId, clientSecret, clientSecret === undefined ? None() : undefined, { timeout: REQUEST_TIMEOUT_S, execute });
    const asked = this.#provider;
    try {
      return await asked;
    } catch (error) {
      if (this.#provider === asked) this.#provider = undefined;
      log.warn({ error, issuer }, 'the identity provider cannot be asked');
      throw new Refusal('OIDC_UNAVAILABLE', undefined, { cause: error });
    }
  }

  /** Lax: the provider's redirect is a navigation from another site, and must bring it. */
  #cookie(value: string, maxAgeS: number): string {
    const { pathname, protocol } = new URL(this.#options.settings.redirectUrl);
    return `${COOKIE}=${value}; Path=${pathname}; Max-Age=${maxAgeS}; HttpOnly; SameSite=Lax${protocol === 'https:' ? '; Secure' : ''}`;
  }

  async #deny({ source, requestId }: Origin): Promise<void> {
    await this.#options.denials.add({
      workspaceId: null, actor: { kind: 'anonymous', id: null, name: 'anonymous' }, action: 'session.create', resource: { kind: 'user', id: null, name: null }, source, code: 'OIDC_FAILED', requestId,
    }, 'oidc');
  }
}

function required(user: User): User {
  if (user.disabled) throw new Refusal('OIDC_FAILED', 'the user is disabled');
  return user;
}

/** No answer, none in time, or one that says the provider itself failed. */
function isAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, status, cause } = error as { readonly code?: unknown; readonly status?: unknown; readonly cause?: unknown };
  const answer = cause instanceof Response ? cause.status : status;
  return (error instanceof TypeError && code === undefined) || code === 'OAUTH_TIMEOUT' || (typeof answer === 'number' && answer >= 500);
}
