import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { hostname } from 'node:os';

import type { Bus } from '@carillon/bus';
import { isLoopback, listen, sendRefusal, formatAddress, type ListenAddress, type ProcessContext } from '@carillon/runtime';
import { BatchWriter, Door, Heartbeat, LaneGroup, refuseUpgrade, Subscriptions } from '@carillon/session';
import { createEventIds, DEFAULT_LIMITS, type WireLimits } from '@carillon/wire';

import { Cluster } from './cluster.ts';
import type { HubConfig } from './config.ts';
import { HubCounts } from './counts.ts';
import { answerHttp } from './http-routes.ts';
import { startClaimBeacon } from './claim-beacon.ts';
import { LinkClaims } from './link-claims.ts';
import { Links } from './links.ts';
import { LiveTails } from './live-tails.ts';
import { observeHub } from './metrics.ts';
import { Peers } from './peers.ts';
import { RecentIds } from './recent-ids.ts';
import { Router } from './router.ts';
import { hubStatus } from './status.ts';
import { answerUpgrade, originCheck } from './upgrades.ts';

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

/** Sockets beyond the peers: requests, and handshakes that are on their way or refused. */
const HTTP_SOCKETS_MAX = 1_024;

export async function startHub({ config, version, bus, pages }: HubOptions, context: ProcessContext): Promise<Hub> {
  const { log, health, signal } = context;
  const limits: WireLimits = { ...DEFAULT_LIMITS, ...config.limits };
  // Between hubs a frame carries its id: the largest that a peer may send must still pass.
  const linkLimits: WireLimits = { ...limits, frameMaxBytes: limits.frameMaxBytes + limits.tagLineMaxBytes };
  const hubId = randomBytes(8).toString('hex');
  const name = config.name ?? hostname();
  const startedAtMs = Date.now();
  const isDraining = (): boolean => signal.aborted;
  const isFull = (): boolean => peers.size + tails.size >= config.limits.connectionsMax;

  const counts = new HubCounts();
  const group = new LaneGroup(config.limits.lanesTotalMaxBytes);
  const writer = new BatchWriter();
  const heartbeat = new Heartbeat(config.timing);
  const subscriptions = new Subscriptions({
    added: (pattern) => cluster?.interest.add(pattern),
    removed: (pattern) => cluster?.interest.remove(pattern),
  });
  const nextId = createEventIds({ now: Date.now, random40: () => randomBytes(5).readUIntBE(0, 5) });
  const router = new Router({ writer, subscriptions, counts, recentIds: new RecentIds(RECENT_IDS_GENERATION), forwardedIds: new RecentIds(RECENT_IDS_GENERATION), nextId, inRoom: config.roomSystem !== undefined });
  const cluster = bus === undefined ? undefined : new Cluster({ bus, router, counts, limits: linkLimits, log, schedule: setImmediate });
  if (cluster !== undefined) router.joinCluster(cluster);

  const doorOptions = { limits, laneMaxBytes: config.limits.laneMaxBytes, group, ticks: heartbeat.ticks };
  const linkDoorOptions = { ...doorOptions, limits: linkLimits };
  const peers = new Peers({ router, subscriptions, counts, heartbeat, limits, linkLimits, log });
  const tails = new LiveTails({ subscriptions, router, counts, group, laneMaxBytes: config.limits.laneMaxBytes });
  const claims = bus === undefined ? undefined : new LinkClaims(hubId);
  const links = new Links({
    hubId, peers, ...(claims === undefined ? {} : { claims }), door: linkDoorOptions, linksMax: config.limits.linksMax, log,
    handshakeTimeoutMs: config.timing.handshakeTimeoutMs,
    retry: { firstMs: config.timing.linkRetryFirstMs, capMs: config.timing.linkRetryCapMs },
  });

  const clusterState = (): string => (bus === undefined ? 'alone' : bus.state);
  const statusSources = {
    hubId, name, version, startedAtMs, peers, cluster: clusterState, liveTails: () => tails.size, queuedBytes: () => group.queuedBytes,
    laneMaxBytes: config.limits.laneMaxBytes, connectionsMax: config.limits.connectionsMax, lanesTotalMaxBytes: config.limits.lanesTotalMaxBytes,
  };
  const http = { router, counts, limits, links, tails, log, isDraining, isFull, status: () => hubStatus(statusSources, Date.now()), ...(pages === undefined ? {} : { pages }) };
  const isOriginAllowed = originCheck(config.allowedOrigins);
  const door = new Door(doorOptions);
  const upgrade = { hubId, doors: { messenger: door, repeater: door, hub: new Door(linkDoorOptions) }, peers, counts, isOriginAllowed, isDraining, isFull };

  const server = createHubServer(config, counts);
  const requests = new Set<ServerResponse>();
  server.on('request', (req, res) => {
    requests.add(res);
    res.once('close', () => requests.delete(res));
    if (isOriginAllowed(req)) void answerHttp(http, req, res);
    else {
      counts.refuse('ORIGIN_REFUSED');
      sendRefusal(res, 'ORIGIN_REFUSED');
    }
  });
  server.on('upgrade', (req, stream, head) => answerUpgrade(upgrade, req, stream, head));

  observeHub(context.metrics, { counts, peers, group, writer, links, tails: () => tails.size, cluster: cluster === undefined || bus === undefined ? undefined : { cluster, isConnected: () => bus.state === 'connected' } });
  if (bus !== undefined) {
    health.addCheck('cluster', () => (bus.state === 'connected' ? { ok: true } : { ok: false, reason: `the bus is ${bus.state}; local rooms go on` }));
    bus.onState((state) => {
      log[state === 'away' ? 'warn' : 'info']({ state }, 'cluster bus');
      if (state === 'connected' && cluster?.takesLargestFrame === false) log.warn({ payloadMaxBytes: bus.payloadMaxBytes }, 'NATS takes smaller messages than this hub; larger frames stay on this hub and are counted as bus-too-large');
    });
  }

  const beacon = bus === undefined || claims === undefined ? undefined : startClaimBeacon(bus, claims, hubId);
  const comeBackMs = (): number => config.timing.comeBackMinMs + Math.random() * (config.timing.comeBackMaxMs - config.timing.comeBackMinMs);
  context.add({
    name: 'hub',
    drain: async () => {
      server.close();
      // What has been taken leaves before anything closes.
      writer.flush();
      await links.close();
      tails.drain(comeBackMs);
      const closing = [...peers.connections()];
      for (const connection of closing) connection.refuse('DRAINING', comeBackMs());
      await Promise.all([...closing.map((connection) => connection.gone), ...[...requests].map((response) => new Promise((resolve) => response.once('close', resolve)))]);
      cluster?.flush();
    },
    stop: async () => {
      heartbeat.stop();
      beacon?.stop();
      await links.close();
      for (const connection of peers.connections()) connection.terminate();
      server.closeAllConnections();
      server.close();
      await bus?.close();
    },
  });
  const address = await listen(server, config.listen);
  heartbeat.start();
  for (const link of config.links) links.keep(link);
  log.info({ address: formatAddress(address), hub: hubId, called: name, cluster: clusterState() }, 'hub listens');
  if (!isLoopback(address.host)) log.warn({ address: formatAddress(address) }, 'there are no access keys yet: whoever reaches this address can send and receive everything');
  return { id: hubId, address };
}

/** The server with the bounds that hold before a peer has said what it wants. */
function createHubServer(config: HubConfig, counts: HubCounts): Server {
  const server = createServer({
    headersTimeout: config.timing.handshakeTimeoutMs,
    requestTimeout: config.timing.handshakeTimeoutMs * 3,
    connectionsCheckingInterval: Math.min(1_000, config.timing.handshakeTimeoutMs),
    keepAliveTimeout: 5_000,
    maxHeaderSize: 16_384,
  });
  // Peers beyond connectionsMax get an answer with a code; sockets beyond this reserve get none.
  server.maxConnections = config.limits.connectionsMax + HTTP_SOCKETS_MAX;
  server.on('drop', () => counts.refuse('CONNECTIONS_EXCEEDED'));
  server.on('clientError', (error: NodeJS.ErrnoException, stream) => {
    const code = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 'REQUEST_TIMEOUT' : 'REQUEST_MALFORMED';
    counts.refuse(code);
    refuseUpgrade(stream, code);
  });
  return server;
}
