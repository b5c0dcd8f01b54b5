import { z } from 'zod';

import { user } from './user.ts';

export const sessionCreate = z.strictObject({ username: z.string().max(254), password: z.string().max(1_024) }).meta({ id: 'SessionCreate' });

export const session = z
  .object({
    id: z.string(), createdAt: z.iso.datetime(), expiresAt: z.iso.datetime(), lastUsedAt: z.iso.datetime(),
    source: z.string().meta({ description: 'The address it was opened from' }),
    current: z.boolean().meta({ description: 'Whether it is the one that asks' }),
  })
  .meta({ id: 'Session' });

export const sessionCreated = z
  .object({ token: z.string().meta({ description: 'Goes into `Authorization: Bearer`; shown this once' }), expiresAt: z.iso.datetime(), user })
  .meta({ id: 'SessionCreated' });

export type Session = z.output<typeof session>;
export type SessionCreated = z.output<typeof sessionCreated>;
