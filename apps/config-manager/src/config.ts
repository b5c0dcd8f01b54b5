import { bytes, commaList, commonSettings, durationMs, flag, integer, isLoopback, listenAddress, loadConfig, setting, text, urlOf, type Config, type ConfigResult, type Environment } from '@carillon/runtime';
import { username } from '@carillon/schemas';
import { z } from 'zod';

/** Everything a config-manager can be told. The only file of this app that knows environment names. */
export const configManagerSettings = {
  listen: setting({ env: 'CARILLON_CONFIG_MANAGER_LISTEN', schema: listenAddress, default: '127.0.0.1:8080', help: 'Where the management API is served. Passwords and keys pass here: beyond loopback, put TLS in front.' }),
  common: commonSettings('CONFIG_MANAGER', { adminListen: '127.0.0.1:8081' }),
  database: {
    url: setting({ env: 'CARILLON_DATABASE_URL', schema: urlOf(['postgres:', 'postgresql:']).optional(), secret: true, help: 'PostgreSQL, as postgresql://user:password@host/database; unset: one of our own under the data folder.' }),
    poolMax: setting({ env: 'CARILLON_CONFIG_MANAGER_DATABASE_POOL_MAX', schema: integer({ min: 2, max: 1_000 }), default: '10', help: 'Connections to PostgreSQL at a time.' }),
  },
  bus: {
    natsUrl: setting({ env: 'CARILLON_NATS_URL', schema: z.string().optional().transform((list) => (list === undefined || list === '' ? [] : list.split(',').map((url) => url.trim()))).pipe(z.array(urlOf(['nats:', 'tls:']))), secret: true, help: 'NATS servers (comma list) through which hubs hear of the configuration; unset: nobody outside this process does.' }),
    natsCredsFile: setting({ env: 'CARILLON_NATS_CREDS_FILE', schema: text({ max: 1_024 }).optional(), help: 'A NATS .creds file to log in with; a user and password, or a token, may stand in CARILLON_NATS_URL instead.' }),
    feedReplicas: setting({ env: 'CARILLON_CONFIG_MANAGER_FEED_REPLICAS', schema: integer({ min: 1, max: 5 }), default: '1', help: 'Servers of a NATS cluster that each keep the configuration that hubs watch.' }),
    feedTakeOver: setting({ env: 'CARILLON_CONFIG_MANAGER_FEED_TAKE_OVER', schema: flag, default: 'false', help: 'Whether a feed on NATS that another installation (another database) has filled becomes this one\'s. Hubs forget the other\'s keys then.' }),
  },
  http: {
    allowedOrigins: setting({ env: 'CARILLON_CONFIG_MANAGER_ALLOWED_ORIGINS', schema: commaList, default: '', help: 'Origins whose pages may call besides the own, e.g. https://console.example; * lets every page call (none has a credential by itself).' }),
    trustProxyHops: setting({ env: 'CARILLON_CONFIG_MANAGER_TRUST_PROXY_HOPS', schema: integer({ min: 0, max: 16 }), default: '0', help: 'Proxies in front that append to X-Forwarded-For; 0: the header is not believed.' }),
    connectionsMax: setting({ env: 'CARILLON_CONFIG_MANAGER_CONNECTIONS_MAX', schema: integer({ min: 1, max: 100_000 }), default: '1024', help: 'Connections at a time; more are dropped.' }),
    headTimeoutMs: setting({ env: 'CARILLON_CONFIG_MANAGER_HEAD_TIMEOUT_MS', schema: durationMs({ min: 100 }), default: '10000', unit: 'ms', help: 'How long the head of a request may take to arrive; the whole may take three times as long.' }),
    bodyMaxBytes: setting({ env: 'CARILLON_CONFIG_MANAGER_BODY_MAX_BYTES', schema: bytes({ min: 65_536, max: 16_777_216 }), default: '1MiB', unit: 'bytes', help: 'The largest request body.' }),
  },
  rates: {
    credentialPerSecond: setting({ env: 'CARILLON_CONFIG_MANAGER_RATE_PER_SECOND', schema: integer({ min: 1, max: 100_000 }), default: '50', help: 'Requests a second of one session or key …' }),
    credentialBurst: setting({ env: 'CARILLON_CONFIG_MANAGER_RATE_BURST', schema: integer({ min: 1, max: 100_000 }), default: '200', help: '… and how many it may send at once.' }),
    sourcePerSecond: setting({ env: 'CARILLON_CONFIG_MANAGER_SOURCE_RATE_PER_SECOND', schema: integer({ min: 1, max: 100_000 }), default: '20', help: 'Requests a second of one address without a good credential …' }),
    sourceBurst: setting({ env: 'CARILLON_CONFIG_MANAGER_SOURCE_RATE_BURST', schema: integer({ min: 1, max: 100_000 }), default: '100', help: '… and how many it may send at once.' }),
  },
  sessions: {
    ttlMs: setting({ env: 'CARILLON_CONFIG_MANAGER_SESSION_TTL_MS', schema: durationMs({ min: 1_000 }), default: '43200000', unit: 'ms', help: 'How long a session lasts.' }),
    idleMs: setting({ env: 'CARILLON_CONFIG_MANAGER_SESSION_IDLE_MS', schema: durationMs({ min: 1_000 }), default: '3600000', unit: 'ms', help: 'How long a session lasts that is not used.' }),
  },
  oidc: {
    issuer: setting({ env: 'CARILLON_CONFIG_MANAGER_OIDC_ISSUER', schema: urlOf(['https:', 'http:']).optional(), help: 'Identity provider (OpenID Connect) that people may sign in with; unset: passwords only.' }),
    clientId: setting({ env: 'CARILLON_CONFIG_MANAGER_OIDC_CLIENT_ID', schema: text({ max: 256 }).optional(), help: 'What the provider calls this program.' }),
    clientSecret: setting({ env: 'CARILLON_CONFIG_MANAGER_OIDC_CLIENT_SECRET', schema: text({ max: 1_024 }).optional(), secret: true, help: 'What this program proves that with; unset: a public client, which works with one config-manager only.' }),
    redirectUrl: setting({ env: 'CARILLON_CONFIG_MANAGER_OIDC_REDIRECT_URL', schema: urlOf(['https:', 'http:']).optional(), help: 'Where the provider sends people back to: the address of this program as browsers see it, and /api/v1/oidc/callback.' }),
    createUsers: setting({ env: 'CARILLON_CONFIG_MANAGER_OIDC_CREATE_USERS', schema: flag, default: 'false', help: 'Whether whoever the provider vouches for becomes a user, without any role, at the first sign-in.' }),
  },
  first: {
    username: setting({ env: 'CARILLON_CONFIG_MANAGER_ADMIN_USERNAME', schema: text({ max: 254 }).pipe(username), default: 'admin', help: 'Of the administrator that is made when the database has no user.' }),
    password: setting({ env: 'CARILLON_CONFIG_MANAGER_ADMIN_PASSWORD', schema: text({ max: 256 }).optional(), secret: true, help: 'Their first password; unset: one is made and written to admin-password in the data folder. Not looked at once there is a user.' }),
  },
} as const;

export type ConfigManagerConfig = Config<typeof configManagerSettings>;

export function loadConfigManagerConfig(env: Environment): ConfigResult<typeof configManagerSettings> {
  const result = loadConfig(configManagerSettings, env);
  if (!result.ok) return result;
  const problems = configManagerProblems(result.config);
  return problems.length === 0 ? result : { ok: false, problems };
}

/** What single settings cannot say about themselves. */
export function configManagerProblems({ http, oidc, sessions }: ConfigManagerConfig): { readonly env: string; readonly message: string }[] {
  const problems = [];
  if (sessions.idleMs > sessions.ttlMs) problems.push({ env: configManagerSettings.sessions.idleMs.env, message: 'must be at most CARILLON_CONFIG_MANAGER_SESSION_TTL_MS' });
  for (const [at, origin] of http.allowedOrigins.entries()) {
    if (origin !== '*' && !isOrigin(origin)) problems.push({ env: configManagerSettings.http.allowedOrigins.env, message: `is wrong at number ${at + 1}: must be an origin such as https://console.example, or *` });
  }
  if (oidc.issuer !== undefined) {
    if (oidc.clientId === undefined) problems.push({ env: configManagerSettings.oidc.clientId.env, message: 'is needed with CARILLON_CONFIG_MANAGER_OIDC_ISSUER' });
    if (oidc.redirectUrl === undefined) problems.push({ env: configManagerSettings.oidc.redirectUrl.env, message: 'is needed with CARILLON_CONFIG_MANAGER_OIDC_ISSUER' });
    const issuer = new URL(oidc.issuer);
    if (issuer.protocol === 'http:' && !isLoopback(issuer.hostname)) problems.push({ env: configManagerSettings.oidc.issuer.env, message: 'must begin with https://, except on this machine' });
  }
  return problems;
}

function isOrigin(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) && new URL(text).origin === text.replace(/\/$/, '');
}
