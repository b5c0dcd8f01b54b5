import { eventually, startFaultProxy } from '@carillon/testing';

import { binaryFrame, RawPeer } from './raw-peer.ts';
import { measureRate } from './rate.ts';
import { startHubSubject } from './subject.ts';

/**
 * The same steady load twice on one hub, beside a flood of large events to two more subscribers: first two that read, then
 * one that never reads and one that reads 1 KB/s. What must hold: the others' p99 stays where it was, none of their
 * events is lost, and what waits in lanes stays within its bound until the slow peers are cut. Lanes are kept small here
 * so that the bound is reached within the run.
 */
export interface SlowPeersResult {
  readonly p99WithoutMs: number;
  readonly p99WithMs: number;
  /** Of the well-behaved subscribers' events. */
  readonly lost: number;
  readonly laneMaxBytes: number;
  /** The most that waited in all lanes together at any look, ten times a second. */
  readonly queuedMaxBytes: number;
  readonly rssGrowthBytes: number;
  /** Slow peers the hub has closed; 2 is right. */
  readonly cut: number;
}

/** The slow peers' lanes take this long to fill and be cut. */
const MIN_SECONDS = 8;
const LANE_MAX_BYTES = 1_048_576;
const FRAME_MAX_BYTES = 524_288;
const LOAD = { subscribers: 10, eventsPerSecond: 1_000 };
const SLOW_BYTES_PER_SECOND = 1_024;

/** Odd, for a median. */
const ROUNDS = 3;

/** Several rounds, each on a hub of its own; the one with the median difference, and what any round has lost. */
export async function measureSlowPeers(options: { readonly seconds: number; readonly eventBytes: number }): Promise<SlowPeersResult> {
  const rounds: SlowPeersResult[] = [];
  for (let round = 0; round < ROUNDS; round += 1) rounds.push(await measureRound(options));
  const more = ({ p99WithMs, p99WithoutMs }: SlowPeersResult): number => p99WithMs - p99WithoutMs;
  const median = rounds.sort((left, right) => more(left) - more(right))[Math.floor(ROUNDS / 2)] as SlowPeersResult;
  const most = (figure: 'lost' | 'queuedMaxBytes'): number => Math.max(...rounds.map((round) => round[figure]));
  return { ...median, lost: most('lost'), queuedMaxBytes: most('queuedMaxBytes'), cut: Math.min(...rounds.map(({ cut }) => cut)) };
}

async function measureRound({ seconds, eventBytes }: { readonly seconds: number; readonly eventBytes: number }): Promise<SlowPeersResult> {
  const subject = await startHubSubject({ CARILLON_HUB_LANE_MAX_BYTES: `${LANE_MAX_BYTES}`, CARILLON_HUB_FRAME_MAX_BYTES: `${FRAME_MAX_BYTES}`, CARILLON_HUB_WRITE_TIMEOUT_MS: '3000' });
  try {
    await measureRate(subject, { ...LOAD, seconds: 2, eventBytes });
    const flood = await startFlood(subject.port, subject.path);
    const runSeconds = Math.max(seconds, MIN_SECONDS);
    const good = await joinTwo(subject.port, subject.port, subject.path);
    const without = await measureRate(subject, { ...LOAD, seconds: runSeconds, eventBytes });
    for (const peer of good) peer.destroy();
    const rssBefore = subject.rssBytes();

    const throttle = await startFaultProxy({ targetPort: subject.port });
    const bad = await joinTwo(subject.port, throttle.port, subject.path);
    bad[0].pause();
    throttle.limitBytesPerSecond(SLOW_BYTES_PER_SECOND);
    let queuedMaxBytes = 0;
    const watching = setInterval(() => void queuedBytes(subject.adminPort).then((bytes) => (queuedMaxBytes = Math.max(queuedMaxBytes, bytes))), 100);
    const withSlow = await measureRate(subject, { ...LOAD, seconds: runSeconds, eventBytes });
    clearInterval(watching);
    flood.stop();
    const rssGrowthBytes = subject.rssBytes() - rssBefore;
    const cut = await cutPeers(subject.adminPort);
    await throttle.stop();
    return { p99WithoutMs: without.p99Ms, p99WithMs: withSlow.p99Ms, lost: without.lost + withSlow.lost, laneMaxBytes: LANE_MAX_BYTES, queuedMaxBytes, rssGrowthBytes, cut };
  } finally {
    await subject.stop();
  }
}

/** Large events that only the slow peers want, so that their lanes fill quickly. */
async function startFlood(port: number, path: string): Promise<{ stop(): void }> {
  const publisher = await RawPeer.connect({ port, path });
  const frame = binaryFrame(Buffer.concat([Buffer.from('FLOOD-1\n'), Buffer.alloc(32_768, 'x')]));
  const timer = setInterval(() => publisher.send(frame), 5);
  return { stop: () => (clearInterval(timer), publisher.destroy()) };
}

/** Two subscribers of the load and of the flood. */
async function joinTwo(port: number, secondPort: number, path: string): Promise<[RawPeer, RawPeer]> {
  const peers: [RawPeer, RawPeer] = [await RawPeer.connect({ port, path }), await RawPeer.connect({ port: secondPort, path })];
  for (const peer of peers) peer.subscribe(['BENCH-1', 'FLOOD-1']);
  await eventually(() => peers.every(({ frames }) => frames > 0), { what: 'the flood to reach both' });
  return peers;
}

async function metricsOf(adminPort: number): Promise<string> {
  return (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text();
}

async function queuedBytes(adminPort: number): Promise<number> {
  return Number(/^carillon_hub_lane_queued_bytes (\d+)/m.exec(await metricsOf(adminPort))?.[1] ?? 0);
}

async function cutPeers(adminPort: number): Promise<number> {
  const closed = (await metricsOf(adminPort)).matchAll(/carillon_hub_connections_closed_total\{cause="PEER_(?:SLOW|STALLED)"\} (\d+)/g);
  return [...closed].reduce((sum, [, count]) => sum + Number(count), 0);
}
