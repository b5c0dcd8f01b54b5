import type { Peer } from '../sessions/peer.ts';
import type { Workspace } from '../workspace.ts';

/** The original's shape, its names included; a lane stands where it had a buffer of frames, so units are bytes. */
export interface BufferStatus {
  readonly id: string;
  readonly 'buffer-capacity': number;
  readonly 'buffer-utilization': number;
}

export interface HubStatus {
  readonly bin: string;
  readonly statuscode: 'healthy' | 'sick';
  readonly version: string;
  readonly uptime: string;
  readonly info: {
    readonly nexus: {
      readonly hubs: readonly BufferStatus[];
      readonly messengers: readonly string[];
      readonly repeaters: readonly BufferStatus[];
      readonly 'messenger-mapping': Readonly<Record<string, readonly BufferStatus[]>>;
      readonly 'registration-buffer': BufferStatus;
      readonly 'distribution-buffer': BufferStatus;
    };
    readonly hub: { readonly id: string; readonly name: string; readonly cluster: string; readonly 'live-tails': number };
  };
}

export interface StatusSources {
  readonly hubId: string;
  readonly name: string;
  readonly version: string;
  readonly startedAtMs: number;
  readonly laneMaxBytes: number;
  readonly connectionsMax: number;
  readonly cluster: () => string;
  readonly lanesTotalMaxBytes: number;
}

/** Entries a list shows at the most; counts are in /metrics. */
const LIST_MAX = 1_000;

/** What a caller of one workspace is shown: the hub, and that workspace's peers. */
export function hubStatus(sources: StatusSources, { peers, tails }: Workspace, nowMs: number): HubStatus {
  const { laneMaxBytes } = sources;
  const queuedBytes = [...peers.connections()].reduce((sum, connection) => sum + connection.lane.queuedBytes, 0);
  const lane = ({ id, connection }: Peer): BufferStatus => ({ id, 'buffer-capacity': laneMaxBytes, 'buffer-utilization': connection.lane.queuedBytes });
  const cluster = sources.cluster();
  const mapping: Record<string, BufferStatus[]> = Object.create(null) as Record<string, BufferStatus[]>;
  const messengers = first(peers.messengers.values());
  for (const [pattern, peer] of first(subscriptionsOf(messengers))) (mapping[pattern] ??= []).push(lane(peer));
  return {
    bin: 'carillon-hub',
    statuscode: cluster === 'away' ? 'sick' : 'healthy',
    version: sources.version,
    uptime: formatUptime(nowMs - sources.startedAtMs),
    info: {
      nexus: {
        hubs: first(peers.hubs.values()).map(lane),
        messengers: messengers.map(({ id }) => id),
        repeaters: first(peers.repeaters.values()).map(lane),
        'messenger-mapping': mapping,
        'registration-buffer': { id: 'registration', 'buffer-capacity': sources.connectionsMax, 'buffer-utilization': peers.size },
        'distribution-buffer': { id: 'distribution', 'buffer-capacity': sources.lanesTotalMaxBytes, 'buffer-utilization': queuedBytes },
      },
      hub: { id: sources.hubId, name: sources.name, cluster, 'live-tails': tails.size },
    },
  };
}

function* subscriptionsOf(messengers: readonly Peer[]): Generator<readonly [string, Peer]> {
  for (const peer of messengers) for (const pattern of peer.patterns) yield [pattern, peer];
}

function first<T>(items: Iterable<T>): T[] {
  const taken: T[] = [];
  for (const item of items) {
    if (taken.length === LIST_MAX) break;
    taken.push(item);
  }
  return taken;
}

/** As Go prints a duration: `1h2m3s`. */
export function formatUptime(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  const hours = Math.floor(seconds / 3_600);
  const minutes = Math.floor((seconds % 3_600) / 60);
  return `${hours > 0 ? `${hours}h` : ''}${hours > 0 || minutes > 0 ? `${minutes}m` : ''}${seconds % 60}s`;
}
