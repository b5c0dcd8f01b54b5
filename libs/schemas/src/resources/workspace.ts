import { z } from 'zod';

import { usageLimits } from '../usage-limits.ts';
import { stored } from './page.ts';

/** The workspace that a fresh installation begins with; what has no key on loopback belongs to it. */
export const DEFAULT_WORKSPACE_ID = 'default';

export const WORKSPACE_DEPTH_MAX = 8;

/** One piece of a path. Two that differ in case only cannot stand side by side. */
export const workspaceName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, 'must be 1 to 63 letters, digits, _ . or -, beginning with a letter or digit').meta({ id: 'WorkspaceName', examples: ['team-a'] });

/** What becomes of an event that does not fit its definition. */
export const validationMode = z.enum(['off', 'warn', 'reject']).meta({ id: 'ValidationMode', description: 'off: definitions are not looked at; warn: what does not fit is counted and passed on; reject: it is refused' });

const origin = z.string().max(256).refine((text) => text === '*' || (URL.canParse(text) && new URL(text).origin === text && /^https?:/.test(text)), 'must be an origin such as https://rooms.example, or *');

const settings = {
  validation: validationMode,
  anonymousKeyId: z.string().max(64).nullable().meta({ description: 'The key whose permissions hold for whoever presents none; null: nobody enters without a key' }),
  allowedOrigins: z.array(origin).max(100).meta({ description: 'Origins whose pages may connect with a key of this workspace, besides those a hub allows by itself' }),
  limits: usageLimits,
};

export const workspace = z
  .object({ id: z.string(), parentId: z.string().nullable(), name: workspaceName, path: z.string().meta({ description: 'Names from the root, joined by /' }), ...settings, ...stored })
  .meta({ id: 'Workspace' });

export const workspaceCreate = z
  .strictObject({
    name: workspaceName,
    parentId: z.string().max(64).nullable().default(null).meta({ description: 'null makes a root, which only administrators may' }),
    validation: validationMode.default('off'),
    allowedOrigins: settings.allowedOrigins.default([]),
    limits: usageLimits.default({}),
  })
  .meta({ id: 'WorkspaceCreate' });

export const workspaceUpdate = z
  .strictObject({ name: workspaceName, validation: validationMode, anonymousKeyId: settings.anonymousKeyId, allowedOrigins: settings.allowedOrigins, limits: usageLimits })
  .partial()
  .meta({ id: 'WorkspaceUpdate' });

export type ValidationMode = z.output<typeof validationMode>;
export type Workspace = z.output<typeof workspace>;
export type WorkspaceCreate = z.output<typeof workspaceCreate>;
export type WorkspaceUpdate = z.output<typeof workspaceUpdate>;
