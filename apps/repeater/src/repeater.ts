import { createServer, type Server } from 'node:http';
import { hostname } from 'node:os';
import type { Duplex } from 'node:stream';

import { formatAddress, isLoopback, listen, type ListenAddress, type ProcessContext } from '@carillon/runtime';
import { BatchWriter, Heartbeat, LaneGroup, refuseUpgrade } from '@carillon/session';
import { DEFAULT_LIMITS, type WireLimits } from '@carillon/wire';

import { openAccess, type RepeaterAccess } from './access.ts';
import type { RepeaterConfig } from './config.ts';
import { DeviceDoor } from './device-door.ts';
import { Devices } from './devices.ts';
import { FramePaths } from './frame-paths.ts';
import { createHttpRoutes } from './http-routes.ts';
import { LocalRooms } from './local-rooms.ts';
import { registerRepeaterMetrics, RepeaterCounts } from './metrics.ts';
import { openUpstreamQueue, type OpenUpstreamQueue } from './open-upstream-queue.ts';
import { SendListFile } from './send-list-file.ts';
import { SendListSources } from './send-list-sources.ts';
import { emptySendList, type SendList, type SendListOptions } from './send-list.ts';
import { repeaterStatus } from './status.ts';
import { Targets } from './targets.ts';
import { Upstream } from './upstream.ts';

/** A repeater that runs; it is drained and stopped through the components it added to the context. */
export interface Repeater {
  /** Where devices really connect. */
  readonly address: ListenAddress;
}

/** A request that has not arrived whole within this is answered with 408 (the server's own bounds; frames have none). */
const REQUEST_TIMEOUT_MS = 30_000;
/** Sockets beyond the joined devices, for requests and for refusals that carry a code. */
const HTTP_SOCKETS_MAX = 1_024;

/** Starts a repeater: it listens, then joins its hub. Rejects when the send list or the key's file is wrong or the address is taken. */
export async function startRepeater(config: RepeaterConfig, context: ProcessContext): Promise<Repeater> {
  const ownId = config.id ?? hostname();
  const log = context.log.child({ repeater: ownId });
  const counts = new RepeaterCounts();
  const sendList = await loadSendList(config, { ownId, log, changed: (list) => parts.sources.fileChanged(list) });
  const access = await openAccess(config, { counts, log });
  const upstreamQueue = await openUpstreamQueue(config, { counts, log }).catch(async (error: unknown) => {
    await access.close();
    throw error;
  });
  const parts = assemble(config, { ownId, log, counts, access, upstreamQueue, list: sendList.list });
  registerRepeaterMetrics(context.metrics, counts, {
    hubConnected: () => parts.upstream.connected, upstreamQueue: parts.queue, outbox: parts.outbox, devices: parts.devices, lanes: parts.lanes, targets: parts.targets, access, batches: parts.writer.counts,
  });
  const server = createDoorServer(config, parts);
  context.add(repeaterComponent({ ...parts, server, sendListFile: sendList.file }));
  const address = await listen(server, config.listen);
  context.health.addCheck('repeater', () => (server.listening ? { ok: true } : { ok: false, reason: 'the repeater does not listen' }));
  parts.heartbeat.start();
  sendList.file?.start();
  access.start();
  parts.upstream.start();
  log.info({ address, hub: config.hub.url, localRooms: config.localRooms, access: config.access }, `devices join at ws://${formatAddress(address)}/connect/<room>/<id>`);
  if (config.access === 'open' && !isLoopback(config.listen.host)) log.warn({ address }, 'anybody who reaches this address may join and send without a key');
  return { address };
}

type Log = ProcessContext['log'];

async function loadSendList(config: RepeaterConfig, { ownId, log, changed }: { readonly ownId: string; readonly log: Log; readonly changed: (list: SendList) => void }): Promise<{ readonly list: SendList; readonly file: SendListFile | undefined }> {
  const { file: path, checkMs, centralAddresses } = config.sendList;
  const options: SendListOptions = { ownId, centralAddresses };
  if (path === undefined) return { list: emptySendList(options), file: undefined };
  const file = new SendListFile({ ...options, path, checkMs, log, changed });
  return { list: await file.load(), file };
}

interface Assembly {
  readonly ownId: string;
  readonly log: Log;
  readonly counts: RepeaterCounts;
  readonly access: RepeaterAccess;
  readonly upstreamQueue: OpenUpstreamQueue;
  /** What the send list's file says. */
  readonly list: SendList;
}

type Parts = ReturnType<typeof assemble>;

function assemble(config: RepeaterConfig, { ownId, log, counts, access, upstreamQueue: { queue, outbox }, list }: Assembly) {
  const { hub, timing } = config;
  const { connectionsMax, laneMaxBytes, lanesTotalMaxBytes, frameMaxBytes, roomMaxBytes, patternsMax } = config.limits;
  const limits: WireLimits = { ...DEFAULT_LIMITS, frameMaxBytes, roomMaxBytes, patternsMax };
  const now = (): number => performance.now();
  const heartbeat = new Heartbeat({ ...timing, inboundMaxBytes: config.limits.inboundTotalMaxBytes });
  const lanes = new LaneGroup(lanesTotalMaxBytes);
  const writer = new BatchWriter();
  const devices = new Devices();
  const localRooms = new LocalRooms({ writer, joinedRooms: config.localRooms === 'on', patternsMax });
  const { handshakeTimeoutMs } = timing;
  const upstream = new Upstream({
    hubUrl: hub.url, ownId, headers: access.hubHeaders, queue, limits, heartbeat, handshakeTimeoutMs, counts, log,
    backoff: { firstMs: hub.retryFirstMs, capMs: hub.retryCapMs, factor: 2, random: Math.random },
    frame: (bytes, version) => paths.down(bytes, version),
  });
  const sources = new SendListSources({ ownId, file: list, devices: () => access.copy.devices(access.records.workspaceId), changed: (changed) => targets.replace(changed), log });
  const { idleMs, queueMaxBytes, retryFirstMs, retryCapMs, httpTimeoutMs, httpConcurrency } = config.targets;
  const targets = new Targets({
    list: sources.merged(), devices, writer, counts,
    socket: {
      // Dialled connections are never given more than they take at once (see Pump): no device's backlog shall cost them their place.
      ownId, limits, group: new LaneGroup(Number.MAX_SAFE_INTEGER), heartbeat, handshakeTimeoutMs, idleMs, queueMaxBytes, now, counts, log,
      backoff: { firstMs: retryFirstMs, capMs: retryCapMs, factor: 2, random: Math.random },
      frame: (bytes, lane) => {
        const taken = paths.up(bytes, { from: 'target', lane });
        if (taken.ok) void taken.kept.then((code) => code !== undefined && counts.refuse(code));
        else counts.refuse(taken.code);
      },
    },
    http: { timeoutMs: httpTimeoutMs, concurrency: httpConcurrency, queueMaxBytes, now, counts, log },
  });
  const paths = new FramePaths({ upstream, localRooms, targets, limits, counts, log });
  const door = new DeviceDoor({
    ownId, connectionsMax, gate: access.gate, devices, localRooms, paths, writer, heartbeat, counts, log, random: Math.random,
    limits, laneMaxBytes, group: lanes, ticks: heartbeat.ticks,
  });
  access.copy.onChange((change) => {
    if (change.type === 'device') sources.devicesChanged();
    else door.accessChanged(change);
  });
  return { access, counts, heartbeat, lanes, writer, devices, queue, outbox, upstream, sources, targets, paths, door, log, drained: new AbortController() };
}

function createDoorServer(config: RepeaterConfig, parts: Parts): Server {
  const { access, counts, devices, door, drained, log, outbox, paths, queue, targets, upstream } = parts;
  const { frameMaxBytes, laneMaxBytes, connectionsMax } = config.limits;
  const startedAtMs = Date.now();
  const status = { hubUrl: config.hub.url, startedAtMs, laneMaxBytes, ...config.timing, devices, targets, upstream, queue, outbox };
  const server = createServer(
    { headersTimeout: config.timing.handshakeTimeoutMs, requestTimeout: REQUEST_TIMEOUT_MS },
    createHttpRoutes({
      paths, queue, frameMaxBytes, gate: access.gate, counts, log,
      draining: () => drained.signal.aborted,
      status: () => repeaterStatus(status, Date.now()),
    }),
  );
  server.maxConnections = connectionsMax + HTTP_SOCKETS_MAX;
  server.on('drop', () => counts.refuse('CONNECTIONS_EXCEEDED'));
  server.on('upgrade', (request, stream, head) => door.upgrade(request, stream, head));
  server.on('clientError', (error: NodeJS.ErrnoException, stream: Duplex) => {
    const code = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 'REQUEST_TIMEOUT' : 'REQUEST_MALFORMED';
    if (error.code !== 'ECONNRESET') counts.refuse(code);
    refuseUpgrade(stream, code);
  });
  return server;
}

/** Drain: devices first, so that what they still send goes up; then what is queued, as far as the time allows. Stop: everything closes. */
function repeaterComponent({ access, door, drained, heartbeat, log, queue, sendListFile, server, sources, targets, upstream }: Parts & { readonly server: Server; readonly sendListFile: SendListFile | undefined }) {
  return {
    name: 'repeater',
    drain: async (signal: AbortSignal) => {
      drained.abort();
      await door.drain(signal);
      await Promise.all([upstream.flush(signal), targets.drain(signal)]);
      await upstream.stop();
      log.info({ queuedFrames: queue.frames }, 'the repeater is drained');
    },
    stop: async () => {
      drained.abort();
      await Promise.all([sendListFile?.stop(), access.close()]);
      sources.stop();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      door.stop();
      await Promise.all([upstream.stop(), targets.stop()]);
      heartbeat.stop();
      server.closeAllConnections();
      await closed;
    },
  };
}
