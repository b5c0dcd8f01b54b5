import { parseAccessKey } from '@carillon/access';
import { OUTBOX_OVERFLOWS } from '@carillon/log/outbox';
import { bytes, commaList, commonSettings, durationMs, integer, listenAddress, loadConfig, oneOf, setting, text, type Config, type ConfigResult, type Environment } from '@carillon/runtime';
import { DEFAULT_LIMITS } from '@carillon/wire';
import { z } from 'zod';

import { carriesKey, HUB_PORT, readSocketAddress, REPEATER_PORT } from './addresses.ts';
import { deviceIdFault } from './device-id.ts';

/** `host`, `host:port` or a ws/wss URL, as a URL. */
const hubAddress = z.string().transform((given, context) => asUrl(given, HUB_PORT, context)).describe('host, host:port or ws:// URL');

const repeaterAddresses = z.string().transform((given, context) => (given === '' ? [] : given.split(',').map((address) => asUrl(address.trim(), REPEATER_PORT, context)))).describe('comma list of host, host:port or ws:// URLs');

const repeaterId = z.string().refine((id) => deviceIdFault(id) === undefined && id !== '.' && id !== '..', 'must be 1 to 256 bytes without control characters').describe('text');

const accessKey = z.string().refine((key) => parseAccessKey(key) !== undefined, 'must be an access key: ck_, an id, _ and a secret').describe('access key');

/** keys: whoever presents a key, or the workspace's anonymous one · loopback: also this machine without a key · open: whoever reaches it. */
export const ACCESS_MODES = ['keys', 'loopback', 'open'] as const;
export type AccessMode = (typeof ACCESS_MODES)[number];

function asUrl(given: string, defaultPort: number, context: z.core.$RefinementCtx<string>): string {
  const address = readSocketAddress(given, defaultPort);
  if (address.ok) return address.url;
  context.issues.push({ code: 'custom', message: `must name hosts: one ${address.reason}`, input: given });
  return z.NEVER;
}

/**
 * Everything a repeater can be told; the only file of this app that knows environment names. The original's
 * ROOM_SYSTEM is accepted and without effect: a repeater of ours always stands in a room.
 */
export const repeaterSettings = repeaterSettingsFor({ access: 'keys' });

export type RepeaterConfig = Config<typeof repeaterSettings>;

/** The settings with another default for who may join: a standalone lets its own machine in. */
export function repeaterSettingsFor(defaults: { readonly access: AccessMode }) {
  return {
    listen: setting({ env: 'CARILLON_REPEATER_LISTEN', schema: listenAddress, default: `127.0.0.1:${REPEATER_PORT}`, help: 'Where devices connect.' }),
    access: setting({ env: 'CARILLON_REPEATER_ACCESS', schema: oneOf(ACCESS_MODES), default: defaults.access, help: 'Who may join and send without a key. keys: nobody, or whoever the workspace\'s anonymous key stands for. loopback: also peers on this machine that did not come through a proxy. open: whoever reaches the address. A key that is presented is checked in every case.' }),
    key: setting({ env: 'CARILLON_REPEATER_KEY', schema: accessKey.optional(), secret: true, help: 'The key (of kind repeater) that this repeater presents to its hub, to join it and to hear which keys, devices and permissions there are.' }),
    keyFile: setting({ env: 'CARILLON_REPEATER_KEY_FILE', schema: text({ max: 1_024 }).optional(), help: 'A file with that key, read at the start, instead of the key itself.' }),
    common: commonSettings('REPEATER', { adminListen: '127.0.0.1:7181' }),
    id: setting({ env: 'CARILLON_REPEATER_ID', schema: repeaterId.optional(), aliases: ['SYSTEM_ID'], help: 'What this repeater calls itself toward hubs, devices and other repeaters, e.g. ITB-1101-CP1; the host name when unset.' }),
    localRooms: setting({ env: 'CARILLON_REPEATER_LOCAL_ROOMS', schema: oneOf(['on', 'off']), default: 'on', help: 'on: devices that joined with the same room hear each other at once, hub or no hub. off: only those that subscribed; for sites where original repeaters dial in and their hubs are linked with ours.' }),
    allowedOrigins: setting({ env: 'CARILLON_REPEATER_ALLOWED_ORIGINS', schema: commaList, default: '', help: 'Origins whose pages may connect and send besides the repeater\'s own, e.g. https://rooms.example.' }),
    hub: {
      url: setting({ env: 'CARILLON_REPEATER_HUB_URL', schema: hubAddress, default: `ws://localhost:${HUB_PORT}`, aliases: ['HUB_ADDRESS'], help: 'The hub this repeater joins.' }),
      retryFirstMs: setting({ env: 'CARILLON_REPEATER_HUB_RETRY_FIRST_MS', schema: durationMs({ min: 10 }), default: '3000', unit: 'ms', help: 'Ceiling of the first wait before the hub is tried again; each wait is drawn between 0 and its ceiling.' }),
      retryCapMs: setting({ env: 'CARILLON_REPEATER_HUB_RETRY_CAP_MS', schema: durationMs({ min: 10 }), default: '30000', unit: 'ms', help: 'Ceiling of every later wait.' }),
      queueMaxBytes: setting({ env: 'CARILLON_REPEATER_UPSTREAM_QUEUE_MAX_BYTES', schema: bytes({ min: 1_024 }), default: '64MiB', unit: 'bytes', help: 'With the outbox in memory: what may wait for the hub. Beyond it the oldest frames are dropped and counted (hub-away); POST /send is refused instead. With the outbox on disk: what may wait to be written; beyond it frames are refused.' }),
    },
    outbox: {
      kind: setting({ env: 'CARILLON_REPEATER_OUTBOX', schema: oneOf(['disk', 'memory']), default: 'disk', help: 'Where what must go up to the hub waits. disk: in CARILLON_DATA_DIR/outbox, fsynced, until the hub has it. memory: lost when the repeater stops.' }),
      maxBytes: setting({ env: 'CARILLON_REPEATER_OUTBOX_MAX_BYTES', schema: bytes({ min: 1_024 }), default: '1GiB', unit: 'bytes', help: 'What may wait on disk, overhead included.' }),
      overflow: setting({ env: 'CARILLON_REPEATER_OUTBOX_OVERFLOW', schema: oneOf(OUTBOX_OVERFLOWS), default: 'drop-oldest', help: 'What becomes of a frame when that is full. drop-oldest: the oldest go and are counted (hub-away); POST /send is refused instead. refuse: it is refused. keep-latest-per-key: an event that was not sent yet is replaced by a newer one of the same room, key and device at any time; when it is full all the same, it is refused.' }),
      drainEventsPerSecond: setting({ env: 'CARILLON_REPEATER_DRAIN_EVENTS_PER_S', schema: integer({ min: 0, max: 10_000_000 }), default: '20000', help: 'How fast what waited on disk is sent when the hub is back; events that come meanwhile go ahead, the order of a room kept. 0: as fast as the hub takes them.' }),
    },
    sendList: {
      file: setting({ env: 'CARILLON_REPEATER_SEND_LIST_FILE', schema: text({ max: 1_024 }).optional(), help: 'A JSON file with the targets of frames from the hub, by room; read again when it changes.' }),
      checkMs: setting({ env: 'CARILLON_REPEATER_SEND_LIST_CHECK_MS', schema: durationMs({ min: 10 }), default: '5000', unit: 'ms', help: 'How often the file is looked at for changes.' }),
      centralAddresses: setting({ env: 'CARILLON_REPEATER_CENTRAL_ADDRESSES', schema: repeaterAddresses, default: '', aliases: ['CENTRAL_REPEATER_ADDRESSES'], help: 'Repeaters (comma list) that get the frames of every room.' }),
    },
    targets: {
      queueMaxBytes: setting({ env: 'CARILLON_REPEATER_TARGET_QUEUE_MAX_BYTES', schema: bytes({ min: 1_024 }), default: '4MiB', unit: 'bytes', help: 'What may wait for one target; beyond it the oldest frames are dropped and counted (target-overflow).' }),
      idleMs: setting({ env: 'CARILLON_REPEATER_TARGET_IDLE_MS', schema: durationMs({ min: 10 }), default: '5000', unit: 'ms', help: 'A connection this repeater opened to a target is closed after this long with nothing read and nothing written.' }),
      retryFirstMs: setting({ env: 'CARILLON_REPEATER_TARGET_RETRY_FIRST_MS', schema: durationMs({ min: 10 }), default: '1000', unit: 'ms', help: 'Ceiling of the first wait before a target is dialled again.' }),
      retryCapMs: setting({ env: 'CARILLON_REPEATER_TARGET_RETRY_CAP_MS', schema: durationMs({ min: 10 }), default: '30000', unit: 'ms', help: 'Ceiling of every later wait.' }),
      httpTimeoutMs: setting({ env: 'CARILLON_REPEATER_HTTP_TARGET_TIMEOUT_MS', schema: durationMs({ min: 10 }), default: '2000', unit: 'ms', help: 'How long an HTTP target may take for its whole answer.' }),
      httpConcurrency: setting({ env: 'CARILLON_REPEATER_HTTP_TARGET_CONCURRENCY', schema: integer({ min: 1, max: 1_024 }), default: '4', help: 'Requests at a time to one HTTP target; 1 keeps its events in order.' }),
    },
    limits: {
      frameMaxBytes: setting({ env: 'CARILLON_REPEATER_FRAME_MAX_BYTES', schema: bytes({ min: 1_024, max: 67_108_864 }), default: `${DEFAULT_LIMITS.frameMaxBytes}`, unit: 'bytes', help: 'The largest frame or request body.' }),
      roomMaxBytes: setting({ env: 'CARILLON_REPEATER_ROOM_MAX_BYTES', schema: bytes({ min: 16, max: 512 }), default: `${DEFAULT_LIMITS.roomMaxBytes}`, unit: 'bytes', help: 'The longest room name or pattern.' }),
      patternsMax: setting({ env: 'CARILLON_REPEATER_PATTERNS_MAX', schema: integer({ min: 1, max: 1_000_000 }), default: '1000', help: 'Room patterns one device may be subscribed to.' }),
      connectionsMax: setting({ env: 'CARILLON_REPEATER_CONNECTIONS_MAX', schema: integer({ min: 1, max: 1_000_000 }), default: '10000', help: 'Devices that may be joined at a time.' }),
      laneMaxBytes: setting({ env: 'CARILLON_REPEATER_LANE_MAX_BYTES', schema: bytes({ min: 65_536 }), default: '4MiB', unit: 'bytes', help: 'What may wait for one device; one that is further behind is closed with PEER_SLOW. At least the largest frame.' }),
      inboundTotalMaxBytes: setting({ env: 'CARILLON_REPEATER_INBOUND_TOTAL_MAX_BYTES', schema: bytes({ min: 1_048_576 }), default: '64MiB', unit: 'bytes', help: 'What messages that have begun and are not whole may hold together, looked at once a second; over it the devices with the largest are closed with MEMORY_PRESSURE.' }),
      lanesTotalMaxBytes: setting({ env: 'CARILLON_REPEATER_LANES_TOTAL_MAX_BYTES', schema: bytes({ min: 1_048_576 }), default: '64MiB', unit: 'bytes', help: 'What may wait for all devices together; over it the one furthest behind is closed with MEMORY_PRESSURE.' }),
    },
    timing: {
      pingIntervalMs: setting({ env: 'CARILLON_REPEATER_PING_INTERVAL_MS', schema: durationMs({ min: 1_000, max: 80_000 }), default: '30000', unit: 'ms', help: 'How often every peer is pinged.' }),
      pongTimeoutMs: setting({ env: 'CARILLON_REPEATER_PONG_TIMEOUT_MS', schema: durationMs({ min: 1_000 }), default: '60000', unit: 'ms', help: 'How long a peer may take to answer a ping.' }),
      writeTimeoutMs: setting({ env: 'CARILLON_REPEATER_WRITE_TIMEOUT_MS', schema: durationMs({ min: 1_000 }), default: '10000', unit: 'ms', help: 'How long a peer may take none of what is written to it.' }),
      handshakeTimeoutMs: setting({ env: 'CARILLON_REPEATER_HANDSHAKE_TIMEOUT_MS', schema: durationMs({ min: 100 }), default: '10000', unit: 'ms', help: 'How long a peer may take to send its request head, and a dialled one to answer.' }),
    },
  } as const;
}

/** Reads the configuration from an environment; every problem at once. */
export function loadRepeaterConfig(env: Environment): ConfigResult<typeof repeaterSettings> {
  const result = loadConfig(repeaterSettings, env);
  if (!result.ok) return result;
  const problems = repeaterConfigProblems(result.config);
  return problems.length === 0 ? result : { ok: false, problems };
}

/** What single settings cannot say about themselves. */
export function repeaterConfigProblems({ hub, key, keyFile, limits, outbox, targets }: RepeaterConfig): { readonly env: string; readonly message: string }[] {
  const names = repeaterSettings;
  const atLeastAFrame = [
    [names.limits.laneMaxBytes.env, limits.laneMaxBytes],
    [names.hub.queueMaxBytes.env, hub.queueMaxBytes],
    [names.outbox.maxBytes.env, outbox.maxBytes],
    [names.targets.queueMaxBytes.env, targets.queueMaxBytes],
  ] as const;
  const problems = atLeastAFrame.filter(([, maxBytes]) => maxBytes < limits.frameMaxBytes).map(([env]) => ({ env, message: `must be at least ${names.limits.frameMaxBytes.env}` }));
  if (key !== undefined && keyFile !== undefined) problems.push({ env: names.keyFile.env, message: `must not be given together with ${names.key.env}` });
  if ((key ?? keyFile) !== undefined && carriesKey(hub.url)) problems.push({ env: names.hub.url.env, message: `must not carry a key when ${names.key.env} or ${names.keyFile.env} is given` });
  return problems;
}
