import { sessionCreated } from '@carillon/schemas';
import { z } from 'zod';

import { Refusal } from '../http/refusal.ts';
import { route, type Route } from '../http/route.ts';
import type { Oidc } from './oidc.ts';

/** Providers add parameters of their own. */
const callbackQuery = z.object({ code: z.string().optional(), state: z.string().optional(), error: z.string().optional() }).catchall(z.string());

/** Signing in with an identity provider; OIDC_UNAVAILABLE when there is none. */
export function oidcRoutes(oidc: Oidc | undefined): readonly Route[] {
  const configured = (): Oidc => {
    if (oidc === undefined) throw new Refusal('OIDC_UNAVAILABLE');
    return oidc;
  };
  return [
    route({
      method: 'GET', path: '/oidc/sign-in', name: 'beginOidcSignIn', summary: 'Go to the identity provider to sign in', tag: 'Sessions', access: 'public',
      answer: { status: 302, description: 'The provider, and a cookie for the way back' },
      handle: async () => {
        const { location, cookie } = await configured().begin();
        return { location, headers: { 'set-cookie': cookie } };
      },
    }),
    route({
      method: 'GET', path: '/oidc/callback', name: 'finishOidcSignIn', summary: 'Come back from the identity provider', tag: 'Sessions', access: 'public',
      query: callbackQuery,
      answer: { status: 200, schema: sessionCreated, description: 'The token goes into Authorization: Bearer' },
      handle: async (call) => {
        const session = await configured().finish({ search: `?${new URLSearchParams(Object.entries(call.query).map(([name, value]) => [name, value ?? ''])).toString()}`, cookies: call.headers.cookie }, call);
        return { body: session, headers: { 'set-cookie': configured().clearing } };
      },
    }),
  ];
}
