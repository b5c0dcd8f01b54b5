import type { AccessCopy, Principal } from '@carillon/access';
import type { Bus } from '@carillon/bus';
import type { Logger } from '@carillon/runtime';
import { Subscriptions, type BatchWriter, type DeliveryFilter, type DoorOptions, type Heartbeat, type Lane, type LaneGroup } from '@carillon/session';
import type { ErrorCode, WireLimits } from '@carillon/wire';

import { Cluster } from './cluster.ts';
import type { HubCounts } from './counts.ts';
import type { Caller, Holders } from './holders.ts';
import { Intake } from './intake.ts';
import { LinkClaims } from './link-claims.ts';
import { Links } from './links.ts';
import { LiveTails } from './live-tails.ts';
import { Peers } from './peers.ts';
import { RecentIds } from './recent-ids.ts';
import { Router } from './router.ts';

/** What all workspaces of a hub share: the means, nothing of what is said. */
export interface SharedParts {
  readonly hubId: string;
  readonly copy: AccessCopy;
  readonly holders: Holders;
  readonly counts: HubCounts;
  readonly writer: BatchWriter;
  readonly group: LaneGroup;
  readonly heartbeat: Heartbeat;
  readonly bus: Bus | undefined;
  readonly log: Logger;
  readonly limits: WireLimits;
  /** Of frames between hubs, which carry an id. */
  readonly linkLimits: WireLimits;
  readonly laneMaxBytes: number;
  readonly nextId: () => string;
  readonly inRoom: boolean;
  readonly links: {
    readonly door: DoorOptions;
    readonly max: number;
    readonly total: () => number;
    readonly handshakeTimeoutMs: number;
    readonly retry: { readonly firstMs: number; readonly capMs: number };
    readonly recheck: (caller: Caller) => ErrorCode | undefined;
  };
}

/** Ids of events that have two ways here: about 100 bytes each, two generations. They take no memory before there are any. */
const RECENT_IDS_GENERATION = 131_072;

/** One workspace at this hub, isolated by construction: its own subscriptions, routes, peers, tails, links and duplicates. */
export interface Workspace {
  readonly id: string;
  readonly intake: Intake;
  readonly router: Router;
  readonly cluster: Cluster | undefined;
  readonly claims: LinkClaims | undefined;
  readonly peers: Peers;
  readonly tails: LiveTails;
  readonly links: Links;
  /** Nobody is here: no peer, no tail, no link. */
  readonly isEmpty: boolean;
}

export function createWorkspace(id: string, shared: SharedParts): Workspace {
  const { bus, counts, holders, log, limits, linkLimits, writer, group, laneMaxBytes, heartbeat, hubId } = shared;
  const principals = new Map<Lane, Principal>();
  const filter = filterOf(principals);
  const intake = new Intake(id, shared);
  const subscriptions = new Subscriptions({ added: (pattern) => cluster?.interest.add(pattern), removed: (pattern) => cluster?.interest.remove(pattern) }, filter);
  const router = new Router({
    writer, subscriptions, counts, filter, nextId: shared.nextId, inRoom: shared.inRoom,
    recentIds: new RecentIds(RECENT_IDS_GENERATION), forwardedIds: new RecentIds(RECENT_IDS_GENERATION),
  });
  const cluster = bus === undefined ? undefined : new Cluster({ workspaceId: id, bus, router, counts, limits: linkLimits, log, schedule: setImmediate });
  if (cluster !== undefined) router.joinCluster(cluster);
  const peers = new Peers({ router, intake, holders, principals, subscriptions, counts, heartbeat, limits, linkLimits, log });
  const tails = new LiveTails({ subscriptions, router, counts, holders, principals, group, laneMaxBytes });
  const claims = bus === undefined ? undefined : new LinkClaims(hubId);
  const { door, max: linksMax, total, recheck, handshakeTimeoutMs, retry } = shared.links;
  const links = new Links({ hubId, peers, router, holders, door, linksMax, total, recheck, log, handshakeTimeoutMs, retry, ...(claims === undefined ? {} : { claims }) });
  return {
    id, intake, router, cluster, claims, peers, tails, links,
    get isEmpty() {
      return peers.size + tails.size + links.size === 0;
    },
  };
}

/** What whoever is at the end of a lane may receive. */
function filterOf(principals: ReadonlyMap<Lane, Principal>): DeliveryFilter {
  return {
    decide: (lane, room) => principals.get(lane)?.permissions.decide('receive', room) ?? 'deny',
    allows: (lane, room, event) => principals.get(lane)?.permissions.allows('receive', room, event) ?? false,
  };
}
