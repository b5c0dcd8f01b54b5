import { FEED_BUCKET, type FeedRecord, type Role, type Workspace } from '@carillon/schemas';
import { eventually } from '@carillon/testing';
import { expect } from 'vitest';

import { startTestConfigManager, type Answer as Raw, type Caller as RawCaller } from '../config-manager.fixture.ts';

interface Problem {
  readonly code: string;
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[];
}

export interface Answer<T> extends Raw<T> {
  /** The body, of an answer with this status. */
  done(status: number): T;
  /** The problem, of a refusal with one of these codes. */
  refused(...codes: readonly string[]): Problem;
}

type Headers = Readonly<Record<string, string>>;

export class Caller {
  readonly #caller: RawCaller;
  readonly id: string;
  readonly username: string;

  constructor(caller: RawCaller, { id = '', username = '' } = {}) {
    this.#caller = caller;
    this.id = id;
    this.username = username;
  }

  get<T = Record<string, unknown>>(path: string) {
    return this.#call<T>('GET', path, {});
  }

  post<T = Record<string, unknown>>(path: string, body: unknown, headers: Headers = {}) {
    return this.#call<T>('POST', path, { body, headers });
  }

  patch<T = Record<string, unknown>>(path: string, body: unknown, headers: Headers = {}) {
    return this.#call<T>('PATCH', path, { body, headers });
  }

  delete(path: string, headers: Headers = {}) {
    return this.#call('DELETE', path, { headers });
  }

  /** All items of a listing, page by page. */
  async all<T>(path: string): Promise<readonly T[]> {
    const items: T[] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: { items: T[]; nextCursor: string | null } = (await this.get<{ items: T[]; nextCursor: string | null }>(cursor === '' ? path : `${path}${path.includes('?') ? '&' : '?'}cursor=${encodeURIComponent(cursor)}`)).done(200);
      items.push(...page.items);
      cursor = page.nextCursor;
    }
    return items;
  }

  async #call<T>(method: string, path: string, options: { readonly body?: unknown; readonly headers?: Headers }): Promise<Answer<T>> {
    const answer = await this.#caller.call<T>(method, path, options);
    const what = `${method} ${path}: ${answer.text}`;
    return {
      ...answer,
      done: (status) => {
        expect(answer.status, what).toBe(status);
        return answer.body;
      },
      refused: (...codes) => {
        expect(codes, what).toContain(answer.code);
        expect(answer.status, what).toBeLessThan(500);
        return answer.body as Problem;
      },
    };
  }
}

export interface Api {
  readonly administrator: Caller;
  /** A new person with these roles, by workspace. */
  person(roles: Readonly<Record<string, Role>>): Promise<Caller>;
  /** A new person for each role in a workspace. */
  people<R extends Role>(workspaceId: string, ...roles: readonly R[]): Promise<Readonly<Record<R, Caller>>>;
  /** A new workspace, a root unless told where; gives its id. */
  workspace(name: string, parentId?: string): Promise<string>;
  /** Whoever holds this key; '' holds none. */
  as(accessKey: string): Caller;
  /** What hubs have been told under a key of the feed; null: that it is gone. */
  fed(key: string): Promise<FeedRecord['entry']>;
  /** The audit log, the feed, and everything that was logged, as text. */
  everythingStored(): Promise<string>;
  stop(): Promise<void>;
}

/** A config-manager of its own with a few ways to fill it. */
export async function startApi(): Promise<Api> {
  const manager = await startTestConfigManager();
  const { store, admin } = manager;
  const hub = manager.exchange.connect();
  const bucket = hub.keyValues(FEED_BUCKET);
  const administrator = new Caller(admin, admin.user);
  const person: Api['person'] = async (roles) => {
    const made = await manager.person();
    for (const [workspaceId, role] of Object.entries(roles)) await store.members.create({ workspaceId, userId: made.user.id, role });
    return new Caller(made, made.user);
  };
  return {
    administrator, person,
    people: async <R extends Role>(workspaceId: string, ...roles: readonly R[]) =>
      Object.fromEntries(await Promise.all(roles.map(async (role) => [role, await person({ [workspaceId]: role })] as const))) as Record<R, Caller>,
    workspace: async (name, parentId) => (await administrator.post<Workspace>('/workspaces', { name, parentId: parentId ?? null })).done(201).id,
    as: (accessKey) => new Caller(accessKey === '' ? manager.anonymous : manager.as({ authorization: `Bearer ${accessKey}` })),
    fed: async (key) => {
      await eventually(async () => (await store.feed.pending(1)).length === 0, { what: 'the feed to be published' });
      const entry = await bucket.get(key);
      if (entry === undefined) throw new Error(`hubs were told nothing of ${key}`);
      return (JSON.parse(Buffer.from(entry.value).toString('utf8')) as FeedRecord).entry;
    },
    everythingStored: async () => {
      const texts = [...manager.logs];
      texts.push(JSON.stringify(await administrator.all('/audit?limit=200')));
      for (let after: string | undefined; ; ) {
        const page = await store.feed.all(after, 500);
        if (page.length === 0) break;
        texts.push(JSON.stringify(page));
        after = page.at(-1)?.key;
      }
      return texts.join('\n');
    },
    stop: async () => {
      await hub.close();
      await manager.stop();
    },
  };
}
