import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { exportJWK, generateKeyPair, SignJWT, type JWTPayload } from 'jose';

// An identity provider for tests: discovery, an authorization endpoint that agrees to everything, tokens, keys. It checks
// what a real one checks (client, redirect, PKCE, a code is good once), so that a client that leaves something out fails.

export const TEST_CLIENT = { id: 'carillon-tests', secret: 'a secret of the tests' } as const;

export interface TestIssuer {
  readonly url: string;
  /** Who signs in next, and what is said of them. */
  claims: JWTPayload;
  /** Changes what is signed, or by whom. */
  twist: { readonly claims?: JWTPayload; readonly foreignKey?: boolean; readonly tokenStatus?: number };
  /** Whether it drops every connection. */
  isDown: boolean;
  stop(): Promise<void>;
}

interface Grant {
  readonly nonce: string | null;
  readonly challenge: string | null;
  readonly redirectUri: string | null;
  readonly claims: JWTPayload;
}

export async function startTestIssuer(): Promise<TestIssuer> {
  const [own, foreign] = await Promise.all([generateKeyPair('RS256'), generateKeyPair('RS256')]);
  const jwk = { ...(await exportJWK(own.publicKey)), kid: 'tests', alg: 'RS256', use: 'sig' };
  const grants = new Map<string, Grant>();
  const server = createServer((req, res) => {
    if (issuer.isDown) req.socket.destroy();
    else void answer(req, res);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const issuer: TestIssuer = {
    url, claims: {}, twist: {}, isDown: false,
    stop: () => new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    }),
  };

  const answer = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const { pathname, searchParams } = new URL(req.url ?? '/', url);
    switch (pathname) {
      case '/.well-known/openid-configuration':
        sendJson(res, 200, {
          issuer: url, authorization_endpoint: `${url}/authorize`, token_endpoint: `${url}/token`, jwks_uri: `${url}/jwks`, response_types_supported: ['code'], subject_types_supported: ['public'],
          id_token_signing_alg_values_supported: ['RS256'], code_challenge_methods_supported: ['S256'], token_endpoint_auth_methods_supported: ['client_secret_post'],
        });
        return;
      case '/authorize': {
        const code = randomUUID();
        grants.set(code, { nonce: searchParams.get('nonce'), challenge: searchParams.get('code_challenge'), redirectUri: searchParams.get('redirect_uri'), claims: issuer.claims });
        const back = new URL(searchParams.get('redirect_uri') ?? '');
        back.search = new URLSearchParams({ code, state: searchParams.get('state') ?? '' }).toString();
        res.writeHead(302, { location: back.href }).end();
        return;
      }
      case '/token':
        await token(req, res);
        return;
      case '/jwks':
        sendJson(res, 200, { keys: [jwk] });
        return;
      default:
        sendJson(res, 404, {});
    }
  };

  const token = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const form = new URLSearchParams(await textOf(req));
    const grant = grants.get(form.get('code') ?? '');
    grants.delete(form.get('code') ?? '');
    const { claims: twisted, foreignKey = false, tokenStatus } = issuer.twist;
    if (tokenStatus !== undefined) return sendJson(res, tokenStatus, { error: 'server_error' });
    const isClient = form.get('client_id') === TEST_CLIENT.id && form.get('client_secret') === TEST_CLIENT.secret;
    const isProven = grant?.challenge === createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url');
    if (!isClient || grant === undefined || !isProven || grant.redirectUri !== form.get('redirect_uri')) return sendJson(res, 400, { error: 'invalid_grant' });
    const nowS = Math.floor(Date.now() / 1_000);
    const claims = { iss: url, aud: TEST_CLIENT.id, iat: nowS, exp: nowS + 300, ...(grant.nonce === null ? {} : { nonce: grant.nonce }), ...grant.claims, ...twisted };
    const idToken = await new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: 'tests' }).sign(foreignKey ? foreign.privateKey : own.privateKey);
    sendJson(res, 200, { access_token: randomUUID(), token_type: 'Bearer', expires_in: 300, id_token: idToken });
  };
  return issuer;
}

function sendJson(res: ServerResponse, status: number, value: unknown): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

async function textOf(req: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of req) text += (piece as Buffer).toString('utf8');
  return text;
}
