import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createAccessKey } from '@carillon/access';
import { createInProcessExchange, type InProcessExchange } from '@carillon/bus';
import { detachedHost, runProcess } from '@carillon/runtime';
import { DEFAULT_WORKSPACE_ID, NO_PERMISSIONS, type AccessKey, type AccessKeyCreate, type Role, type SessionCreated, type User } from '@carillon/schemas';
import { openStore, startEmbeddedPostgres, type EmbeddedPostgres, type Store } from '@carillon/store';
import { eventually } from '@carillon/testing';

import { Passwords, type HashCost } from './auth/passwords.ts';
import { loadConfigManagerConfig } from './config.ts';
import { startConfigManager, type ConfigManager } from './config-manager.ts';
import type { Route } from './http/route.ts';
import { VERSION } from './version.ts';

// A config-manager in this process on a real PostgreSQL, and those who call it. All that run at a time in one test file share
// one server and one database; when the last is stopped the server goes, with everything in it.

export interface Answer<T = unknown> {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The JSON; undefined without a body. */
  readonly body: T;
  /** `code` of a problem. */
  readonly code: string | undefined;
}

export interface CallOptions {
  /** Goes as JSON unless it is text or bytes. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Caller {
  /** Calls a path below /api/v1, or a whole path that begins with `//`, e.g. `//openapi.json`. */
  call<T = Record<string, unknown>>(method: string, path: string, options?: CallOptions): Promise<Answer<T>>;
}

export interface TestPerson extends Caller {
  readonly user: User;
  readonly password: string;
  readonly token: string;
}

export interface TestKey extends Caller {
  readonly key: AccessKey;
  /** ck_<id>_<secret> */
  readonly accessKey: string;
}

export interface TestConfigManager {
  /** http://host:port */
  readonly url: string;
  readonly store: Store;
  /** Where hubs watch: `exchange.connect()` is the bus of one. */
  readonly exchange: InProcessExchange;
  readonly manager: ConfigManager;
  /** Log lines as they were written. */
  readonly logs: readonly string[];
  /** Signed in as the administrator. */
  readonly admin: TestPerson;
  /** Without a credential. */
  readonly anonymous: Caller;
  /** The time by which sessions expire and limits fill: it can be moved, and be stopped so that it goes on only when moved. */
  readonly clock: { advance(ms: number): void; stop(): void; now(): number };
  /** A new person, signed in, with a role in a workspace (`default`) or without any. */
  person(role?: Role, workspaceId?: string): Promise<TestPerson>;
  /** A new key in the database; of kind account and without rights unless told otherwise. */
  key(input?: Partial<AccessKeyCreate>, workspaceId?: string): Promise<TestKey>;
  /** Somebody who presents this. */
  as(headers: Readonly<Record<string, string>>): Caller;
  signIn(username: string, password: string, headers?: Readonly<Record<string, string>>): Promise<Answer<SessionCreated>>;
  /** Sum of a metric's samples, of those with a label value when one is given. */
  metric(name: string, label?: string): Promise<number>;
  readiness(): Promise<{ readonly status: number; readonly text: string }>;
  stop(): Promise<void>;
}

export interface TestConfigManagerOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Besides those it has. */
  readonly routes?: readonly Route[];
  readonly exchange?: InProcessExchange;
  /** Of passwords; cheap unless told otherwise. */
  readonly passwordCost?: HashCost;
}

export const ADMIN_PASSWORD = 'of the tests administrator';
const PERSON_PASSWORD = 'of a person in the tests';
/** A hundredth of what it is in earnest: tests sign in by the hundred. */
const PASSWORD_COST = { logN: 10, r: 8, p: 1 };

/** Rates that no test meets by accident; `env` overrides. */
const ENVIRONMENT = {
  CARILLON_CONFIG_MANAGER_LISTEN: '127.0.0.1:0',
  CARILLON_CONFIG_MANAGER_ADMIN_LISTEN: '127.0.0.1:0',
  CARILLON_LOG_LEVEL: 'debug',
  CARILLON_DRAIN_TIMEOUT_MS: '5000',
  CARILLON_CONFIG_MANAGER_ADMIN_PASSWORD: ADMIN_PASSWORD,
  CARILLON_CONFIG_MANAGER_RATE_PER_SECOND: '10000',
  CARILLON_CONFIG_MANAGER_RATE_BURST: '10000',
  CARILLON_CONFIG_MANAGER_SOURCE_RATE_PER_SECOND: '10000',
  CARILLON_CONFIG_MANAGER_SOURCE_RATE_BURST: '10000',
};

interface Shared {
  readonly postgres: EmbeddedPostgres;
  readonly dir: string;
}

let shared: Promise<Shared> | undefined;
let users = 0;
/** Made once: it costs what passwords cost. */
let personHash: Promise<string> | undefined;

/** PostgreSQL of this test file: what a crash could lose is not worth its time. */
export async function usePostgres(): Promise<{ readonly url: string; readonly postgres: EmbeddedPostgres; release(): Promise<void> }> {
  users += 1;
  shared ??= mkdtemp(join(tmpdir(), 'carillon-config-manager-')).then(async (dir) => ({
    dir, postgres: await startEmbeddedPostgres({ dir, settings: { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' } }),
  }));
  const { postgres, dir } = await shared;
  let released = false;
  const release = async (): Promise<void> => {
    if (released) return;
    released = true;
    users -= 1;
    if (users > 0) return;
    shared = undefined;
    await postgres.stop();
    await rm(dir, { recursive: true, force: true });
  };
  return { url: postgres.url, postgres, release };
}

export async function startTestConfigManager(options: TestConfigManagerOptions = {}): Promise<TestConfigManager> {
  const postgres = await usePostgres();
  try {
    return await startOn(postgres, options);
  } catch (error) {
    await postgres.release();
    throw error;
  }
}

async function startOn({ url: databaseUrl, release }: Awaited<ReturnType<typeof usePostgres>>, { env = {}, routes = [], passwordCost = PASSWORD_COST, exchange = createInProcessExchange() }: TestConfigManagerOptions): Promise<TestConfigManager> {
  const loaded = loadConfigManagerConfig({ ...ENVIRONMENT, CARILLON_DATABASE_URL: databaseUrl, ...env });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const { config } = loaded;
  const logs: string[] = [];
  let offsetMs = 0;
  let stoppedMs: number | undefined;
  const now = (): number => (stoppedMs ?? Date.now()) + offsetMs;
  let started: { readonly manager: ConfigManager; readonly store: Store } | undefined;
  const running = await runProcess({
    name: 'config-manager', version: VERSION, adminListen: config.common.adminListen, logLevel: config.common.logLevel, drainTimeoutMs: config.common.drainTimeoutMs,
    host: detachedHost({ write: (line) => logs.push(line) }),
    start: async (context) => {
      const store = await openStore({ url: config.database.url, dataDir: config.common.dataDir, poolMax: config.database.poolMax, log: ({ level, text, fields }) => context.log[level](fields, text) });
      context.add({ name: 'store', stop: () => store.close() });
      const feedBus = exchange.connect();
      context.add({ name: 'feed bus', stop: () => feedBus.close() });
      started = { store, manager: await startConfigManager({ passwordCost, config, version: VERSION, store, feedBus, routes, now }, context) };
    },
  });
  if (started === undefined) throw new Error('the config-manager did not start');
  const { manager, store } = started;
  const url = `http://127.0.0.1:${manager.address.port}`;
  const adminUrl = `http://127.0.0.1:${running.adminAddress.port}`;
  const as = (headers: Readonly<Record<string, string>>): Caller => ({ call: (method, path, options) => callWith(url, headers, { method, path, ...options }) });
  const anonymous = as({});
  const signIn: TestConfigManager['signIn'] = (username, password, headers = {}) => anonymous.call('POST', '/sessions', { body: { username, password }, headers });
  const enter = async (username: string, password: string): Promise<TestPerson> => {
    const { status, text, body: { token, user } } = await signIn(username, password);
    if (status !== 201) throw new Error(`${username} could not sign in: ${text}`);
    return { user, token, password, ...as({ authorization: `Bearer ${token}` }) };
  };
  const admin = await enter(config.first.username, ADMIN_PASSWORD);
  return {
    url, store, exchange, manager, logs, admin, anonymous, as, signIn,
    clock: { now, advance: (ms) => void (offsetMs += ms), stop: () => void (stoppedMs ??= Date.now()) },
    person: async (role, workspaceId = DEFAULT_WORKSPACE_ID) => {
      const username = `p${randomUUID().slice(0, 8)}`;
      personHash ??= new Passwords(PASSWORD_COST).hash(PERSON_PASSWORD);
      const { id } = await store.users.create({ username, name: 'A person', administrator: false, passwordHash: await personHash });
      if (role !== undefined) await store.members.create({ workspaceId, userId: id, role });
      return enter(username, PERSON_PASSWORD);
    },
    key: async (input = {}, workspaceId = DEFAULT_WORKSPACE_ID) => {
      const { id, key: accessKey, hash } = createAccessKey();
      const key = await store.keys.create({ kind: 'account', name: 'A key', permissions: NO_PERMISSIONS, resources: {}, limits: {}, expiresAt: null, ...input, id, workspaceId, secretHash: hash, publicKey: null });
      return { key, accessKey, ...as({ authorization: `Bearer ${accessKey}` }) };
    },
    metric: async (name, label) => sumOf(await (await fetch(`${adminUrl}/metrics`)).text(), name, label),
    readiness: async () => {
      const response = await fetch(`${adminUrl}/readyz`);
      return { status: response.status, text: await response.text() };
    },
    stop: async () => {
      await running.stop('the test says so');
      await release();
    },
  };
}

async function callWith<T>(url: string, credential: Readonly<Record<string, string>>, { method, path, body, headers = {} }: CallOptions & { readonly method: string; readonly path: string }): Promise<Answer<T>> {
  const payload = body === undefined || typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
  const response = await fetch(`${url}${path.startsWith('//') ? path.slice(1) : `/api/v1${path}`}`, {
    method, redirect: 'manual',
    headers: { ...(payload === undefined ? {} : { 'content-type': 'application/json' }), ...credential, ...headers },
    ...(payload === undefined ? {} : { body: payload as BodyInit }),
  });
  const text = await response.text();
  const isJson = /json/.test(response.headers.get('content-type') ?? '') && text !== '';
  const parsed = (isJson ? JSON.parse(text) : undefined) as T;
  return { status: response.status, headers: response.headers, text, body: parsed, code: isJson ? (parsed as { readonly code?: string }).code : undefined };
}

function sumOf(metrics: string, name: string, label: string | undefined): number {
  return metrics
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => label === undefined || line.includes(`="${label}"`))
    .reduce((sum, line) => sum + Number(line.slice(line.includes('}') ? line.lastIndexOf('}') + 1 : name.length).trim().split(' ')[0]), 0);
}

/** Records of the audit log that have an action, newest first, once there are that many. */
export async function auditOf(manager: TestConfigManager, action: string, count = 1) {
  return eventually(async () => {
    const { items } = await manager.store.audit.list({ limit: 200, action });
    return items.length >= count && items;
  }, { what: `${count} audit records of ${action}` });
}
