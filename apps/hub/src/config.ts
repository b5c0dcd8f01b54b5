import { parseAccessKey } from '@carillon/access';
import { bytes, commaList, commonSettings, durationMs, integer, listenAddress, loadConfig, oneOf, setting, text, urlOf, type Config, type ConfigResult, type Environment } from '@carillon/runtime';
import { DEFAULT_LIMITS } from '@carillon/wire';
import { z } from 'zod';

import type { AccessMode } from './access/admission.ts';
import { parseLinkAddress } from './cluster/link-address.ts';

const ACCESS_MODES = ['keys', 'loopback', 'open'] as const satisfies readonly AccessMode[];

/** Everything a hub can be told. The only file of this app that knows environment names. */
const settings = {
  listen: setting({ env: 'CARILLON_HUB_LISTEN', schema: listenAddress, default: '127.0.0.1:7100', help: 'Where peers connect. Who may is said by CARILLON_HUB_ACCESS.' }),
  common: commonSettings('HUB', { adminListen: '127.0.0.1:7180' }),
  name: setting({ env: 'CARILLON_HUB_NAME', schema: text({ max: 64 }).optional(), aliases: ['SYSTEM_ID'], help: 'What this hub calls itself in status and logs; the host name when unset.' }),
  roomSystem: setting({ env: 'CARILLON_HUB_ROOM_SYSTEM', schema: text({ max: 256 }).optional(), aliases: ['ROOM_SYSTEM'], help: 'Set (to anything) on a hub that stands in a room: it passes no repeater frames on to other hubs.' }),
  links: setting({ env: 'CARILLON_HUB_LINKS', schema: commaList, default: '', help: 'Hubs to link with from the start, as for POST /interconnect/:address; tried for ever.' }),
  allowedOrigins: setting({ env: 'CARILLON_HUB_ALLOWED_ORIGINS', schema: commaList, default: '', help: 'Origins whose pages may connect besides the hub\'s own, e.g. https://rooms.example.' }),
  access: {
    mode: setting({ env: 'CARILLON_HUB_ACCESS', schema: oneOf(ACCESS_MODES), default: 'keys', help: 'Who may come without an access key: nobody (keys; but for a workspace default that names an anonymous key), whoever is on this machine and behind no proxy (loopback), or whoever reaches the address (open). They belong to workspace default. A key that is presented is checked in every mode.' }),
    linkKey: setting({ env: 'CARILLON_HUB_LINK_KEY', schema: z.string().refine((key) => parseAccessKey(key) !== undefined, 'must be an access key (ck_…)').optional(), secret: true, help: 'The access key that the links of CARILLON_HUB_LINKS present to the other hubs.' }),
    staleAfterMs: setting({ env: 'CARILLON_HUB_ACCESS_STALE_AFTER_MS', schema: durationMs({ min: 0 }), default: '1500', unit: 'ms', help: 'A hub of a cluster that could not hear of access changes for so long trusts no key until it can: peers with keys are closed with ACCESS_STALE and come back. 0: it goes on with what it knows.' }),
  },
  cluster: {
    natsUrl: setting({ env: 'CARILLON_NATS_URL', schema: z.string().optional().transform((list) => (list === undefined || list === '' ? [] : list.split(',').map((url) => url.trim()))).pipe(z.array(urlOf(['nats:', 'tls:']))), secret: true, help: 'NATS servers (comma list) that make the hubs using them one cluster; unset: this hub stands alone.' }),
    natsCredsFile: setting({ env: 'CARILLON_NATS_CREDS_FILE', schema: text({ max: 1_024 }).optional(), help: 'A NATS .creds file to log in with; a user and password, or a token, may stand in CARILLON_NATS_URL instead.' }),
    outboundMaxBytes: setting({ env: 'CARILLON_HUB_BUS_OUTBOUND_MAX_BYTES', schema: bytes({ min: 1_048_576 }), default: '64MiB', unit: 'bytes', help: 'What may wait for NATS to take it; more is dropped and counted.' }),
  },
  log: {
    store: setting({ env: 'CARILLON_HUB_LOG', schema: oneOf(['on', 'off'] as const), default: 'on', help: 'Whether this hub keeps durable rooms: in CARILLON_DATA_DIR, or in JetStream when CARILLON_NATS_URL is set (all hubs of a cluster alike). off: every room is live.' }),
    defaultLane: setting({ env: 'CARILLON_HUB_DEFAULT_LANE', schema: oneOf(['durable', 'live'] as const), default: 'durable', help: 'The lane of rooms that no policy names.' }),
    replicas: setting({ env: 'CARILLON_HUB_LOG_REPLICAS', schema: oneOf(['1', '3'] as const).optional(), help: 'JetStream servers that keep each event; unset: as the stream is, and a new one three times where there are so many servers.' }),
    maxAgeMs: setting({ env: 'CARILLON_HUB_LOG_MAX_AGE_MS', schema: durationMs({ min: 0 }), default: '604800000', unit: 'ms', help: 'How long events of rooms that no policy names are kept; a week by default, 0: for ever.' }),
    whenDamaged: setting({ env: 'CARILLON_HUB_LOG_WHEN_DAMAGED', schema: oneOf(['refuse', 'set-aside'] as const), default: 'refuse', help: 'What a hub does at its start with a log in CARILLON_DATA_DIR that cannot be read: it ends and says what is damaged (refuse), or it moves the log to a folder beside it whose name begins with log.bad- and begins an empty one (set-aside); readers with an older place are told a gap.' }),
    trail: setting({ env: 'CARILLON_HUB_TRAIL', schema: oneOf(['on', 'off'] as const), default: 'on', help: 'Whether this hub notes in the log what becomes of events of durable rooms, to be read at GET /events/:id/trail.' }),
    sweepIntervalMs: setting({ env: 'CARILLON_HUB_LOG_SWEEP_INTERVAL_MS', schema: durationMs({ min: 100 }), default: '60000', unit: 'ms', help: 'How often what is past retention is deleted.' }),
  },
  limits: {
    frameMaxBytes: setting({ env: 'CARILLON_HUB_FRAME_MAX_BYTES', schema: bytes({ min: 1_024, max: 67_108_864 }), default: `${DEFAULT_LIMITS.frameMaxBytes}`, unit: 'bytes', help: 'The largest frame or request body.' }),
    roomMaxBytes: setting({ env: 'CARILLON_HUB_ROOM_MAX_BYTES', schema: bytes({ min: 16, max: 512 }), default: `${DEFAULT_LIMITS.roomMaxBytes}`, unit: 'bytes', help: 'The longest room name or pattern.' }),
    patternsMax: setting({ env: 'CARILLON_HUB_PATTERNS_MAX', schema: integer({ min: 1, max: 1_000_000 }), default: `${DEFAULT_LIMITS.patternsMax}`, help: 'Room patterns one connection may be subscribed to.' }),
    fragmentsMax: setting({ env: 'CARILLON_HUB_FRAGMENTS_MAX', schema: integer({ min: 1, max: 1_000_000 }), default: `${DEFAULT_LIMITS.fragmentsMax}`, help: 'WebSocket fragments one message may come in.' }),
    connectionsMax: setting({ env: 'CARILLON_HUB_CONNECTIONS_MAX', schema: integer({ min: 1, max: 1_000_000 }), default: '16384', help: 'Peers at a time, live tails included; more are refused with CONNECTIONS_EXCEEDED.' }),
    linksMax: setting({ env: 'CARILLON_HUB_LINKS_MAX', schema: integer({ min: 1, max: 10_000 }), default: '64', help: 'Hub links this hub may hold open by itself.' }),
    laneMaxBytes: setting({ env: 'CARILLON_HUB_LANE_MAX_BYTES', schema: bytes({ min: 65_536 }), default: '4MiB', unit: 'bytes', help: 'What may wait for one peer; a peer that is further behind is closed with PEER_SLOW. At least the largest frame.' }),
    inboundTotalMaxBytes: setting({ env: 'CARILLON_HUB_INBOUND_TOTAL_MAX_BYTES', schema: bytes({ min: 1_048_576 }), default: '256MiB', unit: 'bytes', help: 'What messages that have begun and are not whole may hold together, looked at once a second; over it the peers with the largest are closed with MEMORY_PRESSURE.' }),
    lanesTotalMaxBytes: setting({ env: 'CARILLON_HUB_LANES_TOTAL_MAX_BYTES', schema: bytes({ min: 1_048_576 }), default: '256MiB', unit: 'bytes', help: 'What may wait for all peers together; over it the peer furthest behind is closed with MEMORY_PRESSURE.' }),
  },
  timing: {
    pingIntervalMs: setting({ env: 'CARILLON_HUB_PING_INTERVAL_MS', schema: durationMs({ min: 1_000, max: 80_000 }), default: '30000', unit: 'ms', help: 'How often every peer is pinged (original clients want a ping within 90 s).' }),
    pongTimeoutMs: setting({ env: 'CARILLON_HUB_PONG_TIMEOUT_MS', schema: durationMs({ min: 1_000 }), default: '60000', unit: 'ms', help: 'How long a peer may take to answer a ping.' }),
    writeTimeoutMs: setting({ env: 'CARILLON_HUB_WRITE_TIMEOUT_MS', schema: durationMs({ min: 1_000 }), default: '10000', unit: 'ms', help: 'How long a peer may take none of what is written to it.' }),
    handshakeTimeoutMs: setting({ env: 'CARILLON_HUB_HANDSHAKE_TIMEOUT_MS', schema: durationMs({ min: 100 }), default: '10000', unit: 'ms', help: 'How long a peer may take to send its request head, and a dialled hub to answer.' }),
    linkRetryFirstMs: setting({ env: 'CARILLON_HUB_LINK_RETRY_FIRST_MS', schema: durationMs({ min: 10 }), default: '2000', unit: 'ms', help: 'Ceiling of the first wait before a lost link is tried again; each wait is drawn between 0 and its ceiling.' }),
    linkRetryCapMs: setting({ env: 'CARILLON_HUB_LINK_RETRY_CAP_MS', schema: durationMs({ min: 10 }), default: '120000', unit: 'ms', help: 'Ceiling of every later wait.' }),
    comeBackMinMs: setting({ env: 'CARILLON_HUB_COME_BACK_MIN_MS', schema: durationMs({ min: 0 }), default: '500', unit: 'ms', help: 'A draining hub tells each peer to come back after a time drawn between this …' }),
    comeBackMaxMs: setting({ env: 'CARILLON_HUB_COME_BACK_MAX_MS', schema: durationMs({ min: 0 }), default: '5000', unit: 'ms', help: '… and this.' }),
  },
} as const;

/** The settings of a hub with another default for who may come without a key. */
export function hubSettingsFor({ access }: { readonly access: AccessMode }): typeof settings {
  return { ...settings, access: { ...settings.access, mode: { ...settings.access.mode, default: access } } };
}

export const hubSettings = hubSettingsFor({ access: 'keys' });

export type HubConfig = Config<typeof hubSettings>;

export function loadHubConfig(env: Environment): ConfigResult<typeof hubSettings> {
  const result = loadConfig(hubSettings, env);
  if (!result.ok) return result;
  const problems = hubConfigProblems(result.config);
  return problems.length === 0 ? result : { ok: false, problems };
}

/** What single settings cannot say about themselves. */
export function hubConfigProblems({ limits, links, timing }: HubConfig): { readonly env: string; readonly message: string }[] {
  const problems = [];
  if (limits.laneMaxBytes < limits.frameMaxBytes) problems.push({ env: hubSettings.limits.laneMaxBytes.env, message: 'must be at least CARILLON_HUB_FRAME_MAX_BYTES' });
  if (timing.comeBackMaxMs < timing.comeBackMinMs) problems.push({ env: hubSettings.timing.comeBackMaxMs.env, message: 'must be at least CARILLON_HUB_COME_BACK_MIN_MS' });
  const addresses = links.map(parseLinkAddress);
  for (const [at, address] of addresses.entries()) if (!address.ok) problems.push({ env: hubSettings.links.env, message: `is wrong at number ${at + 1}: ${address.fault}` });
  const urls = addresses.flatMap((address) => (address.ok ? [address.url] : []));
  if (new Set(urls).size < urls.length) problems.push({ env: hubSettings.links.env, message: 'has an address twice' });
  if (links.length > limits.linksMax) problems.push({ env: hubSettings.links.env, message: 'has more addresses than CARILLON_HUB_LINKS_MAX' });
  return problems;
}
