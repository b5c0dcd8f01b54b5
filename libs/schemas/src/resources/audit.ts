import { z } from 'zod';

import { pageQuery } from './page.ts';

/** Who did what to what, from where; secrets never stand in it. */
export const auditRecord = z
  .object({
    id: z.string(), at: z.iso.datetime(), workspaceId: z.string().nullable(),
    actor: z.object({ kind: z.enum(['user', 'key', 'system', 'anonymous']), id: z.string().nullable(), name: z.string() }),
    action: z.string().meta({ examples: ['key.create', 'member.update', 'session.create'] }),
    outcome: z.enum(['done', 'denied', 'failed']),
    resource: z.object({ kind: z.string(), id: z.string().nullable(), name: z.string().nullable() }),
    before: z.unknown().meta({ description: 'The resource before the change; null when there was none' }),
    after: z.unknown().meta({ description: 'The resource after it; null when it is gone' }),
    source: z.string().meta({ description: 'The address the call came from' }),
    code: z.string().nullable().meta({ description: 'The code of a denial' }),
    requestId: z.string().nullable(),
  })
  .meta({ id: 'AuditRecord' });

export const auditQuery = pageQuery.extend({
  action: z.string().max(64).optional(), actor: z.string().max(254).optional().meta({ description: 'Id or name' }), resource: z.string().max(128).optional().meta({ description: 'Kind or id' }),
  outcome: z.enum(['done', 'denied', 'failed']).optional(),
  from: z.iso.datetime({ offset: true }).optional(), to: z.iso.datetime({ offset: true }).optional(),
});

export type AuditRecord = z.output<typeof auditRecord>;
export type AuditQuery = z.output<typeof auditQuery>;
