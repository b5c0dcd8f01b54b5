import type { Bus } from '@carillon/bus';

import { CLAIMS_SUBJECT } from './cluster.ts';
import { readClaims, type LinkClaims } from './link-claims.ts';

/** How often hubs of a cluster say which links to originals they hold. */
const BEACON_MS = 1_000;

/** Says this hub's claims on the bus, each second while there are any, and hears the others'. */
export function startClaimBeacon(bus: Bus, claims: LinkClaims, hubId: string): { stop(): void } {
  const subscription = bus.subscribe(CLAIMS_SUBJECT, {
    deliver: ({ payload }) => {
      const beacon = readClaims(payload);
      if (beacon !== undefined) claims.heard(beacon.hub, beacon.claims);
    },
  });
  subscription.active.catch(() => undefined); // the bus closed first
  const timer = setInterval(() => {
    claims.tick();
    const own = claims.claims();
    // While the bus is away this is not sent, and nobody else's is heard: see LinkClaims.
    if (own.length > 0) bus.publish(CLAIMS_SUBJECT, Buffer.from(JSON.stringify({ hub: hubId, claims: own })));
  }, BEACON_MS).unref();
  return {
    stop: () => {
      clearInterval(timer);
      void subscription.unsubscribe();
    },
  };
}
