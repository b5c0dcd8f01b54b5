import { z } from 'zod';

import { permissions } from '../permissions.ts';
import { usageLimits } from '../usage-limits.ts';
import { displayName, stored } from './page.ts';

/**
 * What a key opens: messenger: the messenger's door and event calls of a hub, and a repeater's device door · repeater: a
 * hub's repeater door and its access feed · hub-link: a hub's link door and its interconnect calls · service: all that a
 * messenger's key does, and the engine's doors · account: the management API.
 */
export const KEY_KINDS = ['messenger', 'repeater', 'hub-link', 'service', 'account'] as const;
export const keyKind = z.enum(KEY_KINDS).meta({ id: 'KeyKind', description: 'messenger: clients and devices; repeater: an edge gateway; hub-link: another hub; service: the engine\'s clients; account: this API' });

/** Of account keys: what may be done to which resources, in workspaces whose path (from the key's own, `*` for all) is listed. */
export const RESOURCES = ['workspaces', 'members', 'keys', 'event-definitions', 'rooms', 'devices', 'audit'] as const;
export const ACTIONS = ['read', 'create', 'update', 'delete'] as const;
const workspacePaths = z.array(z.string().max(512).regex(/^[A-Za-z0-9_.*/-]*$/)).max(100);
export const resourcePermissions = z
  .partialRecord(z.enum(RESOURCES), z.partialRecord(z.enum(ACTIONS), workspacePaths))
  .meta({ id: 'ResourcePermissions', description: 'Of account keys. Paths are of workspaces below the key\'s own: "" its own alone, "team-a" one below, "team-a/*" all below that one, "*" its own and all below' });

const expiresAt = z.iso.datetime({ offset: true }).nullable();

export const key = z
  .object({
    id: z.string(), workspaceId: z.string(), kind: keyKind, name: z.string(), permissions, resources: resourcePermissions, limits: usageLimits,
    expiresAt: z.iso.datetime().nullable(), revokedAt: z.iso.datetime().nullable(),
    lastUsedAt: z.iso.datetime().nullable().meta({ description: 'To within half a minute' }),
    secrets: z.array(z.object({ createdAt: z.iso.datetime(), expiresAt: z.iso.datetime().nullable() })).meta({ description: 'The secrets in force; two while rotating' }),
    publicKey: z.string().nullable().meta({ description: 'Of service keys: the Ed25519 public key (base64), which is their address' }),
    ...stored,
  })
  .meta({ id: 'AccessKey' });

export const keyCreate = z
  .strictObject({
    kind: keyKind, name: displayName, permissions: permissions.default({ send: [], receive: [], deny: { send: [], receive: [] } }),
    resources: resourcePermissions.default({}), limits: usageLimits.default({}), expiresAt: expiresAt.default(null),
  })
  .meta({ id: 'AccessKeyCreate' });

export const keyUpdate = z
  .strictObject({ name: displayName, permissions, resources: resourcePermissions, limits: usageLimits, expiresAt })
  .partial()
  .meta({ id: 'AccessKeyUpdate' });

export const keyRotate = z
  .strictObject({ overlapSeconds: z.int().min(0).max(2_592_000).default(86_400).meta({ description: 'How long the secret before stays in force: a day by default, at most 30; 0 ends it now' }) })
  .meta({ id: 'AccessKeyRotate' });

/** The answer to making or rotating a key: the only time the secret is shown. */
export const keyWithSecret = z
  .object({
    key, accessKey: z.string().meta({ description: 'ck_<id>_<secret>; shown this once', examples: ['ck_…_…'] }),
    privateKey: z.string().nullable().meta({ description: 'Of service keys: the Ed25519 private key (base64, 64 bytes); kept nowhere here' }),
  })
  .meta({ id: 'AccessKeyWithSecret' });

export type KeyKind = z.output<typeof keyKind>;
export type Resource = (typeof RESOURCES)[number];
export type Action = (typeof ACTIONS)[number];
export type ResourcePermissions = z.output<typeof resourcePermissions>;
export type AccessKey = z.output<typeof key>;
export type AccessKeyCreate = z.output<typeof keyCreate>;
export type AccessKeyUpdate = z.output<typeof keyUpdate>;
export type AccessKeyWithSecret = z.output<typeof keyWithSecret>;
