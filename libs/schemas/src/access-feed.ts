import { z } from 'zod';

import { permissions, roomPattern } from './permissions.ts';
import { keyKind } from './resources/key.ts';
import { roomLane, retention } from './resources/room-policy.ts';
import { validationMode } from './resources/workspace.ts';
import { usageLimits } from './usage-limits.ts';

/**
 * What config-manager tells hubs and repeaters: one record a thing, the last one wins. Records travel as JSON under the
 * key `<workspaceId>.<type>.<id>`. `seq` is the position of the change in the outbox, over all records, without gaps; a
 * reader ignores a record whose `seq` is not above the one it has for that key. A thing that is gone has `entry: null`.
 */
const id = z.string().regex(/^[A-Za-z0-9_]{1,64}$/);
const atMs = z.int().min(0);

const workspaceEntry = z.object({
  type: z.literal('workspace'), id, workspaceId: id, path: z.string(),
  /** When it was made. A workspace of the same id that was made later is of another installation, whose positions began anew. */
  createdAtMs: atMs.optional(),
  /** Stands for whoever presents no key. */
  anonymousKeyId: id.nullable(),
  allowedOrigins: z.array(z.string()),
  validation: validationMode,
  limits: usageLimits,
});

const keyEntry = z.object({
  type: z.literal('key'), id, workspaceId: id, kind: keyKind, permissions, limits: usageLimits, expiresAtMs: atMs.nullable(),
  /** Those in force: SHA-256 of the whole key, base64url. Two while rotating. */
  secrets: z.array(z.object({ hash: z.string().length(43), expiresAtMs: atMs.nullable() })).max(2),
});

const definitionEntry = z.object({ type: z.literal('event-definition'), id, workspaceId: id, name: z.string(), version: z.int(), schema: z.record(z.string(), z.unknown()) });

const roomEntry = z.object({ type: z.literal('room'), id, workspaceId: id, pattern: roomPattern, lane: roomLane, retention });

const deviceEntry = z.object({ type: z.literal('device'), id, workspaceId: id, room: z.string(), name: z.string(), repeater: z.string(), address: z.string(), enabled: z.boolean() });

export const feedEntry = z.discriminatedUnion('type', [workspaceEntry, keyEntry, definitionEntry, roomEntry, deviceEntry]);
export const feedRecord = z.object({ seq: z.int().min(1), entry: feedEntry.nullable() });

export type FeedEntry = z.output<typeof feedEntry>;
export type FeedRecord = z.output<typeof feedRecord>;
export type WorkspaceEntry = z.output<typeof workspaceEntry>;
export type KeyEntry = z.output<typeof keyEntry>;
export type DefinitionEntry = z.output<typeof definitionEntry>;
export type RoomEntry = z.output<typeof roomEntry>;
export type DeviceEntry = z.output<typeof deviceEntry>;

/** The feed's key of a thing. */
export function feedKey({ type, workspaceId, id }: Pick<FeedEntry, 'type' | 'workspaceId' | 'id'>): string {
  return `${workspaceId}.${type}.${id}`;
}

/** The bucket of the feed on the bus. */
export const FEED_BUCKET = 'carillon-access';
/** Where config-manager says, twice a second, the last position it has handed to the feed: `{"seq": 17}`. */
export const FEED_BEAT_SUBJECT = 'carillon.1.access.beat';
/** Where hubs say which position they have applied: `{"hub":"…","name":"…","seq":17}`. */
export const FEED_APPLIED_SUBJECT = 'carillon.1.access.applied';
/** Where hubs say, in batches, which keys were used: `{"used":[{"id":"…","atMs":…}]}`. */
export const KEYS_USED_SUBJECT = 'carillon.1.access.used';
