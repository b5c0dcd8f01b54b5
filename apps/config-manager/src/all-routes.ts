import { oidcRoutes } from './auth/oidc-routes.ts';
import type { Oidc } from './auth/oidc.ts';
import type { Passwords } from './auth/passwords.ts';
import { sessionRoutes } from './auth/session-routes.ts';
import type { SignIn } from './auth/sign-in.ts';
import { userRoutes } from './auth/user-routes.ts';
import type { Hubs } from './feed/hubs.ts';
import type { Route } from './http/route.ts';
import { feedRoutes, resourceRoutes } from './resources/index-of-routes.ts';

export interface RouteParts {
  readonly signIn: SignIn;
  readonly passwords: Passwords;
  /** undefined: no identity provider is set. */
  readonly oidc: Oidc | undefined;
  readonly hubs: Pick<Hubs, 'list'>;
}

/** Every route of the management API: what is served, documented and walked by tests. */
export function allRoutes({ signIn, passwords, oidc, hubs }: RouteParts): readonly Route[] {
  return [...sessionRoutes({ signIn, passwords }), ...oidcRoutes(oidc), ...userRoutes({ passwords }), ...resourceRoutes, ...feedRoutes({ hubs })];
}
