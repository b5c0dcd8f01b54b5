import { z } from 'zod';

import { roomPattern } from '../permissions.ts';
import { stored } from './page.ts';

/** How the events of rooms travel and how long they are kept. Of several policies that select a room, the longest pattern counts. */
export const roomLane = z.enum(['live', 'durable']).meta({ id: 'RoomLane', description: 'live: at most once, lowest latency; durable: stored, then delivered' });

export const retention = z
  .strictObject({
    maxAgeSeconds: z.int().min(1).max(315_360_000).nullable().default(604_800).meta({ description: 'null: no bound; a week by default' }),
    maxBytes: z.int().min(1_048_576).max(1_000_000_000_000_000).nullable().default(null).meta({ description: 'null: no bound' }),
  })
  .meta({ id: 'Retention' });

export const roomPolicy = z.object({ id: z.string(), workspaceId: z.string(), pattern: z.string(), lane: roomLane, retention, ...stored }).meta({ id: 'RoomPolicy' });
export const roomPolicyCreate = z.strictObject({ pattern: roomPattern, lane: roomLane, retention: retention.default({ maxAgeSeconds: 604_800, maxBytes: null }) }).meta({ id: 'RoomPolicyCreate' });
export const roomPolicyUpdate = z.strictObject({ lane: roomLane, retention }).partial().meta({ id: 'RoomPolicyUpdate' });

export type RoomLane = z.output<typeof roomLane>;
export type RoomPolicy = z.output<typeof roomPolicy>;
export type RoomPolicyCreate = z.output<typeof roomPolicyCreate>;
export type RoomPolicyUpdate = z.output<typeof roomPolicyUpdate>;
