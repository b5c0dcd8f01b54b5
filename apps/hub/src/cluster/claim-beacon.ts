import type { Bus } from '@carillon/bus';

import { claimsSubject } from './cluster.ts';
import { readClaims, type LinkClaims } from './link-claims.ts';

/** How often hubs of a cluster say which links to originals they hold. */
const BEACON_MS = 1_000;

export interface ClaimBeaconOptions {
  readonly bus: Bus;
  readonly hubId: string;
  /** The claims of each workspace that this hub knows at present. */
  readonly claims: () => Iterable<readonly [workspaceId: string, claims: LinkClaims]>;
}

/** Says on the bus what this hub claims, workspace by workspace, each second while there is anything, and hears the others. */
export function startClaimBeacon({ bus, hubId, claims }: ClaimBeaconOptions): { stop(): void } {
  const subscription = bus.subscribe(claimsSubject('*'), {
    deliver: ({ subject, payload }) => {
      const beacon = readClaims(payload);
      if (beacon === undefined) return;
      // What others claim in a workspace that has nobody here yet is said again before a link of ours may be used.
      for (const [workspaceId, own] of claims()) if (subject === claimsSubject(workspaceId)) own.heard(beacon.hub, beacon.claims);
    },
  });
  subscription.active.catch(() => undefined); // the bus closed first
  const timer = setInterval(() => {
    for (const [workspaceId, own] of claims()) {
      own.tick();
      const said = own.claims();
      // While the bus is away this is not sent, and nobody else's is heard: see LinkClaims.
      if (said.length > 0) bus.publish(claimsSubject(workspaceId), Buffer.from(JSON.stringify({ hub: hubId, claims: said })));
    }
  }, BEACON_MS).unref();
  return {
    stop: () => {
      clearInterval(timer);
      void subscription.unsubscribe();
    },
  };
}
