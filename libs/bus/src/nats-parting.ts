import { setTimeout as sleep } from 'node:timers/promises';

import type { NatsConnection } from '@nats-io/transport-node';

import type { NatsLink } from './nats-link.ts';

/*
 * A server that is parted from the others accepts connections, and brings nothing of what is said elsewhere. It shows by a stream of theirs:
 * here nobody leads it, or a leader whom the others have lost, and on another server somebody else does. In an election nobody leads it
 * anywhere, and there is nowhere to go.
 */
const LOOK_MS = 1_000;
const ANSWER_TIMEOUT_MS = 1_000;
// Three heartbeats of a stream's leader (hbInterval of raft.go).
const PARTED_AFTER_MS = 3_000;
const NANOS_PER_MS = 1_000_000;
const STREAM_UNKNOWN = 10_059;

export interface PartingOptions {
  /** The stream to tell by; undefined: there is none. */
  readonly stream: () => string | undefined;
  /** The other servers. */
  readonly others: () => readonly string[];
  readonly dial: (url: string) => Promise<NatsConnection>;
}

/** Who leads a stream, as a server says. */
interface Leading {
  readonly leader: string;
  /** Enough of the others have answered the leader lately for what it takes to count. */
  readonly isFollowed: boolean;
}

interface StreamInfo {
  readonly error?: { readonly err_code?: number };
  readonly cluster?: { readonly leader?: string; readonly replicas?: readonly { readonly active?: number }[] };
}

/** Looks for as long as the link lasts; resolves with true when its server is parted from others that can be reached. */
export async function isParted(link: NatsLink, options: PartingOptions): Promise<boolean> {
  let ledAtMs = performance.now();
  for (;;) {
    await Promise.race([sleep(LOOK_MS, undefined, { ref: false }), link.ended]);
    if (!link.up) return false;
    const stream = options.stream();
    const here = stream === undefined ? 'no such stream' : await leadingOf(link.connection, stream);
    const isLed = here === 'no such stream' || here?.isFollowed === true;
    if (!isLed && performance.now() - ledAtMs <= PARTED_AFTER_MS) continue;
    if (!isLed && stream !== undefined && (await isLedElsewhere(stream, here?.leader, options))) return link.up;
    // Nowhere to go: looked for again after the same time.
    ledAtMs = performance.now();
  }
}

async function isLedElsewhere(stream: string, leader: string | undefined, { others, dial }: PartingOptions): Promise<boolean> {
  for (const url of others()) {
    const connection = await dial(url).catch(() => undefined);
    if (connection === undefined) continue;
    const there = await leadingOf(connection, stream);
    await connection.close().catch(() => undefined);
    if (there !== undefined && there !== 'no such stream' && there.isFollowed && there.leader !== leader) return true;
  }
  return false;
}

async function leadingOf(connection: NatsConnection, stream: string): Promise<Leading | 'no such stream' | undefined> {
  try {
    const { error, cluster } = (await connection.request(`$JS.API.STREAM.INFO.${stream}`, undefined, { timeout: ANSWER_TIMEOUT_MS })).json<StreamInfo>();
    if (error?.err_code === STREAM_UNKNOWN) return 'no such stream';
    if (error !== undefined) return undefined;
    // A server alone says nothing of a cluster.
    if (cluster === undefined) return { leader: '', isFollowed: true };
    if (cluster.leader === undefined || cluster.leader === '') return undefined;
    const replicas = cluster.replicas ?? [];
    const active = replicas.filter((replica) => (replica.active ?? Infinity) < PARTED_AFTER_MS * NANOS_PER_MS).length;
    return { leader: cluster.leader, isFollowed: active + 1 > (replicas.length + 1) / 2 };
  } catch {
    return undefined;
  }
}
