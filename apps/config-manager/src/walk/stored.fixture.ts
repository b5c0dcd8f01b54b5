import type { Page } from '@carillon/schemas';
import type { Store } from '@carillon/store';

const LIMIT = 200;

/** Everything that is configured, and every change that was audited, as lines of JSON. When something was last used does not count. */
export async function everythingStored(store: Store): Promise<readonly string[]> {
  const lines: string[] = [];
  const add = (kind: string, things: readonly unknown[]): void => void lines.push(...things.map((thing) => `${kind} ${JSON.stringify(thing, (name, value: unknown) => (name === 'lastUsedAt' ? undefined : value))}`));
  const users = await all((cursor) => store.users.list({ limit: LIMIT, cursor }));
  add('user', await Promise.all(users.map(({ username }) => store.users.credentials(username))));
  add('session', (await Promise.all(users.map(({ id }) => store.sessions.list(id)))).flat());
  const workspaces = await all((cursor) => store.workspaces.list({ limit: LIMIT, cursor }));
  add('workspace', workspaces);
  for (const { id } of workspaces) {
    add('member', await all((cursor) => store.members.list(id, { limit: LIMIT, cursor })));
    const keys = await all((cursor) => store.keys.list(id, { limit: LIMIT, cursor }));
    add('key', await Promise.all(keys.map((key) => store.keys.secrets(key.id))));
    add('definition', await all((cursor) => store.definitions.list(id, { limit: LIMIT, cursor })));
    add('room', await all((cursor) => store.roomPolicies.list(id, { limit: LIMIT, cursor })));
    add('device', await all((cursor) => store.devices.list(id, { limit: LIMIT, cursor })));
  }
  add('audit', await all((cursor) => store.audit.list({ limit: LIMIT, cursor, outcome: 'done' })));
  for (let after: string | undefined; ; ) {
    const page = await store.feed.all(after, LIMIT);
    add('feed', page);
    if (page.length < LIMIT) break;
    after = page.at(-1)?.key;
  }
  add('head', [await store.feed.head()]);
  return lines;
}

/** The whole audit log, as text. */
export async function auditText(store: Store): Promise<string> {
  return JSON.stringify(await all((cursor) => store.audit.list({ limit: LIMIT, cursor })));
}

async function all<T>(read: (cursor: string | undefined) => Promise<Page<T>>): Promise<readonly T[]> {
  const items: T[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await read(cursor);
    items.push(...page.items);
    if (page.nextCursor === null) return items;
    cursor = page.nextCursor;
  }
}
