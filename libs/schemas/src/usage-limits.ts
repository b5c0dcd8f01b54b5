import { z } from 'zod';

/** Bounds of use, each for one hub or repeater (a cluster of three lets through three times as much); absent or null: no bound. */
export const usageLimits = z
  .strictObject({
    connections: z.int().min(1).max(1_000_000).nullish().meta({ description: 'Connections at a time' }),
    rooms: z.int().min(1).max(1_000_000).nullish().meta({ description: 'Subscriptions at a time, over all connections' }),
    eventsPerSecond: z.int().min(1).max(1_000_000).nullish().meta({ description: 'Events sent a second; a burst of one second is let through' }),
    bytesPerSecond: z.int().min(1_024).max(10_000_000_000).nullish().meta({ description: 'Bytes sent a second; a burst of one second, or one largest frame, is let through' }),
  })
  .meta({ id: 'UsageLimits', description: 'Bounds of use at one hub or repeater; absent or null: none' });

export type UsageLimits = z.output<typeof usageLimits>;
