import type { Outbox } from '@carillon/log/outbox';
import { maskUrl } from '@carillon/runtime';
import type { Connection } from '@carillon/session';

import type { Devices } from './devices.ts';
import type { Targets } from './targets.ts';
import type { Upstream } from './upstream.ts';
import type { UpstreamQueue } from './upstream-queue.ts';
import { REPEATER_VERSION } from './version.ts';

export interface StatusOptions {
  readonly hubUrl: string;
  readonly startedAtMs: number;
  readonly laneMaxBytes: number;
  readonly pongTimeoutMs: number;
  readonly writeTimeoutMs: number;
  readonly devices: Devices;
  readonly targets: Targets;
  readonly upstream: Upstream;
  readonly queue: UpstreamQueue;
  readonly outbox: Outbox | undefined;
}

/** Events that the hub refused for good, the latest first: so many are listed. Bodies are for the owner of the disk alone. */
const DEAD_LISTED = 50;

/**
 * `GET /status` as the original answers it. Names are the original's; capacities and utilizations are bytes here.
 * `sick` says that the hub is away, in which state rooms go on by themselves; `refusal` is there while the hub does not
 * take this repeater in, and says why, and `refused-events` while the outbox keeps events that the hub refused for good.
 */
export function repeaterStatus(options: StatusOptions, nowMs: number): object {
  const { devices, hubUrl, queue, startedAtMs, targets, upstream } = options;
  const station = (id: string, connection: Connection): object => ({
    id,
    'remote-addr': connection.remoteAddress,
    'Uptime': formatDuration(nowMs - connection.openedAtMs),
    'send-buffer': { id, 'buffer-capacity': options.laneMaxBytes, 'buffer-utilization': connection.lane.queuedBytes },
    'read-timeout': formatDuration(options.pongTimeoutMs),
    'write-timeout': formatDuration(options.writeTimeoutMs),
  });
  const hub = upstream.connection;
  const dead = options.outbox?.dead(DEAD_LISTED) ?? [];
  return {
    bin: 'carillon-repeater',
    statuscode: upstream.connected ? 'healthy' : 'sick',
    version: REPEATER_VERSION,
    uptime: formatDuration(nowMs - startedAtMs),
    info: {
      repeater: {
        'pumping-stations': [
          ...[...devices].map(({ id, room, connection }) => ({ ...station(id, connection), room })),
          ...[...targets.connections()].map(([address, connection]) => station(maskUrl(address), connection)),
        ],
        'http-buffer': { id: 'upstream', 'buffer-capacity': queue.maxBytes, 'buffer-utilization': queue.heldBytes },
        ...(dead.length === 0 ? {} : { 'refused-events': dead.map(({ id, room, code, atMs, bytes }) => ({ id, room, code, 'at': new Date(atMs).toISOString(), bytes })) }),
        'hub-status': {
          'hub': maskUrl(hubUrl),
          'connection': hub?.remoteAddress ?? '',
          // A repeater subscribes to nothing: the hub gives it what is for it.
          'subscription-list': [],
          'state': upstream.connected ? 'good' : 'retrying',
          ...(upstream.refusal === undefined ? {} : { 'refusal': upstream.refusal }),
          'last-ping-time': hub?.lastPingAtMs === undefined ? '' : new Date(hub.lastPingAtMs).toISOString(),
        },
      },
    },
  };
}

/** A duration as Go prints it, to the second: `1h2m3s`. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
  return `${hours > 0 ? `${hours}h` : ''}${seconds >= 60 ? `${minutes}m` : ''}${seconds % 60}s`;
}
