import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { hostname } from 'node:os';

import type { Bus } from '@carillon/bus';
import { BodyReader, formatAddress, isLoopback, listen, pageOriginCheck, type ListenAddress, type ProcessContext } from '@carillon/runtime';
import { BatchWriter, Door, Heartbeat, LaneGroup, Subscriptions } from '@carillon/session';
import { createEventIds, DEFAULT_LIMITS, type WireLimits } from '@carillon/wire';

import { startClaimBeacon } from './claim-beacon.ts';
import { Cluster } from './cluster.ts';
import type { HubConfig } from './config.ts';
import { HubCounts } from './counts.ts';
import { createHubServer } from './hub-server.ts';
import { LinkClaims } from './link-claims.ts';
import { Links } from './links.ts';
import { LiveTails } from './live-tails.ts';
import { observeHub } from './metrics.ts';
import { Peers } from './peers.ts';
import { RecentIds } from './recent-ids.ts';
import { Router } from './router.ts';
import { hubStatus } from './status.ts';

/** Put together: sockets and HTTP at the edge, the router in the middle, the cluster and the links at the other edge. */
export interface HubOptions {
  readonly config: HubConfig;
  readonly version: string;
  /** The bus shared with the other hubs of the cluster; without it the hub stands alone. The hub closes it. */
  readonly bus?: Bus;
  /** Answers for paths that are not the hub's own; false when it does not know one either. */
  readonly pages?: (req: IncomingMessage, res: ServerResponse, path: string) => boolean;
}

export interface Hub {
  readonly id: string;
  readonly address: ListenAddress;
}

/** Ids of events that have two ways here: about 100 bytes each, two generations. */
const RECENT_IDS_GENERATION = 131_072;


/** Bodies that are arriving may hold this together; a sender beyond it is asked to come back. */
const BODIES_TOTAL_MAX_BYTES = 67_108_864;

export async function startHub(options: HubOptions, context: ProcessContext): Promise<Hub> {
  const { config, bus } = options;
  const { log, signal } = context;
  const parts = assembleHub(options, { log, isDraining: () => signal.aborted });
  const { hubId, cluster, claims, links, heartbeat, server } = parts;

  const isConnected = (): boolean => bus?.state === 'connected';
  observeHub(context.metrics, { ...parts, tails: () => parts.tails.size, cluster: cluster === undefined ? undefined : { cluster, isConnected } });
  if (bus !== undefined) watchBus(bus, parts, context);
  const beacon = bus === undefined || claims === undefined ? undefined : startClaimBeacon(bus, claims, hubId);
  context.add({ name: 'hub', drain: () => drainHub(parts, config), stop: () => stopHub(parts, { bus, beacon }) });

  const address = await listen(server, config.listen);
  heartbeat.start();
  for (const link of config.links) links.keep(link);
  log.info({ address: formatAddress(address), hub: hubId, called: parts.name, cluster: parts.clusterState() }, 'hub listens');
  if (!isLoopback(address.host)) log.warn({ address: formatAddress(address) }, 'there are no access keys yet: whoever reaches this address can send and receive everything');
  return { id: hubId, address };
}

type Parts = ReturnType<typeof assembleHub>;

function assembleHub({ config, version, bus, pages }: HubOptions, { log, isDraining }: { readonly log: ProcessContext['log']; readonly isDraining: () => boolean }) {
  const limits: WireLimits = { ...DEFAULT_LIMITS, ...config.limits };
  // Between hubs a frame carries its id: the largest that a peer may send must still pass.
  const linkLimits: WireLimits = { ...limits, frameMaxBytes: limits.frameMaxBytes + limits.tagLineMaxBytes };
  const { laneMaxBytes, lanesTotalMaxBytes, connectionsMax, linksMax } = config.limits;
  const { handshakeTimeoutMs, linkRetryFirstMs, linkRetryCapMs } = config.timing;
  const hubId = randomBytes(8).toString('hex');
  const name = config.name ?? hostname();
  const counts = new HubCounts();
  const group = new LaneGroup(lanesTotalMaxBytes);
  const writer = new BatchWriter();
  const heartbeat = new Heartbeat({ ...config.timing, inboundMaxBytes: config.limits.inboundTotalMaxBytes });
  const subscriptions = new Subscriptions({
    added: (pattern) => cluster?.interest.add(pattern),
    removed: (pattern) => cluster?.interest.remove(pattern),
  });
  const nextId = createEventIds({ now: Date.now, random40: () => randomBytes(5).readUIntBE(0, 5) });
  const router = new Router({
    writer, subscriptions, counts, nextId, inRoom: config.roomSystem !== undefined,
    recentIds: new RecentIds(RECENT_IDS_GENERATION), forwardedIds: new RecentIds(RECENT_IDS_GENERATION),
  });
  const cluster = bus === undefined ? undefined : new Cluster({ bus, router, counts, limits: linkLimits, log, schedule: setImmediate });
  if (cluster !== undefined) router.joinCluster(cluster);

  const doorOptions = { limits, laneMaxBytes, group, ticks: heartbeat.ticks };
  const linkDoorOptions = { ...doorOptions, limits: linkLimits };
  const peers = new Peers({ router, subscriptions, counts, heartbeat, limits, linkLimits, log });
  const tails = new LiveTails({ subscriptions, router, counts, group, laneMaxBytes });
  const claims = bus === undefined ? undefined : new LinkClaims(hubId);
  const links = new Links({
    hubId, peers, router, ...(claims === undefined ? {} : { claims }), door: linkDoorOptions, linksMax, log, handshakeTimeoutMs,
    retry: { firstMs: linkRetryFirstMs, capMs: linkRetryCapMs },
  });

  const clusterState = (): string => (bus === undefined ? 'alone' : bus.state);
  const isFull = (): boolean => peers.size + tails.size >= connectionsMax;
  const statusSources = {
    hubId, name, version, startedAtMs: Date.now(), peers, cluster: clusterState, liveTails: () => tails.size, queuedBytes: () => group.queuedBytes,
    laneMaxBytes, connectionsMax, lanesTotalMaxBytes,
  };
  const bodies = new BodyReader({ maxBytes: limits.frameMaxBytes - limits.roomMaxBytes - 1, totalMaxBytes: BODIES_TOTAL_MAX_BYTES });
  const isPageAllowed = pageOriginCheck({ allowedOrigins: config.allowedOrigins, onLoopback: isLoopback(config.listen.host) });
  const door = new Door(doorOptions);
  const { server, requests } = createHubServer({
    connectionsMax, handshakeTimeoutMs, counts, isPageAllowed,
    http: { router, counts, limits, links, tails, bodies, log, isDraining, isFull, status: () => hubStatus(statusSources, Date.now()), ...(pages === undefined ? {} : { pages }) },
    upgrade: { hubId, doors: { messenger: door, repeater: door, hub: new Door(linkDoorOptions) }, peers, counts, isPageAllowed, isDraining, isFull },
  });
  return { hubId, name, counts, group, writer, heartbeat, cluster, peers, tails, claims, links, server, requests, clusterState };
}

function watchBus(bus: Bus, { cluster }: Parts, { health, log }: ProcessContext): void {
  health.addCheck('cluster', () => (bus.state === 'connected' ? { ok: true } : { ok: false, reason: `the bus is ${bus.state}; local rooms go on` }));
  bus.onState((state) => {
    log[state === 'away' ? 'warn' : 'info']({ state }, 'cluster bus');
    if (state === 'connected' && cluster?.takesLargestFrame === false) {
      log.warn({ payloadMaxBytes: bus.payloadMaxBytes }, 'NATS takes smaller messages than this hub; larger frames stay on this hub and are counted as bus-too-large');
    }
  });
}

/** What has been taken leaves before anything closes; peers are told when to come back. */
async function drainHub({ server, requests, writer, links, tails, peers, cluster }: Parts, { timing }: HubConfig): Promise<void> {
  const comeBackMs = (): number => timing.comeBackMinMs + Math.random() * (timing.comeBackMaxMs - timing.comeBackMinMs);
  server.close();
  writer.flush();
  await links.close();
  tails.drain(comeBackMs);
  const closing = [...peers.connections()];
  for (const connection of closing) connection.refuse('DRAINING', comeBackMs());
  await Promise.all([...closing.map((connection) => connection.gone), ...[...requests].map((response) => new Promise((resolve) => response.once('close', resolve)))]);
  cluster?.flush();
}

async function stopHub({ heartbeat, links, peers, server }: Parts, { bus, beacon }: { readonly bus: Bus | undefined; readonly beacon: { stop(): void } | undefined }): Promise<void> {
  heartbeat.stop();
  beacon?.stop();
  await links.close();
  for (const connection of peers.connections()) connection.terminate();
  server.closeAllConnections();
  server.close();
  await bus?.close();
}
