import { createAccessKey } from '@carillon/access';
import { NO_PERMISSIONS, workspaceCreate, type KeyKind, type ResourcePermissions, type Workspace } from '@carillon/schemas';
import type { Store } from '@carillon/store';

/** All that an ACCOUNT key can be given. */
export const EVERYTHING: ResourcePermissions = {
  'event-definitions': { read: ['*'], create: ['*'], update: ['*'], delete: ['*'] },
  keys: { read: ['*'], create: ['*'], update: ['*'], delete: ['*'] },
  workspaces: { read: ['*'], create: ['*'], update: ['*'], delete: ['*'] },
  audit: { read: ['*'] },
};

/** Every field that an answer may have; a test says which it expects. */
export interface TestBody {
  readonly id: string;
  readonly name: string;
  readonly path: string;
  readonly resultsLength: number;
  readonly results: readonly TestBody[];
  readonly children: readonly TestBody[];
  readonly createdAt: string;
  readonly accessKey: string;
  readonly public_key: string;
  readonly private_key: string;
  readonly service_key_pair: { readonly public_key: string; readonly private_key: string };
  readonly permissions: { readonly send: readonly string[]; readonly receive: readonly string[]; readonly resources: object };
}

export interface TestAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: TestBody;
}

export interface TestCall {
  readonly key?: string;
  readonly body?: unknown;
  /** Instead of a JSON body. */
  readonly raw?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly prefix?: '/api/v1/ensync' | '/v1';
}

/** Calls with `X-ACCESS-KEY`, as EnSync's command line does. `line`: method and path, as in `GET /event`. */
export async function callEnsync(url: string, line: string, { key, body, raw, headers = {}, prefix = '/api/v1/ensync' }: TestCall = {}): Promise<TestAnswer> {
  const [method = '', path = ''] = line.split(' ');
  const content = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  const response = await fetch(`${url}${prefix}${path}`, {
    method, headers: { ...(content === undefined ? {} : { 'content-type': 'application/json' }), ...(key === undefined ? {} : { 'X-ACCESS-KEY': key }), ...headers }, ...(content === undefined ? {} : { body: content }),
  });
  const text = await response.text();
  const isJson = /json/.test(response.headers.get('content-type') ?? '') && text !== '';
  return { status: response.status, headers: response.headers, text, body: (isJson ? JSON.parse(text) : undefined) as TestBody };
}

let made = 0;

/** A workspace of a name of its own; a root, unless it is below another. */
export function makeWorkspace(store: Store, { name, parentId = null }: { readonly name?: string; readonly parentId?: string | null } = {}): Promise<Workspace> {
  made += 1;
  return store.workspaces.create(workspaceCreate.parse({ name: name ?? `w${made}`, parentId }));
}

/** A key in a workspace: its text and id. */
export async function makeKey(store: Store, workspace: Workspace, { kind = 'account', resources = kind === 'account' ? EVERYTHING : {}, expiresAt = null }: { readonly kind?: KeyKind; readonly resources?: ResourcePermissions; readonly expiresAt?: string | null } = {}): Promise<{ readonly id: string; readonly key: string }> {
  const { id, key, hash } = createAccessKey();
  await store.keys.create({ id, workspaceId: workspace.id, kind, name: `key ${id}`, permissions: NO_PERMISSIONS, resources, limits: {}, expiresAt, secretHash: hash, publicKey: null });
  return { id, key };
}
