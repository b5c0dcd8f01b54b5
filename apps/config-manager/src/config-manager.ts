import type { Server, ServerResponse } from 'node:http';

import type { Bus } from '@carillon/bus';
import { BodyReader, formatAddress, isLoopback, listen, type ListenAddress, type ProcessContext } from '@carillon/runtime';
import type { Store } from '@carillon/store';

import { allRoutes } from './all-routes.ts';
import { Credentials } from './auth/credentials.ts';
import { DenialLog } from './auth/denial-log.ts';
import { LoginThrottle } from './auth/login-throttle.ts';
import { Oidc, type OidcSettings } from './auth/oidc.ts';
import { Passwords, type HashCost } from './auth/passwords.ts';
import { SignIn } from './auth/sign-in.ts';
import { bootstrap } from './bootstrap.ts';
import type { ConfigManagerConfig } from './config.ts';
import { ManagerCounts } from './counts.ts';
import { ensyncRouter } from './ensync/ensync-router.ts';
import { startFeed, type Feed } from './feed/feed.ts';
import type { AnswerParts } from './http/answer-route.ts';
import { createApp } from './http/app.ts';
import { documentRoutes } from './http/docs-page.ts';
import { IdempotentAnswers } from './http/idempotency.ts';
import { openApiDocument } from './http/openapi.ts';
import { Pages } from './http/pages.ts';
import { RateLimits } from './http/rate-limit.ts';
import type { Route } from './http/route.ts';
import { createManagerServer } from './http/server.ts';
import { startHousekeeping } from './housekeeping.ts';
import { observeConfigManager } from './metrics.ts';
import { StoreWatch } from './store-watch.ts';

/** Put together: HTTP at one edge, the database behind it, the feed to the hubs at the other edge. */
export interface ConfigManagerOptions {
  readonly config: ConfigManagerConfig;
  readonly version: string;
  /** Opened by the caller, who closes it after this has stopped. */
  readonly store: Store;
  /** Where hubs watch; the caller's to close, too. */
  readonly feedBus: Bus;
  /** Routes besides the own ones. */
  readonly routes?: readonly Route[];
  /** Keeps the administrator's first password, when one had to be made, where its owner finds it. */
  readonly keepPassword?: (password: string) => Promise<void>;
  /** What hashing a password costs; the default of `Passwords`. Tests, which sign in by the hundred, make it cheap. */
  readonly passwordCost?: HashCost;
  /** Milliseconds since the epoch; of everything that expires or is slowed. */
  readonly now?: () => number;
}

export interface ConfigManager {
  readonly address: ListenAddress;
  /** Whether the database was empty, so that the workspace `default` and an administrator were made. */
  readonly created: boolean;
  /** Present when one was made. */
  readonly adminPassword?: string;
  /** Everything that is served. */
  readonly routes: readonly Route[];
}

/** Bodies that are arriving may hold this together; a sender beyond it is asked to come back. */
const BODIES_TOTAL_MAX_BYTES = 67_108_864;

/** Starts the management API, and the feed that tells hubs. */
export async function startConfigManager(options: ConfigManagerOptions, context: ProcessContext): Promise<ConfigManager> {
  const { config, store, feedBus } = options;
  const { log, health, metrics } = context;
  const now = options.now ?? Date.now;
  const passwords = new Passwords(options.passwordCost);
  const { username, password } = config.first;
  const first = await bootstrap(store, { passwords, username, password, ...(options.keepPassword === undefined ? {} : { keep: options.keepPassword }) });
  if (first.created) log.info({ username }, 'the database was empty: made the workspace default and an administrator');

  const watch = new StoreWatch(store, log);
  const feed = startFeed({ store, bus: feedBus, replicas: config.bus.feedReplicas, takeOver: config.bus.feedTakeOver, log: ({ level, text, fields }) => log[level](fields, text) });
  const housekeeping = startHousekeeping({ store, now, log });
  const parts = assemble(options, { passwords, feed, context, now });
  context.add({ name: 'config-manager', drain: () => drain(parts), stop: () => stop(parts, [watch, housekeeping, feed]) });
  health.addCheck('store', () => (watch.isUp ? { ok: true } : { ok: false, reason: 'the database does not answer' }));
  health.addCheck('feed', () => (feed.counts.foreign === 0 ? { ok: true } : { ok: false, reason: 'the feed on NATS belongs to another installation' }));
  observeConfigManager(metrics, { counts: parts.counts, store, isStoreUp: () => watch.isUp, feed: feed.counts, hubs: feed.hubs });
  await watch.start();

  const address = await listen(parts.server, config.listen);
  log.info({ address: formatAddress(address), store: store.kind }, 'config-manager listens');
  if (!isLoopback(address.host)) log.warn({ address: formatAddress(address) }, 'passwords and keys pass here in the clear unless there is TLS in front');
  return { address, created: first.created, routes: parts.routes, ...(first.adminPassword === undefined ? {} : { adminPassword: first.adminPassword }) };
}

interface Started {
  readonly passwords: Passwords;
  readonly feed: Feed;
  readonly context: ProcessContext;
  readonly now: () => number;
}

interface Parts {
  readonly counts: ManagerCounts;
  readonly routes: readonly Route[];
  readonly server: Server;
  readonly requests: ReadonlySet<ServerResponse>;
}

function assemble({ config, version, store, routes: more = [] }: ConfigManagerOptions, { passwords, feed, context: { log }, now }: Started): Parts {
  const { http, rates, sessions } = config;
  const counts = new ManagerCounts();
  const denials = new DenialLog({ store, counts, now });
  const signIn = new SignIn({ store, passwords, denials, counts, now, throttle: new LoginThrottle({ store, now }), sessionTtlMs: sessions.ttlMs });
  const settings = oidcSettings(config);
  const oidc = settings === undefined ? undefined : new Oidc({ settings, store, signIn, denials, log, now });
  const routes = [...allRoutes({ signIn, passwords, oidc, hubs: feed.hubs }), ...more];
  const limits = new RateLimits({
    perCredential: { perSecond: rates.credentialPerSecond, burst: rates.credentialBurst },
    perSource: { perSecond: rates.sourcePerSecond, burst: rates.sourceBurst }, now,
  });
  const answering: AnswerParts = {
    store, limits, denials, log,
    credentials: new Credentials({ store, sessionIdleMs: sessions.idleMs, now }),
    idempotent: new IdempotentAnswers({ store, now }),
    bodies: new BodyReader({ maxBytes: http.bodyMaxBytes, totalMaxBytes: BODIES_TOTAL_MAX_BYTES }),
  };
  const answer = createApp({
    ...answering, routes, counts,
    pages: new Pages({ allowedOrigins: http.allowedOrigins, onLoopback: isLoopback(config.listen.host) }),
    trustedHops: http.trustProxyHops,
    documents: documentRoutes(() => openApiDocument(routes, { version })),
    routers: [ensyncRouter({ ...answering, counts, now })],
  });
  const { server, requests } = createManagerServer({ connectionsMax: http.connectionsMax, headTimeoutMs: http.headTimeoutMs, counts, answer });
  return { counts, routes, server, requests };
}

function oidcSettings({ oidc: { issuer, clientId, redirectUrl, ...rest } }: ConfigManagerConfig): OidcSettings | undefined {
  return issuer === undefined || clientId === undefined || redirectUrl === undefined ? undefined : { issuer, clientId, redirectUrl, ...rest };
}

/** Takes no new connection; what is asked on open ones is answered, and each then closes. */
async function drain({ server, requests }: Parts): Promise<void> {
  server.close();
  server.closeIdleConnections();
  for (const response of requests) if (!response.headersSent) response.setHeader('connection', 'close');
  await Promise.all([...requests].map((response) => new Promise((resolve) => response.once('close', resolve))));
}

/** Whoever uses the store stops before the caller closes it. */
async function stop({ server }: Parts, others: readonly { stop(): Promise<void> }[]): Promise<void> {
  server.closeAllConnections();
  server.close();
  await Promise.all(others.map((other) => other.stop()));
}
