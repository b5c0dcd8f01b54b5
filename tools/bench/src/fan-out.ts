import { eventually } from '@carillon/testing';

import { binaryFrame, RawPeer } from './raw-peer.ts';
import type { Subject } from './subject.ts';

/** One publisher, N subscribers of its room, W events in flight; every subscriber checks that it gets every event in order. */
export interface FanOutOptions {
  readonly subscribers: number;
  readonly inFlight: number;
  readonly seconds: number;
  readonly eventBytes: number;
}

export interface FanOutResult {
  readonly deliveriesPerSecond: number;
  readonly deliveriesPerCpuSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly lost: number;
  readonly events: number;
}

const ROOM = 'BENCH-1';
/** Body: 16 hexadecimal digits of sequence, 16 of send time in microseconds, then filler. */
const BODY = '{"n":"';
const SEQUENCE_AT = BODY.length;
const TIME_AT = SEQUENCE_AT + 16 + '","t":"'.length;
const WARM_UP_MS = 1_000;
/** A run that stands still this long has lost what it waits for. */
const STALL_MS = 3_000;

export function eventFrame(sequence: number, eventBytes: number): Buffer {
  const start = `${ROOM}\n${BODY}${hex(sequence)}","t":"${hex(Math.round(performance.now() * 1_000))}","f":"`;
  return binaryFrame(Buffer.from(`${start}${'x'.repeat(Math.max(0, eventBytes - start.length - 2))}"}`));
}

const hex = (value: number): string => value.toString(16).padStart(16, '0');
const readHex = (chunk: Buffer, at: number): number => parseInt(chunk.toString('latin1', at, at + 16), 16);

const LINE_FEED = 10;

/** Where the body starts: an original puts a blank line before it. */
function bodyAt(chunk: Buffer, start: number): number {
  let at = start + ROOM.length + 1;
  while (chunk[at] === LINE_FEED) at += 1;
  return at;
}

export function sequenceOf(chunk: Buffer, start: number): number {
  return readHex(chunk, bodyAt(chunk, start) + SEQUENCE_AT);
}

export function latencyMsOf(chunk: Buffer, start: number): number {
  return performance.now() - readHex(chunk, bodyAt(chunk, start) + TIME_AT) / 1_000;
}

export async function measureFanOut(subject: Subject, options: FanOutOptions): Promise<FanOutResult> {
  const { subscribers, inFlight, seconds, eventBytes } = options;
  const next = new Float64Array(subscribers);
  const latencies: number[] = [];
  let received = 0;
  let lost = 0;
  let measuring = false;
  let published = 0;
  let pump = (): void => undefined;
  const peers: RawPeer[] = [];
  for (let index = 0; index < subscribers; index += 1) {
    peers.push(await RawPeer.connect({
      port: subject.port,
      path: subject.path,
      onFrame: (chunk, start) => {
        const sequence = sequenceOf(chunk, start);
        const expected = next[index] as number;
        if (sequence < expected) return; // a probe from before the start
        lost += sequence - expected;
        next[index] = sequence + 1;
        received += 1;
        if (measuring && index === 0) latencies.push(latencyMsOf(chunk, start));
        pump();
      },
    }));
  }
  for (const peer of peers) peer.subscribe([ROOM]);
  const publisher = await RawPeer.connect({ port: subject.port, path: subject.path });
  await probe(publisher, peers, eventBytes);
  next.fill(1);
  published = 1;
  received = 0;
  lost = 0;

  let stopped = false;
  let pumping = false;
  const refill = (): void => {
    pumping = false;
    if (stopped) return;
    const done = 1 + Math.floor((received + lost) / subscribers);
    const free = inFlight - (published - done);
    if (free <= 0) return;
    const frames = Array.from({ length: free }, () => eventFrame(published++, eventBytes));
    publisher.send(Buffer.concat(frames));
  };
  // Once a turn, so that the publisher is not slowed, and its events not spread, by this process's own reading.
  pump = () => {
    if (pumping) return;
    pumping = true;
    setImmediate(refill);
  };
  pump();
  await wait(WARM_UP_MS);
  const cpuBefore = subject.cpuSeconds();
  const receivedBefore = received;
  const startedAt = performance.now();
  measuring = true;
  await wait(seconds * 1_000);
  measuring = false;
  const elapsed = (performance.now() - startedAt) / 1_000;
  const cpu = subject.cpuSeconds() - cpuBefore;
  const deliveries = received - receivedBefore;
  stopped = true;
  const total = (published - 1) * subscribers;
  await eventually(() => received + lost >= total, { timeoutMs: STALL_MS, what: 'the rest' }).catch(() => undefined);
  for (const peer of [...peers, publisher]) peer.destroy();
  latencies.sort((left, right) => left - right);
  const at = (share: number): number => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? Number.NaN;
  return {
    deliveriesPerSecond: Math.round(deliveries / elapsed),
    deliveriesPerCpuSecond: Math.round(deliveries / cpu),
    p50Ms: round(at(0.5)),
    p99Ms: round(at(0.99)),
    lost: total - received,
    events: Math.round(deliveries / subscribers),
  };
}

/** Sends until every subscriber has heard something: then all subscriptions are in force. */
async function probe(publisher: RawPeer, peers: readonly RawPeer[], eventBytes: number): Promise<void> {
  await eventually(() => {
    publisher.send(eventFrame(0, eventBytes));
    return peers.every((peer) => peer.frames > 0);
  }, { timeoutMs: 30_000, intervalMs: 50, what: 'every subscription in force' });
  let before = -1;
  await eventually(() => {
    const now = peers.reduce((sum, peer) => sum + peer.frames, 0);
    const quiet = now === before;
    before = now;
    return quiet;
  }, { intervalMs: 200, what: 'the probes to have passed' });
}

export const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
export const round = (value: number): number => Math.round(value * 100) / 100;
