import type { AccessCopy, Principal } from '@carillon/access';
import type { Bus } from '@carillon/bus';
import type { EventLog } from '@carillon/log';
import type { Logger } from '@carillon/runtime';
import type { RoomLane } from '@carillon/schemas';
import { Subscriptions, type BatchWriter, type DeliveryFilter, type DoorOptions, type Heartbeat, type Lane, type LaneGroup } from '@carillon/session';
import { RecentIds, type ErrorCode, type WireLimits } from '@carillon/wire';

import type { Admitted } from './access/admission.ts';
import { Cluster } from './cluster/cluster.ts';
import { Consumers } from './consumers/consumers.ts';
import type { HubCounts } from './counts.ts';
import type { DelayedEvents } from './delayed/delayed-events.ts';
import { holdPublish } from './delayed/due-events.ts';
import { DurableLane } from './durable/durable-lane.ts';
import type { Caller, Holders } from './access/holders.ts';
import { Intake } from './routing/intake.ts';
import { Lanes } from './durable/lanes.ts';
import { LinkClaims } from './cluster/link-claims.ts';
import { Links } from './cluster/links.ts';
import { LiveTails } from './durable/live-tails.ts';
import type { PageTurns } from './durable/page-turns.ts';
import { Peers } from './sessions/peers.ts';
import { Presence } from './presence/presence.ts';
import { Replies } from './sessions/replies.ts';
import { Router, type DurableRoutes } from './routing/router.ts';
import type { TrailKeeper } from './trail/trail-keeper.ts';
import type { WorkspaceTrail } from './trail/trail-workspace.ts';
import type { Trail } from './trail/trail.ts';

/** What all workspaces of a hub share: the means, nothing of what is said. */
export interface SharedParts {
  readonly hubId: string;
  readonly copy: AccessCopy;
  readonly holders: Holders;
  readonly isDraining: () => boolean;
  /** Who goes on with another key on a connection that is open. */
  readonly refresh: (current: Caller, key: string) => Admitted;
  readonly counts: HubCounts;
  readonly writer: BatchWriter;
  readonly group: LaneGroup;
  readonly heartbeat: Heartbeat;
  readonly bus: Bus | undefined;
  /** Without one every room is live. */
  readonly eventLog: { readonly log: EventLog; readonly epoch: () => string } | undefined;
  /** Of a hub that keeps a log. */
  readonly delayed: DelayedEvents | undefined;
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
  /** The same, of who reads what; of a hub that keeps a log and a trail. */
  readonly trails: TrailKeeper | undefined;
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
  /** Of a hub that keeps a log. */
  readonly presence: Presence | undefined;
  /** Of a hub that keeps a log. */
  readonly consumers: Consumers | undefined;
  readonly tails: LiveTails;
  readonly links: Links;
  /** Where it is written down what became of events. */
  readonly trail: Trail;
  /** Of those who ask for trails. */
  readonly trailReads: { underWay: number };
  /** Nobody is here: no peer, no tail, no link. */
  readonly isEmpty: boolean;
  /** It is forgotten: lets go of the log. */
  close(): void;
}

export function createWorkspace(id: string, shared: SharedParts): Workspace {
  const { bus, counts, delayed, holders, log, limits, linkLimits, writer, group, laneMaxBytes, heartbeat, hubId } = shared;
  const principals = new Map<Lane, Principal>();
  const filter = filterOf(principals);
  const intake = new Intake(id, shared);
  const readerTrail = shared.trails?.hold(id);
  const subscriptions = new Subscriptions({ added: (pattern) => cluster?.interest.add(pattern), removed: (pattern) => cluster?.interest.remove(pattern) }, filter);
  const router = new Router({
    readerTrail, writer, subscriptions, counts, filter, nextId: shared.nextId, inRoom: shared.inRoom,
    recentIds: new RecentIds(RECENT_IDS_GENERATION), forwardedIds: new RecentIds(RECENT_IDS_GENERATION),
    delay: delayed === undefined ? undefined : (room, origin, publish) => holdPublish({ workspaceId: id, room, origin }, publish, { delayed, now: Date.now }),
  });
  const cluster = bus === undefined ? undefined : new Cluster({ workspaceId: id, bus, router, counts, limits: linkLimits, log, schedule: setImmediate });
  if (cluster !== undefined) router.joinCluster(cluster);
  const durable = createDurable(id, shared, { router, filter, readerTrail });
  if (durable !== undefined) router.keepDurable(durable);
  if (durable !== undefined) readerTrail?.follow(durable.lane);
  const replies = new Replies({ workspaceId: id, hubId, bus, counts, limits: linkLimits });
  const { turns, heartbeatMs } = shared;
  const presence = shared.eventLog === undefined ? undefined : new Presence({ workspaceId: id, hubId, log: shared.eventLog.log, turns, logger: log, nextId: shared.nextId, now: Date.now });
  const consumers = shared.eventLog === undefined ? undefined : new Consumers({ workspaceId: id, log: shared.eventLog.log, counts, trail: shared.trail, logger: log });
  const peers = new Peers({ hubId, readerTrail, isDraining: shared.isDraining, presence, consumers, delayed, trail: shared.trail, router, intake, replies, holders, refresh: shared.refresh, usage: () => shared.copy.usage(id), principals, subscriptions, durable, turns, heartbeatMs, flush: () => writer.flush(), counts, heartbeat, limits, linkLimits, log });
  const tails = new LiveTails({ readerTrail, subscriptions, durable, router, counts, holders, principals, group, laneMaxBytes, turns, flush: () => writer.flush(), log });
  const claims = bus === undefined ? undefined : new LinkClaims(hubId);
  const { door, max: linksMax, total, recheck, handshakeTimeoutMs, retry } = shared.links;
  const links = new Links({ hubId, peers, router, holders, door, linksMax, total, recheck, log, handshakeTimeoutMs, retry, ...(claims === undefined ? {} : { claims }) });
  return {
    id, intake, router, cluster, durable: durable?.lane, turns, claims, peers, presence, consumers, tails, links, trail: shared.trail, trailReads: { underWay: 0 },
    close: () => {
      presence?.close();
      void durable?.lane.close();
      replies.stop();
      shared.trails?.release(id);
    },
    get isEmpty() {
      return peers.size + tails.size + links.size === 0;
    },
  };
}

/** What becomes of durable rooms, where there is a log. */
function createDurable(id: string, { eventLog, counts, copy, defaultLane, log, nextId }: SharedParts, { router, filter, readerTrail }: { readonly router: Router; readonly filter: DeliveryFilter; readonly readerTrail: WorkspaceTrail | undefined }): DurableRoutes | undefined {
  if (eventLog === undefined) return undefined;
  const lane = new DurableLane({
    workspaceId: id, log: eventLog.log, epoch: eventLog.epoch, counts, logger: log, nextId, now: Date.now,
    stored: (event, place) => router.stored(event, place),
    deliver: (event, stored) => router.fromLog(event, stored),
    readerTrail,
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
