import { ALL_PERMISSIONS, feedKey, type DefinitionEntry, type FeedEntry, type FeedRecord, type KeyEntry, type WorkspaceEntry } from '@carillon/schemas';

import { AccessCopy, createAccessKey, type AccessChange, type AccessLog } from './index.ts';

export function workspaceEntry(id: string, more: Partial<WorkspaceEntry> = {}): WorkspaceEntry {
  return { type: 'workspace', id, workspaceId: id, path: id, anonymousKeyId: null, allowedOrigins: [], validation: 'off', limits: {}, ...more };
}

export function keyEntry(made: { readonly id: string; readonly hash: string }, more: Partial<KeyEntry> = {}): KeyEntry {
  const secrets = [{ hash: made.hash, expiresAtMs: null }];
  return { type: 'key', id: made.id, workspaceId: 'w1', kind: 'messenger', permissions: ALL_PERMISSIONS, limits: {}, expiresAtMs: null, secrets, ...more };
}

export function definitionEntry(schema: Record<string, unknown>, more: Partial<DefinitionEntry> = {}): DefinitionEntry {
  return { type: 'event-definition', id: 'd1', workspaceId: 'w1', name: 'power', version: 1, schema, ...more };
}

/** A copy whose time stands still unless told otherwise, with all that it says. */
export class CopyFixture {
  nowMs = 1_000_000;
  readonly changes: AccessChange[] = [];
  readonly lines: Parameters<AccessLog>[0][] = [];
  readonly copy = new AccessCopy({ now: () => this.nowMs, clock: () => this.nowMs, log: (line) => this.lines.push(line) });
  #seq = 0;

  constructor() {
    this.copy.onChange((change) => this.changes.push(change));
  }

  /** Applies an entry at the next position. */
  put(entry: FeedEntry): boolean | 'anew' {
    return this.copy.apply(feedKey(entry), { seq: ++this.#seq, entry });
  }

  remove(entry: Pick<FeedEntry, 'type' | 'workspaceId' | 'id'>): boolean | 'anew' {
    return this.copy.apply(feedKey(entry), { seq: ++this.#seq, entry: null });
  }

  /** A key in a workspace that is known: its text, its entry, and what it authenticates as. */
  key(more: Partial<KeyEntry> = {}) {
    const made = createAccessKey();
    const entry = keyEntry(made, more);
    if (this.copy.workspace(entry.workspaceId) === undefined) this.put(workspaceEntry(entry.workspaceId));
    this.put(entry);
    return { ...made, entry, principal: () => principalOf(this.copy, made.key) };
  }

  /** All records as they stand, for comparisons. */
  records(): readonly (readonly [string, FeedRecord])[] {
    return [...this.copy.records()];
  }
}

/** Who the key is; throws what it is refused for. */
export function principalOf(copy: AccessCopy, key: string) {
  const answer = copy.authenticate(key);
  if (!answer.ok) throw new Error(answer.code);
  return answer.principal;
}
