import type { LogEvent } from '@carillon/log';

import { SYSTEM_WORKSPACES } from '../durable/system-log.ts';

/**
 * What the hubs of a cluster tell each other of who is in a workspace's rooms: events of the log, so that all read the same
 * in the same order. Times are of the hub that says it, ms since 1970.
 */
export type PresenceFact =
  /** Said again when others took the hub for dead, and now and then, so that it outlives its own retention. */
  | { readonly type: 'entered'; readonly hub: string; readonly member: string; readonly room: string; readonly name: string; /** Whose name it is: the id of a key, '' where nobody shows one. */ readonly owner: string; readonly data?: string; readonly atMs: number }
  | { readonly type: 'left'; readonly hub: string; readonly member: string; readonly atMs: number }
  /** The hub lives. */
  | { readonly type: 'beat'; readonly hub: string; readonly atMs: number }
  /** Another hub has not heard of this one since its fact with the sequence `seq`, of `atMs`: whoever is there by it has left then. Means nothing if something of it was stored in between. */
  | { readonly type: 'gone'; readonly hub: string; readonly seq: number; readonly atMs: number };

/** How a fact is kept. */
export interface FactEvent {
  readonly workspaceId: string;
  readonly id: string;
  /** None: as long as the log keeps what is the system's. */
  readonly ttlMs?: number;
  readonly nowMs: number;
}

export function factEvent(fact: PresenceFact, { workspaceId, id, ttlMs, nowMs }: FactEvent): LogEvent {
  return {
    workspaceId: SYSTEM_WORKSPACES.presence, room: workspaceId, id, atMs: nowMs, fields: '', body: Buffer.from(JSON.stringify(fact)),
    expiresAtMs: ttlMs === undefined ? undefined : nowMs + ttlMs,
  };
}

type Fields = Readonly<Record<string, unknown>>;

const isText = (value: unknown): value is string => typeof value === 'string';
const isWhole = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** A fact from the body of its event; undefined for what a later hub may say that this one does not know. */
export function readFact(body: Uint8Array): PresenceFact | undefined {
  const fields = parse(body);
  if (fields === undefined) return undefined;
  const { type, hub, member, room, name, owner, data, atMs, seq } = fields;
  if (!isText(hub) || !isWhole(atMs)) return undefined;
  switch (type) {
    case 'entered':
      if (!isText(member) || !isText(room) || !isText(name) || !isText(owner) || !(data === undefined || isText(data))) return undefined;
      return { type, hub, member, room, name, owner, atMs, ...(data === undefined ? {} : { data }) };
    case 'left':
      return isText(member) ? { type, hub, member, atMs } : undefined;
    case 'beat':
      return { type, hub, atMs };
    case 'gone':
      return isWhole(seq) ? { type, hub, seq, atMs } : undefined;
    default:
      return undefined;
  }
}

function parse(body: Uint8Array): Fields | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Fields) : undefined;
  } catch {
    return undefined;
  }
}
