import { eventually } from '@carillon/testing';

import { eventFrame, latencyMsOf, round, sequenceOf, wait } from './fan-out.ts';
import { RawPeer } from './raw-peer.ts';
import type { Subject } from './subject.ts';

/** A steady rate, whether the server keeps up or not; latency is from before the publisher's write to the subscriber's read. */
export interface RateOptions {
  readonly subscribers: number;
  readonly eventsPerSecond: number;
  readonly seconds: number;
  readonly eventBytes: number;
}

export interface RateResult {
  readonly subscribers: number;
  readonly eventsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly lost: number;
}

export async function measureRate(subject: { readonly port: number; readonly path: string } & Partial<Subject>, options: RateOptions): Promise<RateResult> {
  const { subscribers, eventsPerSecond, seconds, eventBytes } = options;
  const latencies: number[] = [];
  let counted = 0;
  const peers: RawPeer[] = [];
  for (let index = 0; index < subscribers; index += 1) {
    peers.push(await RawPeer.connect({
      port: subject.port,
      path: subject.path,
      onFrame: (chunk, start) => {
        if (sequenceOf(chunk, start) === 0) return;
        counted += 1;
        latencies.push(latencyMsOf(chunk, start));
      },
    }));
  }
  for (const peer of peers) peer.subscribe(['BENCH-1']);
  const publisher = await RawPeer.connect({ port: subject.port, path: subject.path });
  await eventually(() => {
    publisher.send(eventFrame(0, eventBytes));
    return peers.every((peer) => peer.frames > 0);
  }, { intervalMs: 50, what: 'every subscription in force' });

  const total = eventsPerSecond * seconds;
  const startedAt = performance.now();
  for (let sent = 0; sent < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - startedAt) / 1_000) * eventsPerSecond));
    for (; sent < due; sent += 1) publisher.send(eventFrame(sent + 1, eventBytes));
    await wait(1);
  }
  await eventually(() => counted >= total * subscribers, { timeoutMs: 3_000, what: 'every event' }).catch(() => undefined);
  for (const peer of [...peers, publisher]) peer.destroy();
  latencies.sort((left, right) => left - right);
  const at = (share: number): number => round(latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? Number.NaN);
  return { subscribers, eventsPerSecond, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1), lost: total * subscribers - counted };
}
