import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { hostname } from 'node:os';

import type { Bus } from '@carillon/bus';
import type { EventLog } from '@carillon/log';
import { BodyReader, formatAddress, isLoopback, listen, type ListenAddress, type ProcessContext } from '@carillon/runtime';
import { DEFAULT_WORKSPACE_ID } from '@carillon/schemas';
import { BatchWriter, Door, Heartbeat, LaneGroup } from '@carillon/session';
import { createEventIds, DEFAULT_LIMITS, type WireLimits } from '@carillon/wire';

import { startClaimBeacon } from './cluster/claim-beacon.ts';
import { takesLargestFrame } from './cluster/cluster.ts';
import type { HubConfig } from './config.ts';
import { HubCounts } from './counts.ts';
import { tellDrain, whenSettled } from './sessions/drain-notice.ts';
import { DelayedEvents } from './delayed/delayed-events.ts';
import { fireDue } from './delayed/due-events.ts';
import { HubAccess } from './access/hub-access.ts';
import { serveLog, type ServedLog } from './durable/hub-log.ts';
import { createHubServer } from './http/hub-server.ts';
import { followRetention, wasDeleted } from './durable/log-retention.ts';
import { observeHub } from './metrics.ts';
import { PageTurns } from './durable/page-turns.ts';
import { hubStatus } from './http/status.ts';
import { TrailKeeper } from './trail/trail-keeper.ts';
import { NO_TRAIL } from './trail/trail.ts';
import { createWorkspace, type Workspace } from './workspace.ts';
import { Workspaces } from './workspaces.ts';

/** Put together: sockets and HTTP at the edge, who may come in behind it, a router for each workspace, the cluster and the links at the other edge. */
export interface HubOptions {
  readonly config: HubConfig;
  readonly version: string;
  /** The bus shared with the other hubs of the cluster; without it the hub stands alone. The hub closes it. */
  readonly bus?: Bus;
  /**
   * Where changes of access come from; by default `bus`. Another one is of this very process and so never out of hearing.
   * Without either the hub knows what is on its disk. The hub closes it.
   */
  readonly feedBus?: Bus;
  /** Where durable rooms are kept; without it every room is live. The hub closes it. */
  readonly eventLog?: EventLog;
  /** Answers for paths that are not the hub's own; false when it does not know one either. */
  readonly pages?: (req: IncomingMessage, res: ServerResponse, path: string) => boolean;
}

export interface Hub {
  readonly id: string;
  readonly address: ListenAddress;
}

/** Bodies that are arriving may hold this together; a sender beyond it is asked to come back. */
const BODIES_TOTAL_MAX_BYTES = 67_108_864;

/** How often a session hears how far it is in the log: what it has to be sent again after a reconnect is at most of so long. */
const MARK_INTERVAL_MS = 2_000;

export async function startHub(options: HubOptions, context: ProcessContext): Promise<Hub> {
  const { config, bus } = options;
  const { log, signal } = context;
  const eventLog = options.eventLog === undefined ? undefined : await serveLog(options.eventLog, { sweepIntervalMs: config.log.sweepIntervalMs, context });
  const parts = assembleHub(options, { log, isDraining: () => signal.aborted, eventLog });
  const { hubId, access, workspaces, heartbeat, server, limits } = parts;

  observeHub(context.metrics, { ...parts, isLogOpen: eventLog === undefined ? undefined : () => eventLog.log.state === 'open', isClusterConnected: bus === undefined ? undefined : () => bus.state === 'connected' });
  if (bus !== undefined) watchBus(bus, { limits: limits.links, context });
  access.addCheck(context.health);
  const beacon = bus === undefined ? undefined : startClaimBeacon({ bus, hubId, claims: () => claimsOf(workspaces) });
  const buses = new Set([bus, options.feedBus].filter((each) => each !== undefined));
  context.add({ name: 'hub', drain: () => drainHub(parts, { timing: config.timing, eventLog: eventLog?.log }), stop: () => stopHub(parts, { buses, beacon, eventLog }) });

  eventLog?.onNewEpoch(() => endSessions(parts, config));
  await access.start(workspaces);
  access.copy.onChange((change) => {
    if (change.type === 'principal') rightsChanged(workspaces.known(change.principal.workspaceId));
  });
  if (eventLog !== undefined) followRetention({ log: eventLog.log, copy: access.copy, maxAgeMs: config.log.maxAgeMs, logger: log }).of(DEFAULT_WORKSPACE_ID);
  const address = await listen(server, config.listen);
  heartbeat.start();
  const marks = setInterval(() => {
    for (const { peers } of workspaces.all()) peers.mark();
  }, MARK_INTERVAL_MS).unref();
  context.add({ name: 'marks', stop: async () => clearInterval(marks) });
  // Before the hub: what is due while it stops is another's, or this one's when it is back.
  parts.delayed?.start();
  context.add({ name: 'delayed-events', stop: async () => parts.delayed?.stop() });
  parts.trails?.start();
  const { links } = workspaces.of(DEFAULT_WORKSPACE_ID);
  for (const link of config.links) links.keep(link, { caller: access.admission.own('hub-link'), accessKey: config.access.linkKey });
  log.info({ address: formatAddress(address), hub: hubId, called: parts.name, cluster: parts.clusterState(), access: config.access.mode }, 'hub listens');
  if (config.access.mode === 'open' && !isLoopback(address.host)) log.warn({ address: formatAddress(address) }, 'access is open: whoever reaches this address can send and receive everything in workspace default');
  return { id: hubId, address };
}

type Parts = ReturnType<typeof assembleHub>;

function assembleHub({ config, version, bus, feedBus, pages }: HubOptions, { log, isDraining, eventLog }: { readonly log: ProcessContext['log']; readonly isDraining: () => boolean; readonly eventLog: ServedLog | undefined }) {
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
  const access = new HubAccess({ config, hub: { id: hubId, name }, counts, log, feedBus: feedBus ?? bus, isRemote: bus !== undefined && (feedBus ?? bus) === bus });
  const { admission, relay, holders, copy } = access;
  const nextId = createEventIds({ now: Date.now, random40: () => randomBytes(5).readUIntBE(0, 5) });

  // Not as soon as the process is to end: a repeater in it hands over what it has before.
  const drain = { hasBegun: false };
  const doorOptions = { limits, laneMaxBytes, group, ticks: heartbeat.ticks };
  const linkDoorOptions = { ...doorOptions, limits: linkLimits };
  const turns = new PageTurns();
  const trails = eventLog === undefined || config.log.trail === 'off' ? undefined : new TrailKeeper({ hub: hubId, log: eventLog.log, nextId, eventMaxBytes: limits.frameMaxBytes, flush: () => writer.flush() });
  const delayed: DelayedEvents | undefined = eventLog === undefined ? undefined : new DelayedEvents({
    log: eventLog.log, trail: trails ?? NO_TRAIL, logger: log, now: Date.now,
    fire: (held, entryId) => fireDue(held, entryId, { log: eventLog.log, workspace: (id) => workspaces.of(id), isDeleted: (id) => copy.workspace(id) === undefined && wasDeleted(copy, id), counts, trail: trails ?? NO_TRAIL, now: Date.now }),
  });
  const workspaces: Workspaces = new Workspaces({
    now: () => performance.now(),
    make: (id) => createWorkspace(id, {
      hubId, copy, holders, isDraining: () => drain.hasBegun, refresh: (current, key) => admission.refresh(current, key), counts, writer, group, heartbeat, bus, eventLog, delayed, turns, defaultLane: config.log.defaultLane, heartbeatMs: config.timing.pingIntervalMs, log, limits, linkLimits, laneMaxBytes, nextId, inRoom: config.roomSystem !== undefined, trail: trails ?? NO_TRAIL, trails,
      links: {
        door: linkDoorOptions, max: linksMax, total: () => workspaces.total(({ links }) => links.size), handshakeTimeoutMs,
        retry: { firstMs: linkRetryFirstMs, capMs: linkRetryCapMs }, recheck: (caller) => admission.recheck(caller),
      },
    }),
  });

  const clusterState = (): string => (bus === undefined ? 'alone' : bus.state);
  const isFull = (): boolean => relay.size + workspaces.total(({ peers, tails }) => peers.size + tails.size) >= connectionsMax;
  const statusSources = { hubId, name, version, startedAtMs: Date.now(), cluster: clusterState, laneMaxBytes, connectionsMax, lanesTotalMaxBytes };
  const bodies = new BodyReader({ maxBytes: limits.frameMaxBytes - limits.roomMaxBytes - 1, totalMaxBytes: BODIES_TOTAL_MAX_BYTES });
  // A frame of the second protocol has its tag line on top of what a frame may have; what is too large for the first is found when it is read.
  const door = new Door(linkDoorOptions);
  const { server, requests } = createHubServer({
    connectionsMax, handshakeTimeoutMs, counts,
    http: {
      workspaces, admission, relay, counts, limits, bodies, log, isDraining, isFull, status: (workspace) => hubStatus(statusSources, workspace, Date.now()),
      ...(pages === undefined ? {} : { pages }),
    },
    upgrade: { hubId, door, workspaces, admission, counts, isDraining, isFull },
  });
  return { drain, hubId, name, counts, group, writer, heartbeat, access, delayed, trails, turns, workspaces, server, requests, clusterState, limits: { peers: limits, links: linkLimits } };
}

/** What goes on only as long as its rights are there looks at them again. */
function rightsChanged(workspace: Workspace | undefined): void {
  workspace?.presence?.recheck();
  workspace?.consumers?.recheck();
}

/** The log was made anew: whoever reads it by position comes back and is told so. */
function endSessions({ workspaces }: Parts, { timing }: HubConfig): void {
  for (const { durable, peers, presence, tails } of workspaces.all()) {
    durable?.beginAnew();
    presence?.beginAnew();
    tails.drain(() => Math.random() * timing.comeBackMaxMs);
    for (const connection of peers.connections()) if (connection.version === 2) connection.refuse('DRAINING', Math.random() * timing.comeBackMaxMs);
  }
}

function* claimsOf(workspaces: Workspaces) {
  for (const { id, claims } of workspaces.all()) if (claims !== undefined) yield [id, claims] as const;
}

function watchBus(bus: Bus, { limits, context }: { readonly limits: WireLimits; readonly context: ProcessContext }): void {
  const { health, log } = context;
  health.addCheck('cluster', () => (bus.state === 'connected' ? { ok: true } : { ok: false, reason: `the bus is ${bus.state}; local rooms go on` }));
  bus.onState((state) => {
    log[state === 'away' ? 'warn' : 'info']({ state }, 'cluster bus');
    if (state === 'connected' && !takesLargestFrame(bus, limits)) {
      log.warn({ payloadMaxBytes: bus.payloadMaxBytes }, 'NATS takes smaller messages than this hub; larger frames stay on this hub and are counted as bus-too-large');
    }
  });
}

/** Peers are told when to come back; what has been taken is stored, acked and leaves before anything closes. */
async function drainHub({ drain, server, requests, writer, workspaces, access, trails }: Parts, { timing, eventLog }: { readonly timing: HubConfig['timing']; readonly eventLog: EventLog | undefined }): Promise<void> {
  const comeBackMs = (): number => timing.comeBackMinMs + Math.random() * (timing.comeBackMaxMs - timing.comeBackMinMs);
  drain.hasBegun = true;
  server.close();
  writer.flush();
  const told = tellDrain(workspaces, comeBackMs);
  if (eventLog !== undefined) await whenSettled(eventLog);
  await Promise.all([...workspaces.all()].map(({ links }) => links.close()));
  access.relay.drain(comeBackMs);
  for (const { tails } of workspaces.all()) tails.drain(comeBackMs);
  const closing = [...workspaces.all()].flatMap(({ peers }) => [...peers.connections()]);
  for (const connection of closing) connection.refuse('DRAINING', told.get(connection) ?? comeBackMs());
  await Promise.all([...closing.map((connection) => connection.gone), ...[...requests].map((response) => new Promise((resolve) => response.once('close', resolve)))]);
  for (const { cluster } of workspaces.all()) cluster?.flush();
  await trails?.flush();
}

async function stopHub({ heartbeat, workspaces, server, access, trails }: Parts, { buses, beacon, eventLog }: { readonly buses: ReadonlySet<Bus>; readonly beacon: { stop(): void } | undefined; readonly eventLog: ServedLog | undefined }): Promise<void> {
  heartbeat.stop();
  beacon?.stop();
  await Promise.all([...workspaces.all()].map(({ links }) => links.close()));
  for (const { peers } of workspaces.all()) for (const connection of peers.connections()) connection.terminate();
  for (const { presence } of workspaces.all()) presence?.close();
  server.closeAllConnections();
  server.close();
  await Promise.all([...workspaces.all()].flatMap(({ consumers }) => (consumers === undefined ? [] : [consumers.left()])));
  await access.stop();
  await trails?.close();
  await eventLog?.stop();
  await Promise.all([...buses].map((bus) => bus.close()));
}
