import type { AccessKey, DefinitionEntry, Device, DeviceEntry, EventDefinition, KeyEntry, RoomEntry, RoomPolicy, Workspace, WorkspaceEntry } from '@carillon/schemas';

/** The secrets of a key as the store keeps them: SHA-256 of the whole key in base64url, and when each ends. */
export interface KeySecrets {
  readonly key: AccessKey;
  readonly secrets: readonly { readonly hash: string; readonly expiresAt: string | null }[];
}

/** A repeater holds all of its workspace's keys: two secrets each, which is what rotating needs. */
const SECRETS_MAX = 2;

const toMs = (at: string | null): number | null => (at === null ? null : Date.parse(at));

/** What hubs and repeaters need of a workspace. */
export function workspaceEntry({ id, path, anonymousKeyId, allowedOrigins, validation, limits, createdAt }: Workspace): WorkspaceEntry {
  return { type: 'workspace', id, workspaceId: id, path, createdAtMs: Date.parse(createdAt), anonymousKeyId, allowedOrigins: [...allowedOrigins], validation, limits };
}

/**
 * What hubs and repeaters need of a key; undefined when it does not belong into the feed: one that was revoked opens no
 * door, and an account key opens none of theirs. An expired one stays, so that it is refused as expired.
 */
export function keyEntry({ key, secrets }: KeySecrets): KeyEntry | undefined {
  if (key.kind === 'account' || key.revokedAt !== null) return undefined;
  const { id, workspaceId, kind, permissions, limits } = key;
  return {
    type: 'key', id, workspaceId, kind, permissions, limits, expiresAtMs: toMs(key.expiresAt),
    secrets: secrets.slice(0, SECRETS_MAX).map(({ hash, expiresAt }) => ({ hash, expiresAtMs: toMs(expiresAt) })),
  };
}

/** What checks events; its version is the schema's revision, so that a new description makes nobody compile again. */
export function definitionEntry({ id, workspaceId, name, revision, schema }: EventDefinition): DefinitionEntry {
  return { type: 'event-definition', id, workspaceId, name, version: revision, schema };
}

/** How events of rooms travel. */
export function roomEntry({ id, workspaceId, pattern, lane, retention }: RoomPolicy): RoomEntry {
  return { type: 'room', id, workspaceId, pattern, lane, retention };
}

/** One target of a repeater's send list. */
export function deviceEntry({ id, workspaceId, room, name, repeater, address, enabled }: Device): DeviceEntry {
  return { type: 'device', id, workspaceId, room, name, repeater, address, enabled };
}
