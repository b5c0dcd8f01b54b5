import type { Bus } from '@carillon/bus';
import { FEED_BEAT_SUBJECT } from '@carillon/schemas';

// Hubs call a copy stale after several missed ones; a change must be known to be in force within two seconds.
const BEAT_INTERVAL_MS = 500;

/**
 * Tells hubs twice a second the position up to which everything is in the bucket; says nothing while there is none. Gives the
 * function that ends it.
 */
export function startFeedBeat(bus: Bus, position: () => number | undefined): () => void {
  const timer = setInterval(() => {
    const seq = position();
    // A beat that a bus which is away does not take is made up for by the next.
    if (seq !== undefined) bus.publish(FEED_BEAT_SUBJECT, Buffer.from(JSON.stringify({ seq })));
  }, BEAT_INTERVAL_MS);
  return () => clearInterval(timer);
}
