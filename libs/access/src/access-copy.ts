import type { DeviceEntry, FeedEntry, FeedRecord, KeyEntry, RoomEntry, WorkspaceEntry } from '@carillon/schemas';

import { digestAccessKey, parseAccessKey } from './access-key.ts';
import type { AccessLog } from './access-log.ts';
import type { EventDefinitionCheck } from './event-definition-check.ts';
import { HeldKey, matchesSecret } from './held-key.ts';
import type { Principal } from './principal.ts';
import type { UsageCount } from './usage-meter.ts';
import { WorkspaceRecords } from './workspace-records.ts';

/*
 * What holds, whatever order records come in and however often:
 *   1. Of each thing the record with the highest seq counts. What is gone leaves a tombstone, so that an older record that
 *      comes late does not bring it back.
 *   2. A key opens nothing before its workspace is known, nor after the workspace's end.
 *   3. A principal that was revoked stays so; a key that comes back is another principal.
 *   4. Listeners hear of a change after all of it is in place.
 */

export interface AccessCopyOptions {
  /** Milliseconds since 1970: keys and secrets expire by it. */
  readonly now: () => number;
  /** Milliseconds of a clock that does not go back, for rates; performance.now by default. */
  readonly clock?: () => number;
  /** Hears of listeners that throw, records that contradict their key, and schemas that do not compile. */
  readonly log?: AccessLog;
}

/** What changed: a principal that somebody holds (its permissions, limits, secrets or status), or something else of a workspace. */
export type AccessChange =
  | { readonly type: 'principal'; readonly principal: Principal }
  | { readonly type: 'workspace' | 'event-definition' | 'room' | 'device'; readonly workspaceId: string };

/** A principal, or why there is none. ACCESS_KEY_EXPIRED is said only to whoever has the secret. */
export type Authentication =
  | {
      readonly ok: true;
      readonly principal: Principal;
      /** The hash of the secret that was presented, for `Principal.accepts` later. */
      readonly secret: string;
    }
  | { readonly ok: false; readonly code: 'ACCESS_KEY_INVALID' | 'ACCESS_KEY_EXPIRED' };

type Listener<A extends readonly unknown[]> = (...told: A) => void;
type Place = Pick<FeedEntry, 'type' | 'workspaceId' | 'id'>;

const TYPES: ReadonlySet<string> = new Set<FeedEntry['type']>(['workspace', 'key', 'event-definition', 'room', 'device']);
/** Tombstones that are kept; when a tenth more are there, the oldest go. An older record that comes later than so many others is not to be expected. */
const TOMBSTONES_MAX = 10_000;
const TOMBSTONES_SLACK = 1_000;
const INVALID: Authentication = { ok: false, code: 'ACCESS_KEY_INVALID' };

/** The local copy of the configuration that a hub or repeater decides from. It takes records, from the feed or a file, and answers without waiting. */
export class AccessCopy {
  readonly #now: () => number;
  readonly #clock: () => number;
  readonly #log: AccessLog;
  readonly #workspaces = new Map<string, WorkspaceRecords>();
  readonly #keys = new Map<string, HeldKey>();
  /** Held keys whose principal will expire, and when the first of them does. */
  readonly #expiring = new Set<HeldKey>();
  #dueMs = Infinity;
  readonly #tombstones = new Map<string, number>();
  readonly #changeListeners = new Set<Listener<[AccessChange]>>();
  readonly #recordListeners = new Set<Listener<[string, FeedRecord]>>();
  #seq = 0;

  constructor({ now, clock = () => performance.now(), log = () => undefined }: AccessCopyOptions) {
    this.#now = now;
    this.#clock = clock;
    this.#log = log;
  }

  /** The highest position applied; 0 before the first. */
  get seq(): number {
    return this.#seq;
  }

  /**
   * Takes a record. False, and nothing changes, when it is not newer than what is there or contradicts its key. `anew`: it
   * is a workspace's of an installation that was made after the one this copy is of. Everything else was forgotten, and
   * what the feed had given before this record has to be given again.
   */
  apply(key: string, record: FeedRecord): boolean | 'anew' {
    const place = placeOf(key);
    if (place === undefined || (record.entry !== null && !isAt(record.entry, place))) {
      this.#log({ level: 'warn', text: 'A record of the access feed contradicts its key and was ignored', fields: { key, seq: record.seq } });
      return false;
    }
    const later = this.#isOfAnotherInstallation(record);
    if (later !== undefined) {
      this.#log({ level: 'warn', text: 'The access feed is of another installation than the copy', fields: { key, copySeq: this.#seq, seq: record.seq, later } });
      if (!later) return false;
      this.reset();
      this.apply(key, record);
      return 'anew';
    }
    const before = this.#workspaces.get(place.workspaceId)?.records.get(key);
    if (before !== undefined && before.seq >= record.seq) return false;
    const workspace = this.#workspaceRecords(place.workspaceId);
    this.#seq = Math.max(this.#seq, record.seq);
    this.#store(workspace, key, record);
    const changes = this.#settle(workspace, place, key, record);
    tell(this.#recordListeners, [key, record], this.#log);
    for (const change of changes) tell(this.#changeListeners, [change], this.#log);
    return true;
  }

  /** Whose key this is. Costs about one SHA-256, the same for every text that has the shape of a key. */
  authenticate(key: string): Authentication {
    const parsed = parseAccessKey(key);
    if (parsed === undefined) return INVALID;
    const nowMs = this.#now();
    const held = this.#keys.get(parsed.id);
    const digest = digestAccessKey(parsed.key);
    const matches = matchesSecret(held?.secrets ?? [], digest, nowMs);
    if (!matches || held === undefined) return INVALID;
    const workspace = this.#workspaces.get(held.entry.workspaceId);
    if (workspace?.entry === undefined) return INVALID;
    if (held.isExpired(nowMs)) return { ok: false, code: 'ACCESS_KEY_EXPIRED' };
    return { ok: true, principal: this.#principal(held, workspace, nowMs), secret: digest.toString('base64url') };
  }

  /** Who stands for whoever presents no key: the workspace's anonymous key, if it names one of its own that is neither gone nor expired. */
  anonymous(workspaceId: string): Principal | undefined {
    const workspace = this.#workspaces.get(workspaceId);
    const held = this.#keys.get(workspace?.entry?.anonymousKeyId ?? '');
    const nowMs = this.#now();
    if (workspace === undefined || held === undefined || held.entry.workspaceId !== workspaceId || held.isExpired(nowMs)) return undefined;
    return this.#principal(held, workspace, nowMs);
  }

  workspace(id: string): WorkspaceEntry | undefined {
    return this.#workspaces.get(id)?.entry;
  }

  /** In no particular order; the same array until something of it changes. */
  rooms(workspaceId: string): readonly RoomEntry[] {
    return this.#workspaces.get(workspaceId)?.rooms ?? [];
  }

  /** In no particular order; the same array until something of it changes. */
  devices(workspaceId: string): readonly DeviceEntry[] {
    return this.#workspaces.get(workspaceId)?.devices ?? [];
  }

  /** The definition of an event name; the same object until its revision changes. */
  definition(workspaceId: string, name: string): EventDefinitionCheck | undefined {
    return this.#workspaces.get(workspaceId)?.definition(name);
  }

  /** What all keys of a workspace use together at this process, to be kept by the caller. Of one that is not known there are no limits yet. */
  usage(workspaceId: string): UsageCount {
    const workspace = this.#workspaceRecords(workspaceId);
    workspace.isLent = true;
    return workspace.usage;
  }

  /** Hears of changes until the answer is called. A listener that throws is logged and keeps nobody else from hearing. */
  onChange(listener: Listener<[AccessChange]>): () => void {
    return listen(this.#changeListeners, listener);
  }

  /** Hears of every record that was applied, also of those that change nothing that anybody holds. */
  onRecord(listener: Listener<[key: string, record: FeedRecord]>): () => void {
    return listen(this.#recordListeners, listener);
  }

  /** Call it once a second: principals whose time has come change to expired, and those with a secret that has ended are told. Costs nothing while none is due. */
  expire(): void {
    const nowMs = this.#now();
    if (nowMs < this.#dueMs) return;
    const expired = [...this.#expiring].flatMap((held) => held.expire(nowMs) ?? []);
    this.#dueMs = Infinity;
    for (const held of this.#expiring) this.#watchExpiry(held);
    for (const principal of expired) tell(this.#changeListeners, [{ type: 'principal', principal }], this.#log);
  }

  /**
   * Forgets everything, as if it had never heard of it: the records that come next are those of another life of the
   * configuration, whose positions begin anew. All principals are revoked.
   */
  reset(): void {
    const revoked = [...this.#keys.values()].flatMap((held) => this.#revoke(held));
    for (const [id, workspace] of this.#workspaces) {
      workspace.clear();
      if (workspace.isEmpty) this.#workspaces.delete(id);
    }
    this.#keys.clear();
    this.#tombstones.clear();
    this.#seq = 0;
    for (const principal of revoked) tell(this.#changeListeners, [principalChange(principal)], this.#log);
  }

  /** All records by feed key, tombstones too, of one workspace or of all; read them in one go, what is applied in between may or may not show. */
  *records(workspaceId?: string): Iterable<readonly [string, FeedRecord]> {
    if (workspaceId !== undefined) yield* this.#workspaces.get(workspaceId)?.records ?? [];
    else for (const workspace of this.#workspaces.values()) yield* workspace.records;
  }

  /** Undefined: it is of the same, as far as one can tell; else whether that one was made later. */
  #isOfAnotherInstallation({ entry }: FeedRecord): boolean | undefined {
    if (entry?.type !== 'workspace') return undefined;
    const held = this.#workspaces.get(entry.id)?.entry?.createdAtMs;
    if (held === undefined || entry.createdAtMs === undefined || held === entry.createdAtMs) return undefined;
    return entry.createdAtMs > held;
  }

  #settle(workspace: WorkspaceRecords, { type, workspaceId, id }: Place, key: string, { seq, entry }: FeedRecord): AccessChange[] {
    switch (type) {
      case 'workspace':
        return [{ type, workspaceId }, ...this.#settleWorkspace(workspace, entry?.type === type ? entry : null)];
      case 'key':
        return this.#settleKey(workspace, id, { feedKey: key, seq, entry: entry?.type === type ? entry : null }).map(principalChange);
      case 'event-definition':
        workspace.setDefinition(id, seq, entry?.type === type ? entry : null);
        return [{ type, workspaceId }];
      case 'room':
        workspace.setRoom(id, entry?.type === type ? entry : null);
        return [{ type, workspaceId }];
      case 'device':
        workspace.setDevice(id, entry?.type === type ? entry : null);
        return [{ type, workspaceId }];
      default:
        return type satisfies never;
    }
  }

  #settleWorkspace(workspace: WorkspaceRecords, entry: WorkspaceEntry | null): AccessChange[] {
    workspace.entry = entry ?? undefined;
    if (entry !== null) return [];
    return [...workspace.keyIds].flatMap((id) => this.#revoke(this.#keys.get(id))).map(principalChange);
  }

  /** Gives the principals that it changed. */
  #settleKey(workspace: WorkspaceRecords, id: string, { feedKey, seq, entry }: { readonly feedKey: string; readonly seq: number; readonly entry: KeyEntry | null }): readonly Principal[] {
    const held = this.#keys.get(id);
    if (entry === null) {
      if (held?.feedKey !== feedKey) return [];
      this.#keys.delete(id);
      workspace.keyIds.delete(id);
      return this.#revoke(held);
    }
    if (held === undefined) return this.#hold(workspace, new HeldKey(feedKey, seq, entry));
    if (held.feedKey !== feedKey) return this.#settleMove(workspace, held, new HeldKey(feedKey, seq, entry));
    // A key's kind decides what it opens; who came by the one before has no business with the other.
    if (held.entry.kind !== entry.kind) return [...this.#revoke(held), ...this.#hold(workspace, new HeldKey(feedKey, seq, entry))];
    const changed = held.change(seq, entry, this.#now());
    this.#watchExpiry(held);
    return changed === undefined ? [] : [changed];
  }

  /** A key that two workspaces claim is the later one's; the earlier claim becomes a tombstone. */
  #settleMove(workspace: WorkspaceRecords, held: HeldKey, claim: HeldKey): readonly Principal[] {
    const isLater = claim.seq > held.seq;
    const loser = isLater ? held : claim;
    const loserWorkspace = this.#workspaceRecords(loser.entry.workspaceId);
    this.#store(loserWorkspace, loser.feedKey, { seq: loser.seq, entry: null });
    loserWorkspace.keyIds.delete(loser.entry.id);
    return isLater ? [...this.#revoke(held), ...this.#hold(workspace, claim)] : [];
  }

  #hold(workspace: WorkspaceRecords, held: HeldKey): readonly Principal[] {
    this.#keys.set(held.entry.id, held);
    workspace.keyIds.add(held.entry.id);
    return [];
  }

  #revoke(held: HeldKey | undefined): readonly Principal[] {
    const revoked = held?.revoke();
    if (held !== undefined) this.#expiring.delete(held);
    return revoked === undefined ? [] : [revoked];
  }

  #principal(held: HeldKey, workspace: WorkspaceRecords, nowMs: number): Principal {
    const principal = held.principal(workspace.usage, nowMs);
    this.#watchExpiry(held);
    return principal;
  }

  #watchExpiry(held: HeldKey): void {
    if (held.dueMs === undefined) {
      this.#expiring.delete(held);
    } else {
      this.#expiring.add(held);
      this.#dueMs = Math.min(this.#dueMs, held.dueMs);
    }
  }

  #workspaceRecords(id: string): WorkspaceRecords {
    let workspace = this.#workspaces.get(id);
    if (workspace === undefined) this.#workspaces.set(id, (workspace = new WorkspaceRecords({ clock: this.#clock, log: this.#log })));
    return workspace;
  }

  #store(workspace: WorkspaceRecords, key: string, record: FeedRecord): void {
    workspace.records.set(key, record);
    this.#tombstones.delete(key);
    if (record.entry !== null) return;
    this.#tombstones.set(key, record.seq);
    if (this.#tombstones.size > TOMBSTONES_MAX + TOMBSTONES_SLACK) this.#forgetTombstones();
  }

  #forgetTombstones(): void {
    const bySeq = [...this.#tombstones].sort(([, left], [, right]) => left - right);
    for (const [key] of bySeq.slice(0, -TOMBSTONES_MAX)) {
      this.#tombstones.delete(key);
      const id = placeOf(key)?.workspaceId ?? '';
      const workspace = this.#workspaces.get(id);
      workspace?.records.delete(key);
      if (workspace?.isEmpty === true) this.#workspaces.delete(id);
    }
  }
}

const principalChange = (principal: Principal): AccessChange => ({ type: 'principal', principal });

/** Reads `<workspaceId>.<type>.<id>`. */
function placeOf(key: string): Place | undefined {
  const [workspaceId, type, id, more] = key.split('.');
  if (workspaceId === undefined || type === undefined || id === undefined || more !== undefined || !TYPES.has(type)) return undefined;
  return { workspaceId, type: type as Place['type'], id };
}

function isAt(entry: FeedEntry, { type, workspaceId, id }: Place): boolean {
  return entry.type === type && entry.workspaceId === workspaceId && entry.id === id && (type !== 'workspace' || id === workspaceId);
}

function listen<L>(listeners: Set<L>, listener: L): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

function tell<A extends readonly unknown[]>(listeners: ReadonlySet<Listener<A>>, told: A, log: AccessLog): void {
  for (const listener of [...listeners]) {
    try {
      listener(...told);
    } catch (error) {
      log({ level: 'error', text: 'A listener to access changes threw', fields: { error } });
    }
  }
}
