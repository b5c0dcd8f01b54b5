import { z } from 'zod';

import { stored } from './page.ts';

/** What a person is in a workspace and in all below it. Each role may all that the one after it may. */
export const ROLES = ['owner', 'admin', 'developer', 'operator', 'viewer'] as const;
export const role = z.enum(ROLES).meta({ id: 'Role', description: 'owner: everything; admin: everything but owners and the workspace\'s end; developer: keys, definitions, rooms, devices; operator: devices, and revoking or rotating keys; viewer: reads' });

export const member = z
  .object({ userId: z.string(), workspaceId: z.string(), username: z.string(), name: z.string(), role, ...stored })
  .meta({ id: 'Member' });

export const memberCreate = z.strictObject({ username: z.string().max(254), role }).meta({ id: 'MemberCreate' });
export const memberUpdate = z.strictObject({ role }).meta({ id: 'MemberUpdate' });

export type Role = z.output<typeof role>;
export type Member = z.output<typeof member>;
export type MemberCreate = z.output<typeof memberCreate>;
export type MemberUpdate = z.output<typeof memberUpdate>;
