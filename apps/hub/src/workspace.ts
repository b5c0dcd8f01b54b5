import type { AccessCopy, Principal } from '@carillon/access';
import type { Bus } from '@carillon/bus';
import type { EventLog } from '@carillon/log';
import type { Logger } from '@carillon/runtime';
import type { RoomLane } from '@carillon/schemas';
import { Subscriptions, type BatchWriter, type DeliveryFilter, type DoorOptions, type Heartbeat, type Lane, type LaneGroup } from '@carillon/session';
import { RecentIds, type ErrorCode, type WireLimits } from '@carillon/wire';

import { Cluster } from './cluster.ts';
import type { HubCounts } from './counts.ts';
import { DurableLane } from './durable-lane.ts';
import type { Caller, Holders } from './holders.ts';
import { Intake } from './intake.ts';
import { Lanes } from './lanes.ts';
import { LinkClaims } from './link-claims.ts';
import { Links } from './links.ts';
import { LiveTails } from './live-tails.ts';
import type { PageTurns } from './page-turns.ts';
import { Peers } from './peers.ts';
import { Router, type DurableRoutes } from './router.ts';
import type { Trail } from './trail.ts';

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
  /** Without one every room is live. */
  readonly eventLog: { readonly log: EventLog; readonly epoch: () => string } | undefined;
  readonly turns: PageTurns;
  readonly defaultLane: RoomLane;
  readonly heartbeatMs: number;
  readonly log: Logger;
  readonly limits: WireLimits;
  /** Of frames between hubs, which carry an id. */
  readonly linkLimits: WireLimits;
  readonly laneMaxBytes: number;
  readonly nextId: () => string;
  readonly inRoom: boolean;
  /** Where it is written down what became of events. */
  readonly trail: Trail;
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
  readonly durable: DurableLane | undefined;
  /** Of those who read the log. */
  readonly turns: PageTurns;
  readonly claims: LinkClaims | undefined;
  readonly peers: Peers;
  readonly tails: LiveTails;
  readonly links: Links;
  /** Nobody is here: no peer, no tail, no link. */
  readonly isEmpty: boolean;
  /** It is forgotten: lets go of the log. */
  close(): void;
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
  const durable = createDurable(id, shared, { router, filter });
  if (durable !== undefined) router.keepDurable(durable);
  const { turns, heartbeatMs } = shared;
  const peers = new Peers({ hubId, router, intake, holders, principals, subscriptions, durable, turns, heartbeatMs, flush: () => writer.flush(), counts, heartbeat, limits, linkLimits, log });
  const tails = new LiveTails({ subscriptions, durable, router, counts, holders, principals, group, laneMaxBytes, turns, flush: () => writer.flush(), log });
  const claims = bus === undefined ? undefined : new LinkClaims(hubId);
  const { door, max: linksMax, total, recheck, handshakeTimeoutMs, retry } = shared.links;
  const links = new Links({ hubId, peers, router, holders, door, linksMax, total, recheck, log, handshakeTimeoutMs, retry, ...(claims === undefined ? {} : { claims }) });
  return {
    id, intake, router, cluster, durable: durable?.lane, turns, claims, peers, tails, links,
    close: () => void durable?.lane.close(),
    get isEmpty() {
      return peers.size + tails.size + links.size === 0;
    },
  };
}

/** What becomes of durable rooms, where there is a log. */
function createDurable(id: string, { eventLog, counts, copy, defaultLane, log, nextId }: SharedParts, { router, filter }: { readonly router: Router; readonly filter: DeliveryFilter }): DurableRoutes | undefined {
  if (eventLog === undefined) return undefined;
  const lane = new DurableLane({
    workspaceId: id, log: eventLog.log, epoch: eventLog.epoch, counts, logger: log, nextId, now: Date.now,
    stored: (room, origin, event) => router.stored(room, origin, event),
    deliver: (room, origin, event) => router.fromLog(room, origin, event),
  });
  const subscriptions = new Subscriptions({
    added: (pattern) => void lane.interests.add(pattern).catch(() => undefined), // said by the interests
    removed: (pattern) => lane.interests.remove(pattern),
  }, filter);
  return { lane, lanes: new Lanes({ policies: () => copy.rooms(id), fallback: defaultLane }), subscriptions };
}

/** What whoever is at the end of a lane may receive. */
function filterOf(principals: ReadonlyMap<Lane, Principal>): DeliveryFilter {
  return {
    decide: (lane, room) => principals.get(lane)?.permissions.decide('receive', room) ?? 'deny',
    allows: (lane, room, event) => principals.get(lane)?.permissions.allows('receive', room, event) ?? false,
  };
}
