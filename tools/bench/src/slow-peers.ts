import { startFaultProxy } from '@carillon/testing';

import { binaryFrame, RawPeer } from './raw-peer.ts';
import { measureRate } from './rate.ts';
import { wait } from './fan-out.ts';
import { startHubSubject } from './subject.ts';

/**
 * The same steady load twice on one hub: alone, and with one subscriber that never reads and one that reads 1 KB/s.
 * What must hold: the others' p99 stays, and memory stays within the lanes' bound. Lanes are kept small here so that the
 * bound is reached within the run.
 */
export interface SlowPeersResult {
  readonly p99AloneMs: number;
  readonly p99WithSlowMs: number;
  readonly lost: number;
  readonly laneMaxBytes: number;
  readonly rssGrowthBytes: number;
  readonly closeCodeNeverReads: string;
  readonly closeCode1KBps: string;
  readonly cut: number;
}

const LANE_MAX_BYTES = 1_048_576;
const FRAME_MAX_BYTES = 524_288;
const LOAD = { subscribers: 10, eventsPerSecond: 1_000 };
const SLOW_BYTES_PER_SECOND = 1_024;

export async function measureSlowPeers({ seconds, eventBytes }: { readonly seconds: number; readonly eventBytes: number }): Promise<SlowPeersResult> {
  const subject = await startHubSubject({ CARILLON_HUB_LANE_MAX_BYTES: `${LANE_MAX_BYTES}`, CARILLON_HUB_FRAME_MAX_BYTES: `${FRAME_MAX_BYTES}`, CARILLON_HUB_WRITE_TIMEOUT_MS: '3000' });
  try {
    await measureRate(subject, { ...LOAD, seconds: 2, eventBytes });
    const alone = await measureRate(subject, { ...LOAD, seconds, eventBytes });
    const rssBefore = subject.rssBytes();
    const closes: (number | string)[] = ['open', 'open'];
    const never = await RawPeer.connect({ port: subject.port, path: subject.path, onClose: (code) => (closes[0] = code ?? 'socket destroyed') });
    const throttle = await startFaultProxy({ targetPort: subject.port });
    const slow = await RawPeer.connect({ port: throttle.port, path: subject.path, onClose: (code) => (closes[1] = code ?? 'socket destroyed') });
    for (const peer of [never, slow]) peer.subscribe(['BENCH-1', 'FLOOD-1']);
    await wait(100);
    never.pause();
    throttle.limitBytesPerSecond(SLOW_BYTES_PER_SECOND);
    const flood = await startFlood(subject.port, subject.path);
    const withSlow = await measureRate(subject, { ...LOAD, seconds: Math.max(seconds, 8), eventBytes });
    flood.stop();
    const rssGrowthBytes = subject.rssBytes() - rssBefore;
    const cut = await cutPeers(subject.adminPort);
    never.resume();
    await wait(1_000);
    await throttle.stop();
    return { p99AloneMs: alone.p99Ms, p99WithSlowMs: withSlow.p99Ms, lost: alone.lost + withSlow.lost, laneMaxBytes: LANE_MAX_BYTES, rssGrowthBytes, closeCodeNeverReads: String(closes[0]), closeCode1KBps: String(closes[1]), cut };
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

async function cutPeers(adminPort: number): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text();
  return [...text.matchAll(/carillon_hub_connections_closed_total\{cause="PEER_(?:SLOW|STALLED)"\} (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
}
